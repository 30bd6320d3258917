import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";
import { afterEach, describe, expect, it } from "vitest";
import type { ByteChannelHandler } from "../byte-channel.ts";
import { bufferPoolStats } from "../buffer-pool.ts";
import { connectTcp } from "../connect-tcp.ts";
import { createSocketChannel } from "../socket.ts";
import { listenTcp } from "../tcp-listener.ts";
import type { SecureChannel, TlsContext } from "./engine.ts";
import { createNodeTlsEngine } from "./node-tls.ts";
import { createTestCertificate, createTestRoot, materialOf, uriSans } from "./test-certificates.ts";

const engine = createNodeTlsEngine();
const root = createTestRoot();
const intermediate = createTestCertificate({ name: "intermediate", issuer: root, isAuthority: true });
const otherRoot = createTestRoot("other root");
const serverLeaf = createTestCertificate({
  name: "server",
  issuer: root,
  extensions: [uriSans("spiffe://td/ns/a/sa/server")],
});
const clientLeaf = createTestCertificate({
  name: "client",
  issuer: intermediate,
  extensions: [uriSans("spiffe://td/ns/a/sa/client")],
});
const serverContext = engine.createContext(materialOf(serverLeaf, [root]));
const clientContext = engine.createContext(materialOf(clientLeaf, [root], [intermediate]));
const clientMaterial = {
  cert: clientLeaf.pem + intermediate.pem,
  key: materialOf(clientLeaf, []).privateKey,
  ca: root.pem,
};
const serverMaterial = { cert: serverLeaf.pem, key: materialOf(serverLeaf, []).privateKey, ca: root.pem };
const timeoutMs = 2000;

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

async function socketPair(): Promise<[net.Socket, net.Socket]> {
  const accepted = Promise.withResolvers<net.Socket>();
  const listener = await listenTcp({ host: "127.0.0.1", port: 0, onConnection: (socket) => accepted.resolve(socket) });
  const client = await connectTcp({ ip: "127.0.0.1", port: listener.address.port, timeoutMs });
  const server = await accepted.promise;
  await listener.close();
  cleanups.push(
    () => client.destroy(),
    () => server.destroy(),
  );
  return [client, server];
}

async function securePair(
  contexts: { client?: TlsContext; server?: TlsContext } = {},
): Promise<[SecureChannel, SecureChannel]> {
  const [client, server] = await socketPair();
  const pair = await Promise.all([
    engine.connect(client, contexts.client ?? clientContext, { timeoutMs }),
    engine.accept(server, contexts.server ?? serverContext, { timeoutMs }),
  ]);
  cleanups.push(...pair.map((channel) => () => channel.destroy()));
  return pair;
}

/** Our server against a node:tls client made from plain options; the outcome of our side and the client socket. */
async function acceptNodeClient(
  options: tls.ConnectionOptions,
): Promise<{ outcome: Promise<SecureChannel>; client: tls.TLSSocket; raw: net.Socket }> {
  const accepted = Promise.withResolvers<net.Socket>();
  const listener = await listenTcp({ host: "127.0.0.1", port: 0, onConnection: (socket) => accepted.resolve(socket) });
  const raw = net.connect(listener.address.port, "127.0.0.1");
  const client = tls.connect({
    ca: root.pem,
    ALPNProtocols: ["h2"],
    checkServerIdentity: () => undefined,
    ...options,
    socket: raw,
  });
  client.on("error", () => undefined);
  client.resume();
  const outcome = engine.accept(await accepted.promise, serverContext, { timeoutMs });
  outcome.catch(() => undefined);
  await listener.close();
  cleanups.push(() => client.destroy());
  return { outcome, client, raw };
}

class Recorder implements ByteChannelHandler {
  readonly events: string[] = [];
  readonly hash = createHash("sha256");
  readonly ended: PromiseWithResolvers<void> = Promise.withResolvers();
  readonly closed: PromiseWithResolvers<Error | undefined> = Promise.withResolvers();
  drained: PromiseWithResolvers<void> = Promise.withResolvers();
  bytes = 0;

  onData(chunk: Uint8Array): void {
    this.hash.update(chunk);
    this.bytes += chunk.length;
  }
  onEnd(): void {
    this.events.push("end");
    this.ended.resolve();
  }
  onDrain(): void {
    this.drained.resolve();
    this.drained = Promise.withResolvers();
  }
  onClose(error: Error | undefined): void {
    this.events.push("close");
    this.closed.resolve(error);
  }
}

function record(channel: SecureChannel): Recorder {
  const recorder = new Recorder();
  channel.setHandler(recorder);
  return recorder;
}

describe("node-tls engine: handshake", () => {
  it("authenticates both sides and gives the peer's chain as DER, leaf first", async () => {
    const [client, server] = await securePair();
    expect(Buffer.from(client.peerCertificates[0]!).equals(serverLeaf.der)).toBe(true);
    expect(Buffer.from(server.peerCertificates[0]!).equals(clientLeaf.der)).toBe(true);
    expect(Buffer.from(server.peerCertificates[1]!).equals(intermediate.der)).toBe(true);
    expect([client.alpnProtocol, server.alpnProtocol]).toEqual(["h2", "h2"]);
  });

  it("speaks TLS 1.3 with AES-GCM and sends no server name", async () => {
    const server = tls.createServer({ ...serverMaterial, requestCert: true, ALPNProtocols: ["h2"] });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    cleanups.push(() => server.close());
    const socket = await connectTcp({ ip: "127.0.0.1", port: (server.address() as net.AddressInfo).port, timeoutMs });
    const secured = once(server, "secureConnection") as Promise<[tls.TLSSocket & { servername: unknown }]>;
    const channel = await engine.connect(socket, clientContext, { timeoutMs });
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
    { reason: "TLS 1.2", options: { ...clientMaterial, maxVersion: "TLSv1.2" as const }, code: "TLS_HANDSHAKE_FAILED" },
    {
      reason: "ChaCha20 only",
      options: { ...clientMaterial, ciphers: "TLS_CHACHA20_POLY1305_SHA256" },
      code: "TLS_HANDSHAKE_FAILED",
    },
    { reason: "ALPN http/1.1", options: { ...clientMaterial, ALPNProtocols: ["http/1.1"] }, code: "TLS_NO_ALPN" },
    { reason: "no ALPN", options: { ...clientMaterial, ALPNProtocols: [] }, code: "TLS_NO_ALPN" },
  ])("refuses a client with $reason", async ({ options, code }) => {
    const { outcome, client } = await acceptNodeClient(options);
    await expect(outcome).rejects.toMatchObject({ code });
    if (!client.closed) await new Promise((resolve) => client.once("close", resolve));
  });

  it.each([
    {
      reason: "of an unknown root",
      server: () => engine.createContext(materialOf(createTestCertificate({ name: "x", issuer: otherRoot }), [root])),
      code: "TLS_HANDSHAKE_FAILED",
    },
    {
      reason: "that expired",
      server: () =>
        engine.createContext(
          materialOf(createTestCertificate({ name: "x", issuer: root, notAfter: new Date(1e12) }), [root]),
        ),
      code: "TLS_HANDSHAKE_FAILED",
    },
  ])("refuses a server with a certificate $reason", async ({ server, code }) => {
    const [clientSocket, serverSocket] = await socketPair();
    const accept = engine.accept(serverSocket, server(), { timeoutMs });
    await expect(engine.connect(clientSocket, clientContext, { timeoutMs })).rejects.toMatchObject({ code });
    await accept.then(
      (channel) => record(channel).closed.promise,
      () => undefined,
    );
  });

  it.each([
    { reason: "no ALPN", options: {} },
    { reason: "ALPN http/1.1 only", options: { ALPNProtocols: ["http/1.1"] } },
  ])("refuses a server with $reason", async ({ options }) => {
    const server = tls.createServer({ ...serverMaterial, requestCert: true, ...options });
    server.on("tlsClientError", () => undefined);
    server.on("secureConnection", (socket) => socket.on("error", () => undefined));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    cleanups.push(() => server.close());
    const socket = await connectTcp({ ip: "127.0.0.1", port: (server.address() as net.AddressInfo).port, timeoutMs });
    await expect(engine.connect(socket, clientContext, { timeoutMs })).rejects.toMatchObject({ code: "TLS_NO_ALPN" });
    expect(socket.destroyed).toBe(true);
  });

  it("refuses a client that brings a session of an earlier connection instead of its certificate", async () => {
    const first = await acceptNodeClient(clientMaterial);
    const session = new Promise<Buffer>((resolve) => first.client.on("session", resolve));
    const channel = await first.outcome;
    record(channel);
    channel.resume();
    channel.write(Buffer.from("hello"));
    const second = await acceptNodeClient({ session: await session });
    await expect(second.outcome).rejects.toMatchObject({ code: "TLS_NO_PEER_CERTIFICATE" });
    const third = await acceptNodeClient({ ...clientMaterial, session: await session });
    await third.outcome;
    expect(third.client.isSessionReused()).toBe(false);
  });

  it("gives up on a silent peer after the timeout and closes the socket", async () => {
    const [client, server] = await socketPair();
    const accept = engine.accept(server, serverContext, { timeoutMs: 50 });
    await expect(accept).rejects.toMatchObject({ code: "TLS_HANDSHAKE_TIMEOUT" });
    expect(server.destroyed).toBe(true);
    client.destroy();
  });

  it("gives up on a server that accepts and says nothing", async () => {
    const [client] = await socketPair();
    await expect(engine.connect(client, clientContext, { timeoutMs: 50 })).rejects.toMatchObject({
      code: "TLS_HANDSHAKE_TIMEOUT",
    });
  });

  it.each([
    { what: "plain HTTP", bytes: Buffer.from("GET / HTTP/1.1\r\nHost: a\r\n\r\n") },
    { what: "random bytes", bytes: randomBytes(4096) },
    { what: "a record header that promises 64 KiB", bytes: Buffer.from([22, 3, 1, 255, 255, 1, 0, 0, 0]) },
  ])("refuses $what", async ({ bytes }) => {
    const [client, server] = await socketPair();
    client.write(bytes);
    await expect(engine.accept(server, serverContext, { timeoutMs })).rejects.toMatchObject({
      code: "TLS_HANDSHAKE_FAILED",
    });
    expect(server.destroyed).toBe(true);
  });

  it.each(["FIN", "RST"])("reports a peer that leaves by %s during the handshake", async (how) => {
    const [client, server] = await socketPair();
    const accept = engine.accept(server, serverContext, { timeoutMs });
    client.write(Buffer.from([22, 3, 1]));
    await new Promise((resolve) => setImmediate(resolve));
    if (how === "FIN") client.end();
    else client.resetAndDestroy();
    await expect(accept).rejects.toMatchObject({ code: "TLS_HANDSHAKE_FAILED" });
  });
});

describe("node-tls engine: contexts", () => {
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
    expect(() => engine.createContext(material)).toThrow(expect.objectContaining({ code: "TLS_BAD_MATERIAL" }));
  });

  it("cannot be used after close, while its connections go on", async () => {
    const context = engine.createContext(materialOf(clientLeaf, [root], [intermediate]));
    const [client, server] = await securePair({ client: context });
    context.close();
    context.close();
    const recorder = record(server);
    server.resume();
    client.write(Buffer.from("still"));
    client.end();
    await recorder.ended.promise;
    expect(recorder.bytes).toBe(5);
    const [socket] = await socketPair();
    await expect(engine.connect(socket, context, { timeoutMs })).rejects.toMatchObject({ code: "TLS_CONTEXT_CLOSED" });
    expect(socket.destroyed).toBe(true);
  });
});

describe("NodeTlsChannel", () => {
  it("ends each direction by itself", async () => {
    const [client, server] = await securePair();
    const [clientRecorder, serverRecorder] = [record(client), record(server)];
    client.resume();
    server.resume();
    client.write(Buffer.from("question"));
    client.end();
    await serverRecorder.ended.promise;
    for (let index = 0; index < 50; index++) {
      server.write(Buffer.alloc(10_000, index));
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(clientRecorder.events).toEqual([]);
    server.end();
    await clientRecorder.ended.promise;
    expect(clientRecorder.bytes).toBe(500_000);
    expect(await clientRecorder.closed.promise).toBeUndefined();
    expect(await serverRecorder.closed.promise).toBeUndefined();
    expect(serverRecorder.events).toEqual(["end", "close"]);
    expect([client.bytesWritten, client.bytesRead]).toEqual([8, 500_000]);
  });

  it("keeps every byte both ways at once, with slow readers and memory that is reused at once", async () => {
    const size = 6 * 1024 * 1024;
    const before = bufferPoolStats().bytesInUse;
    const ends = await securePair();
    const recorders = ends.map(record);
    const sent = await Promise.all(
      ends.map(async (channel, side) => {
        const recorder = recorders[side]!;
        let reads = 0;
        const onData = recorder.onData.bind(recorder);
        recorder.onData = (chunk) => {
          onData(chunk);
          if (++reads % 16 !== 0) return;
          channel.pause();
          setTimeout(() => channel.resume(), 1);
        };
        channel.resume();
        const hash = createHash("sha256");
        for (let written = 0, step = 1; written < size; step = (step * 7 + 3) % 150_001) {
          const bytes = randomBytes(Math.min(1 + step, size - written));
          written += bytes.length;
          hash.update(bytes);
          const accepted = channel.write(bytes);
          bytes.fill(0);
          if (!accepted) await recorder.drained.promise;
        }
        channel.end();
        return hash.digest("hex");
      }),
    );
    for (const recorder of recorders) await recorder.closed.promise;
    expect(recorders.map((recorder) => recorder.bytes)).toEqual([size, size]);
    expect(recorders.map((recorder) => recorder.hash.digest("hex"))).toEqual(sent.toReversed());
    expect(bufferPoolStats().bytesInUse).toBe(before);
  }, 20_000);

  it("holds a bounded number of bytes for a peer that does not read", async () => {
    const [client, server] = await securePair();
    const recorder = record(client);
    const sink = record(server);
    let total = 0;
    const chunk = Buffer.alloc(50_000, 1);
    for (let turns = 0; turns < 400; turns++) {
      while (client.write(chunk)) total += chunk.length;
      total += chunk.length;
      const waiting = await Promise.race([
        recorder.drained.promise,
        new Promise((resolve) => setTimeout(resolve, 50, "full")),
      ]);
      if (waiting === "full") break;
    }
    expect(client.bufferedBytes).toBeGreaterThan(0);
    expect(client.bufferedBytes).toBeLessThan(256 * 1024);
    server.resume();
    await recorder.drained.promise;
    client.end();
    await sink.ended.promise;
    expect(sink.bytes).toBe(total);
  }, 20_000);

  it("reads nothing beyond a bound while paused", async () => {
    const [client, server] = await securePair();
    const recorder = record(server);
    record(client);
    for (let index = 0; index < 20; index++) client.write(Buffer.alloc(1_000_000));
    for (let index = 0; index < 50; index++) await new Promise((resolve) => setImmediate(resolve));
    expect(server.bytesRead).toBe(0);
    expect(client.bufferedBytes).toBeGreaterThan(0);
    server.resume();
    client.end();
    await recorder.ended.promise;
    expect(recorder.bytes).toBe(20_000_000);
  }, 20_000);

  it("reports a FIN without close_notify as TLS_TRUNCATED, after the bytes that came before", async () => {
    const { outcome, client, raw } = await acceptNodeClient(clientMaterial);
    const channel = await outcome;
    const recorder = record(channel);
    client.write(Buffer.alloc(40_000, 1));
    while (client.writableLength > 0) await new Promise((resolve) => setImmediate(resolve));
    raw.end(); // under the feet of TLS
    channel.resume();
    expect(await recorder.closed.promise).toMatchObject({ code: "TLS_TRUNCATED" });
    expect(recorder.bytes).toBe(40_000);
    expect(recorder.events).toEqual(["close"]);
  });

  it("reports a FIN inside a record as TLS_TRUNCATED", async () => {
    const { outcome, raw } = await acceptNodeClient(clientMaterial);
    const channel = await outcome;
    const recorder = record(channel);
    channel.resume();
    raw.write(Buffer.from([23, 3, 3, 0x40, 0]));
    raw.end();
    expect(await recorder.closed.promise).toMatchObject({ code: "TLS_TRUNCATED" });
  });

  it("reports a record that fails authentication as TLS_PROTOCOL_ERROR", async () => {
    const { outcome, raw } = await acceptNodeClient(clientMaterial);
    const channel = await outcome;
    const recorder = record(channel);
    channel.resume();
    raw.write(Buffer.concat([Buffer.from([23, 3, 3, 0, 40]), randomBytes(40)]));
    expect(await recorder.closed.promise).toMatchObject({ code: "TLS_PROTOCOL_ERROR" });
  });

  it("accepts the close_notify of node:tls and of a peer that closes right after it", async () => {
    const { outcome, client } = await acceptNodeClient(clientMaterial);
    const channel = await outcome;
    const recorder = record(channel);
    channel.resume();
    client.end(Buffer.alloc(100_000, 9));
    await recorder.ended.promise;
    expect(recorder.bytes).toBe(100_000);
    channel.end();
    expect(await recorder.closed.promise).toBeUndefined();
  });

  it("tells the client why the server refused its certificate", async () => {
    // In TLS 1.3 a client is done before the server has looked at its certificate: the refusal comes afterwards.
    const [clientSocket, serverSocket] = await socketPair();
    const stranger = engine.createContext(materialOf(createTestCertificate({ name: "x", issuer: otherRoot }), [root]));
    const accept = engine.accept(serverSocket, serverContext, { timeoutMs });
    const connect = engine.connect(clientSocket, stranger, { timeoutMs });
    await expect(accept).rejects.toMatchObject({ code: "TLS_HANDSHAKE_FAILED" });
    const channel = await connect;
    const recorder = record(channel);
    channel.resume();
    channel.write(Buffer.from("x"));
    const error = await recorder.closed.promise;
    expect(error).toBeDefined();
    expect(recorder.bytes).toBe(0);
    expect(recorder.events).toEqual(["close"]);
  });

  it("resets on destroy: the peer gets an error, not an end", async () => {
    const [client, server] = await securePair();
    const [clientRecorder, serverRecorder] = [record(client), record(server)];
    server.resume();
    const reason = new Error("policy changed");
    client.destroy(reason);
    client.destroy();
    expect(clientRecorder.events).toEqual([]);
    expect(await clientRecorder.closed.promise).toBe(reason);
    expect(await serverRecorder.closed.promise).toMatchObject({ code: "ECONNRESET" });
    expect(clientRecorder.events).toEqual(["close"]);
  });

  it("destroys the channel when a handler throws, and refuses writes after end", async () => {
    const [client, server] = await securePair();
    const [clientRecorder, serverRecorder] = [record(client), record(server)];
    serverRecorder.onData = () => {
      throw new Error("parser failed");
    };
    server.resume();
    client.resume();
    client.write(Buffer.from("x"));
    expect(await serverRecorder.closed.promise).toMatchObject({ message: "parser failed" });
    await clientRecorder.closed.promise;
    const [late] = await securePair();
    const lateRecorder = record(late);
    late.end();
    expect(late.write(Buffer.from("late"))).toBe(false);
    expect(await lateRecorder.closed.promise).toMatchObject({ code: "WRITE_AFTER_END" });
  });

  it("survives being destroyed at any moment, with writes, ends and reads in every state", async () => {
    const before = bufferPoolStats().bytesInUse;
    for (let round = 0; round < 60; round++) {
      const [client, server] = await securePair();
      const recorders = [record(client), record(server)];
      if (round % 2 === 0) server.resume();
      if (round % 3 === 0) client.resume();
      client.write(Buffer.alloc(1 + ((round * 90_001) % 3_000_000)));
      if (round % 5 === 0) server.write(Buffer.alloc(300_000));
      if (round % 4 === 0) client.end();
      for (let turn = 0; turn < round % 7; turn++) await new Promise((resolve) => setImmediate(resolve));
      (round % 8 < 4 ? client : server).destroy();
      if (round % 9 === 0) (round % 8 < 4 ? server : client).destroy();
      client.resume();
      server.resume();
      if (round % 4 === 1) client.end();
      server.end();
      await Promise.all(recorders.map((recorder) => recorder.closed.promise));
      expect(recorders.map((recorder) => recorder.events.filter((event) => event === "close").length)).toEqual([1, 1]);
    }
    expect(bufferPoolStats().bytesInUse).toBe(before);
  }, 20_000);

  it("refuses a socket that a channel owns", async () => {
    const [client] = await socketPair();
    createSocketChannel(client);
    await expect(engine.connect(client, clientContext, { timeoutMs })).rejects.toMatchObject({
      code: "SOCKET_NOT_RAW",
    });
  });
});

function selfSigned(): tls.ConnectionOptions {
  const leaf = createTestCertificate({ name: "stranger" });
  return { cert: leaf.pem, key: materialOf(leaf, []).privateKey };
}

function leafOf(validity: { notBefore?: Date; notAfter?: Date }): tls.ConnectionOptions {
  const leaf = createTestCertificate({ name: "leaf", issuer: root, ...validity });
  return { cert: leaf.pem, key: materialOf(leaf, []).privateKey };
}
