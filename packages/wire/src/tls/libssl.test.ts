import { describe, expect, it, onTestFinished } from "vitest";
import { createLibsslEngine } from "./libssl.ts";
import { createNodeTlsEngine } from "./node-tls.ts";
import { describeSecureChannel } from "./test-support/channel-suite.ts";
import { describeHandshake } from "./test-support/handshake-suite.ts";
import { describePacing } from "./test-support/pacing-suite.ts";
import { otherRoot, record, root, timeoutMs, TlsFixture } from "./test-support/tls-fixture.ts";
import { createTestCertificate, materialOf } from "./test-certificates.ts";

const libssl = createLibsslEngine();
const nodeTls = createNodeTlsEngine();
describeHandshake("libssl", { client: libssl, server: libssl });
describeSecureChannel("libssl", { client: libssl, server: libssl });
describePacing(createLibsslEngine);
describeHandshake("libssl client, node-tls server", { client: libssl, server: nodeTls });
describeSecureChannel("libssl client, node-tls server", { client: libssl, server: nodeTls });
describeHandshake("node-tls client, libssl server", { client: nodeTls, server: libssl });
describeSecureChannel("node-tls client, libssl server", { client: nodeTls, server: libssl });

describe("libssl: alerts", () => {
  it.each([libssl, nodeTls])("tell a $name client why its certificate was refused", async (client) => {
    const fixture = new TlsFixture({ client, server: libssl });
    onTestFinished(() => fixture.cleanUp());
    const [clientSocket, serverSocket] = await fixture.socketPair();
    const stranger = client.createContext(materialOf(createTestCertificate({ name: "x", issuer: otherRoot }), [root]));
    const accept = libssl.accept(serverSocket, fixture.serverContext, { timeoutMs });
    accept.catch(() => undefined);
    const channel = await client.connect(clientSocket, stranger, { timeoutMs });
    const recorder = record(channel);
    channel.resume();
    expect(await recorder.closed.promise).toMatchObject({
      code: "TLS_PROTOCOL_ERROR",
      message: expect.stringMatching(/unknown ca/i) as unknown,
    });
    await expect(accept).rejects.toMatchObject({
      code: "TLS_HANDSHAKE_FAILED",
      message: expect.stringMatching(/unable to get (local )?issuer certificate/) as unknown,
    });
  });
});
