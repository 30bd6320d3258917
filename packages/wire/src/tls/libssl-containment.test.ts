// What libssl allocates is freed, whatever happens to a connection.
import { execFile } from "node:child_process";
import type net from "node:net";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { liveOpensslObjects } from "@hairpin/native";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import type { SecureChannel } from "./engine.ts";
import { createLibsslEngine } from "./libssl.ts";
import { createTestCertificate, materialOf } from "./test-certificates.ts";
import {
  clientLeaf,
  intermediate,
  otherRoot,
  record,
  root,
  timeoutMs,
  TlsFixture,
} from "./test-support/tls-fixture.ts";

const engine = createLibsslEngine();
const fixture = new TlsFixture({ client: engine, server: engine });
/** The fixture's two contexts. */
const idle = { contexts: 2, connections: 0, temporaries: 0 };

afterEach(async () => {
  await fixture.cleanUp();
  expect(liveOpensslObjects()).toEqual(idle);
});

afterAll(() => {
  fixture.clientContext.close();
  fixture.serverContext.close();
  expect(liveOpensslObjects()).toEqual({ contexts: 0, connections: 0, temporaries: 0 });
});

describe("libssl", () => {
  it("frees all of 10,000 connections, and the process does not grow", async () => {
    const program = fileURLToPath(new URL("test-support/open-and-close.ts", import.meta.url));
    const flags = ["--expose-gc", "--max-semi-space-size=1"];
    const { stdout } = await promisify(execFile)(process.execPath, [...flags, program, "10000"]);
    const { before, after, live } = JSON.parse(stdout) as { before: number; after: number; live: unknown };
    expect(live).toEqual({ contexts: 0, connections: 0, temporaries: 0 });
    // MiB. One certificate of each connection kept would be 8 and more, one SSL hundreds.
    expect(after - before).toBeLessThan(6);
  }, 600_000);

  it("frees what a failed handshake had made, on both sides", async () => {
    const stranger = engine.createContext(materialOf(createTestCertificate({ name: "x", issuer: otherRoot }), [root]));
    const [client, server] = await fixture.socketPair();
    const accept = engine.accept(server, fixture.serverContext, { timeoutMs });
    const connect = engine.connect(client, stranger, { timeoutMs });
    await expect(accept).rejects.toMatchObject({ code: "TLS_HANDSHAKE_FAILED" });
    // TLS 1.3: the client was done before it was refused.
    const channel = await connect;
    const recorder = record(channel);
    channel.resume();
    await recorder.closed.promise;
    stranger.close();
  });

  it.each<{ what: string; hurt: (client: net.Socket) => void }>([
    { what: "a peer that is silent", hurt: () => undefined },
    { what: "a peer that resets", hurt: (client) => client.resetAndDestroy() },
    { what: "a peer that ends", hurt: (client) => client.end() },
    { what: "a peer that speaks no TLS", hurt: (client) => client.write("GET / HTTP/1.1\r\n\r\n") },
  ])("frees the handshake with $what", async ({ hurt }) => {
    const [client, server] = await fixture.socketPair();
    const accept = engine.accept(server, fixture.serverContext, { timeoutMs: 100 });
    hurt(client);
    await expect(accept).rejects.toMatchObject({ code: expect.stringMatching(/^TLS_HANDSHAKE_/) as unknown });
  });

  it.each<{ what: string; inOnData: (channel: SecureChannel) => void }>([
    { what: "destroys it", inOnData: (channel) => channel.destroy() },
    {
      what: "throws",
      inOnData: () => {
        throw new Error("parser failed");
      },
    },
    {
      what: "writes, ends and destroys it",
      inOnData: (channel) => {
        channel.write(Buffer.alloc(500_000));
        channel.end();
        channel.destroy();
      },
    },
  ])("frees a connection whose owner $what while it is told of data", async ({ inOnData }) => {
    const [client, server] = await fixture.securePair();
    const recorders = [record(client), record(server)];
    recorders[1]!.onData = () => inOnData(server);
    for (const channel of [client, server]) channel.resume();
    client.write(Buffer.alloc(300_000));
    for (const recorder of recorders) await recorder.closed.promise;
  });

  it("frees a context with its last connection", async () => {
    const context = engine.createContext(materialOf(clientLeaf, [root], [intermediate]));
    const [client, server] = await fixture.securePair({ client: context });
    context.close();
    expect(liveOpensslObjects()).toEqual({ contexts: 3, connections: 2, temporaries: 0 });
    const recorders = [record(client), record(server)];
    client.destroy();
    server.destroy();
    for (const recorder of recorders) await recorder.closed.promise;
    expect(liveOpensslObjects()).toEqual(idle);
  });
});
