import { randomBytes } from "node:crypto";
import { once } from "node:events";
import tls from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import { createTestCertificate, materialOf } from "../test-certificates.ts";
import {
  clientLeaf,
  clientMaterial,
  type EnginePair,
  intermediate,
  otherRoot,
  record,
  root,
  serverLeaf,
  timeoutMs,
  TlsFixture,
  turn,
} from "./tls-fixture.ts";

/** What every pair of engines does before a connection is open. */
export function describeHandshake(name: string, engines: EnginePair): void {
  const fixture = new TlsFixture(engines);
  afterEach(() => fixture.cleanUp());

  describe(`${name}: handshake`, () => {
    it("authenticates both sides and gives the peer's chain as DER, leaf first", async () => {
      const [client, server] = await fixture.securePair();
      expect(Buffer.from(client.peerCertificates[0]!).equals(serverLeaf.der)).toBe(true);
      expect(Buffer.from(server.peerCertificates[0]!).equals(clientLeaf.der)).toBe(true);
      expect(Buffer.from(server.peerCertificates[1]!).equals(intermediate.der)).toBe(true);
      expect([client.alpnProtocol, server.alpnProtocol]).toEqual(["h2", "h2"]);
    });

    it("speaks TLS 1.3 with AES-GCM and sends no server name", async () => {
      const { server, socket } = await fixture.dialNodeServer({ ALPNProtocols: ["h2"] });
      const secured = once(server, "secureConnection") as Promise<[tls.TLSSocket & { servername: unknown }]>;
      const channel = await engines.client.connect(socket, fixture.clientContext, { timeoutMs });
      const [peer] = await secured;
      expect(peer.getProtocol()).toBe("TLSv1.3");
      expect(peer.getCipher().name).toBe("TLS_AES_256_GCM_SHA384");
      expect(peer.servername).toBe(false);
      expect(peer.authorized).toBe(true);
      peer.on("error", () => undefined);
      channel.destroy();
    });

    it.each([
      { reason: "no certificate", options: {}, code: "TLS_NO_PEER_CERTIFICATE" },
      { reason: "a certificate of an unknown root", options: selfSigned(), code: "TLS_HANDSHAKE_FAILED" },
      { reason: "no intermediate", options: { ...clientMaterial, cert: clientLeaf.pem }, code: "TLS_HANDSHAKE_FAILED" },
      {
        reason: "an expired certificate",
        options: leafOf({ notAfter: new Date(Date.now() - 1000) }),
        code: "TLS_HANDSHAKE_FAILED",
      },
      {
        reason: "a certificate that is not valid yet",
        options: leafOf({ notBefore: new Date(Date.now() + 600_000) }),
        code: "TLS_HANDSHAKE_FAILED",
      },
      {
        reason: "TLS 1.2",
        options: { ...clientMaterial, maxVersion: "TLSv1.2" as const },
        code: "TLS_HANDSHAKE_FAILED",
      },
      {
        reason: "ChaCha20 only",
        options: { ...clientMaterial, ciphers: "TLS_CHACHA20_POLY1305_SHA256" },
        code: "TLS_HANDSHAKE_FAILED",
      },
      { reason: "ALPN http/1.1", options: { ...clientMaterial, ALPNProtocols: ["http/1.1"] }, code: "TLS_NO_ALPN" },
      { reason: "no ALPN", options: { ...clientMaterial, ALPNProtocols: [] }, code: "TLS_NO_ALPN" },
    ])("refuses a client with $reason", async ({ options, code }) => {
      const { outcome, client } = await fixture.acceptNodeClient(options);
      await expect(outcome).rejects.toMatchObject({ code });
      if (!client.closed) await new Promise((resolve) => client.once("close", resolve));
    });

    it.each([
      {
        reason: "of an unknown root",
        server: () =>
          engines.server.createContext(materialOf(createTestCertificate({ name: "x", issuer: otherRoot }), [root])),
        code: "TLS_HANDSHAKE_FAILED",
      },
      {
        reason: "that expired",
        server: () =>
          engines.server.createContext(
            materialOf(createTestCertificate({ name: "x", issuer: root, notAfter: new Date(1e12) }), [root]),
          ),
        code: "TLS_HANDSHAKE_FAILED",
      },
    ])("refuses a server with a certificate $reason", async ({ server, code }) => {
      const [clientSocket, serverSocket] = await fixture.socketPair();
      const accept = engines.server.accept(serverSocket, server(), { timeoutMs });
      await expect(engines.client.connect(clientSocket, fixture.clientContext, { timeoutMs })).rejects.toMatchObject({
        code,
      });
      await accept.then(
        (channel) => record(channel).closed.promise,
        () => undefined,
      );
    });

    it.each([
      { reason: "no ALPN", options: {} },
      { reason: "ALPN http/1.1 only", options: { ALPNProtocols: ["http/1.1"] } },
    ])("refuses a server with $reason", async ({ options }) => {
      const { socket } = await fixture.dialNodeServer(options);
      await expect(engines.client.connect(socket, fixture.clientContext, { timeoutMs })).rejects.toMatchObject({
        code: "TLS_NO_ALPN",
      });
      expect(socket.destroyed).toBe(true);
    });

    it("resumes no session, of its own or of a server with the same certificate", async () => {
      const first = await fixture.acceptNodeClient(clientMaterial);
      const sessions: Buffer[] = [];
      first.client.on("session", (session) => sessions.push(session));
      const answered = once(first.client, "data");
      const channel = await first.outcome;
      record(channel);
      channel.resume();
      channel.write(Buffer.from("tickets come before data"));
      await answered;
      sessions.push(await sessionOfNodeServer(fixture));
      for (const session of sessions) {
        const alone = await fixture.acceptNodeClient({ session });
        await expect(alone.outcome).rejects.toMatchObject({ code: "TLS_NO_PEER_CERTIFICATE" });
        const whole = await fixture.acceptNodeClient({ ...clientMaterial, session });
        await whole.outcome;
        expect(whole.client.isSessionReused()).toBe(false);
      }
    });

    it("gives up on a silent peer after the timeout and closes the socket", async () => {
      const [client, server] = await fixture.socketPair();
      const accept = engines.server.accept(server, fixture.serverContext, { timeoutMs: 50 });
      await expect(accept).rejects.toMatchObject({ code: "TLS_HANDSHAKE_TIMEOUT" });
      expect(server.destroyed).toBe(true);
      client.destroy();
    });

    it("gives up on a server that accepts and says nothing", async () => {
      const [client] = await fixture.socketPair();
      await expect(engines.client.connect(client, fixture.clientContext, { timeoutMs: 50 })).rejects.toMatchObject({
        code: "TLS_HANDSHAKE_TIMEOUT",
      });
    });

    it.each([
      { what: "plain HTTP", bytes: Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n") },
      { what: "random bytes", bytes: randomBytes(4096) },
      { what: "a record header that promises 64 KiB", bytes: Buffer.from([22, 3, 1, 255, 255, 1, 0, 0, 0]) },
    ])("refuses $what", async ({ bytes }) => {
      const [client, server] = await fixture.socketPair();
      client.write(bytes);
      await expect(engines.server.accept(server, fixture.serverContext, { timeoutMs })).rejects.toMatchObject({
        code: "TLS_HANDSHAKE_FAILED",
      });
      expect(server.destroyed).toBe(true);
    });

    it.each(["FIN", "RST"])("reports a peer that leaves by %s during the handshake", async (how) => {
      const [client, server] = await fixture.socketPair();
      const accept = engines.server.accept(server, fixture.serverContext, { timeoutMs });
      client.write(Buffer.from([22, 3, 1]));
      await turn();
      if (how === "FIN") client.end();
      else client.resetAndDestroy();
      await expect(accept).rejects.toMatchObject({ code: "TLS_HANDSHAKE_FAILED" });
    });
  });

  describe(`${name}: contexts`, () => {
    it.each([
      {
        what: "a key of another certificate",
        material: { ...materialOf(serverLeaf, [root]), privateKey: materialOf(clientLeaf, []).privateKey },
      },
      { what: "a key that is no PEM", material: { ...materialOf(serverLeaf, [root]), privateKey: "nonsense" } },
      { what: "a certificate that is no PEM", material: { ...materialOf(serverLeaf, [root]), certificateChain: "" } },
      { what: "a root that is no PEM", material: { ...materialOf(serverLeaf, [root]), roots: [root.pem, "nonsense"] } },
      { what: "no root", material: materialOf(serverLeaf, []) },
    ])("refuses $what", ({ material }) => {
      for (const engine of [engines.client, engines.server])
        expect(() => engine.createContext(material)).toThrow(expect.objectContaining({ code: "TLS_BAD_MATERIAL" }));
    });

    it("cannot be used after close, while its connections go on", async () => {
      const context = engines.client.createContext(materialOf(clientLeaf, [root], [intermediate]));
      const [client, server] = await fixture.securePair({ client: context });
      context.close();
      context.close();
      const recorder = record(server);
      server.resume();
      client.write(Buffer.from("still"));
      client.end();
      await recorder.ended.promise;
      expect(recorder.bytes).toBe(5);
      const [socket] = await fixture.socketPair();
      await expect(engines.client.connect(socket, context, { timeoutMs })).rejects.toMatchObject({
        code: "TLS_CONTEXT_CLOSED",
      });
      expect(socket.destroyed).toBe(true);
    });
  });
}

/** A ticket of a node:tls server, which hands them out. */
async function sessionOfNodeServer(fixture: TlsFixture): Promise<Buffer> {
  const { server, socket } = await fixture.dialNodeServer({ ALPNProtocols: ["h2"] });
  const client = tls.connect({
    ...clientMaterial,
    socket,
    ALPNProtocols: ["h2"],
    checkServerIdentity: () => undefined,
  });
  server.on("secureConnection", (connection) => connection.end());
  const [session] = (await once(client.resume(), "session")) as [Buffer];
  client.destroy();
  return session;
}

function selfSigned(): tls.ConnectionOptions {
  const leaf = createTestCertificate({ name: "stranger" });
  return { cert: leaf.pem, key: materialOf(leaf, []).privateKey };
}

function leafOf(validity: { notBefore?: Date; notAfter?: Date }): tls.ConnectionOptions {
  const leaf = createTestCertificate({ name: "leaf", issuer: root, ...validity });
  return { cert: leaf.pem, key: materialOf(leaf, []).privateKey };
}
