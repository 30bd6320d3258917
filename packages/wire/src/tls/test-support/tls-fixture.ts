import { createHash, type Hash } from "node:crypto";
import { once } from "node:events";
import net from "node:net";
import tls from "node:tls";
import type { ByteChannelHandler } from "../../byte-channel.ts";
import { connectTcp } from "../../connect-tcp.ts";
import { listenTcp } from "../../tcp-listener.ts";
import type { SecureChannel, TlsContext, TlsEngine } from "../engine.ts";
import {
  createTestCertificate,
  createTestRoot,
  materialOf,
  type TestCertificate,
  uriSans,
} from "../test-certificates.ts";

export const timeoutMs: number = 5000;

export const root: TestCertificate = createTestRoot();
export const otherRoot: TestCertificate = createTestRoot("other root");
export const intermediate: TestCertificate = createTestCertificate({
  name: "intermediate",
  issuer: root,
  isAuthority: true,
});
export const serverLeaf: TestCertificate = createTestCertificate({
  name: "server",
  issuer: root,
  extensions: [uriSans("spiffe://td/ns/a/sa/server")],
});
export const clientLeaf: TestCertificate = createTestCertificate({
  name: "client",
  issuer: intermediate,
  extensions: [uriSans("spiffe://td/ns/a/sa/client")],
});
/** For node:tls peers. */
interface NodeMaterial {
  readonly cert: string;
  readonly key: string;
  readonly ca: string;
}

export const clientMaterial: NodeMaterial = {
  cert: clientLeaf.pem + intermediate.pem,
  key: materialOf(clientLeaf, []).privateKey,
  ca: root.pem,
};
export const serverMaterial: NodeMaterial = {
  cert: serverLeaf.pem,
  key: materialOf(serverLeaf, []).privateKey,
  ca: root.pem,
};

/** Which engine plays which role. */
export interface EnginePair {
  readonly client: TlsEngine;
  readonly server: TlsEngine;
}

/** Sockets and connections for tests of one pair of engines; `cleanUp` after each test. */
export class TlsFixture {
  readonly engines: EnginePair;
  readonly clientContext: TlsContext;
  readonly serverContext: TlsContext;
  readonly #cleanups: (() => unknown)[] = [];

  constructor(engines: EnginePair) {
    this.engines = engines;
    this.clientContext = engines.client.createContext(materialOf(clientLeaf, [root], [intermediate]));
    this.serverContext = engines.server.createContext(materialOf(serverLeaf, [root]));
  }

  onCleanUp(cleanup: () => unknown): void {
    this.#cleanups.push(cleanup);
  }

  async cleanUp(): Promise<void> {
    for (const cleanup of this.#cleanups.splice(0).toReversed()) await cleanup();
  }

  /** Connected raw sockets: the client's, the server's. With `through`, by way of that port. */
  async socketPair(through?: (port: number) => Promise<number>): Promise<[net.Socket, net.Socket]> {
    const accepted = Promise.withResolvers<net.Socket>();
    const onConnection = (socket: net.Socket): void => accepted.resolve(socket);
    const listener = await listenTcp({ host: "127.0.0.1", port: 0, onConnection });
    const { port } = listener.address;
    const client = await connectTcp({ ip: "127.0.0.1", port: through ? await through(port) : port, timeoutMs });
    const server = await accepted.promise;
    await listener.close();
    this.onCleanUp(() => client.destroy());
    this.onCleanUp(() => server.destroy());
    return [client, server];
  }

  async secure(
    [client, server]: readonly [net.Socket, net.Socket],
    contexts: { client?: TlsContext; server?: TlsContext } = {},
  ): Promise<[SecureChannel, SecureChannel]> {
    const pair = await Promise.all([
      this.engines.client.connect(client, contexts.client ?? this.clientContext, { timeoutMs }),
      this.engines.server.accept(server, contexts.server ?? this.serverContext, { timeoutMs }),
    ]);
    for (const channel of pair) this.onCleanUp(() => channel.destroy());
    return pair;
  }

  async securePair(contexts?: { client?: TlsContext; server?: TlsContext }): Promise<[SecureChannel, SecureChannel]> {
    return this.secure(await this.socketPair(), contexts);
  }

  /** Our server against a node:tls client made from plain options; the outcome of our side and the client's sockets. */
  async acceptNodeClient(
    options: tls.ConnectionOptions,
  ): Promise<{ outcome: Promise<SecureChannel>; client: tls.TLSSocket; raw: net.Socket }> {
    const accepted = Promise.withResolvers<net.Socket>();
    const onConnection = (socket: net.Socket): void => accepted.resolve(socket);
    const listener = await listenTcp({ host: "127.0.0.1", port: 0, onConnection });
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
    const outcome = this.engines.server.accept(await accepted.promise, this.serverContext, { timeoutMs });
    outcome.catch(() => undefined);
    await listener.close();
    this.onCleanUp(() => client.destroy());
    return { outcome, client, raw };
  }

  /** A node:tls server, and a raw socket connected to it. */
  async dialNodeServer(options: tls.TlsOptions): Promise<{ server: tls.Server; socket: net.Socket }> {
    const server = tls.createServer({ ...serverMaterial, requestCert: true, ...options });
    server.on("tlsClientError", () => undefined);
    server.on("secureConnection", (socket) => socket.on("error", () => undefined));
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    this.onCleanUp(() => server.close());
    const { port } = server.address() as net.AddressInfo;
    return { server, socket: await connectTcp({ ip: "127.0.0.1", port, timeoutMs }) };
  }
}

/** Hashes and counts what arrives. */
export class Recorder implements ByteChannelHandler {
  readonly events: string[] = [];
  readonly hash: Hash = createHash("sha256");
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

export function record(channel: SecureChannel): Recorder {
  const recorder = new Recorder();
  channel.setHandler(recorder);
  return recorder;
}

/** One turn of the event loop. */
export function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
