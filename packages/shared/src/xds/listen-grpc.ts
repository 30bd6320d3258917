import { createSecureContext } from "node:tls";
import { experimental, Server, ServerCredentials } from "@grpc/grpc-js";
import { xdsError } from "./errors.ts";
import { type GrpcService } from "./grpc-method.ts";

export interface GrpcTls {
  readonly certificateChainPem: string;
  readonly privateKeyPem: string;
  /** Clients may come with a certificate of these roots; one of others counts as none. Undefined: clients are not asked. */
  readonly clientRootsPem?: string;
}

export interface GrpcListenOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Undefined: plaintext. */
  readonly tls?: GrpcTls;
  readonly services: readonly GrpcService[];
  /**
   * A connection gets GOAWAY after this long, ±10 %, and its calls a minute to end: clients that connected while another replica was
   * away spread again. Default 45 min, so that ADS streams (36 min at most) end of themselves before.
   */
  readonly maxConnectionAgeMs?: number;
}

export interface GrpcListener {
  readonly port: number;
  /** New connections get this from now on; those that are open stay. Whether clients are asked does not change. */
  replaceTls(tls: GrpcTls): void;
  /** Stops accepting, lets calls end until `graceMs`, then cuts them. */
  close(graceMs?: number): Promise<void>;
}

/** A reconnecting client names all it holds in one message. */
const maxRequestBytes = 64 * 1024 * 1024;

const maxConnectionAgeMs = 45 * 60_000;
const connectionGraceMs = 60_000;

/** Serves gRPC on one port. Rejects with `XDS_LISTEN_FAILED` when the port or the key cannot be used. */
export async function listenGrpc(options: GrpcListenOptions): Promise<GrpcListener> {
  const server = new Server({
    "grpc.max_receive_message_length": maxRequestBytes,
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.max_concurrent_streams": 100,
    "grpc.max_connection_age_ms": options.maxConnectionAgeMs ?? maxConnectionAgeMs,
    "grpc.max_connection_age_grace_ms": connectionGraceMs,
  });
  for (const { definition, implementation } of options.services) server.addService(definition, implementation);
  const host = options.host.includes(":") ? `[${options.host}]` : options.host;
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const held = options.tls === undefined ? undefined : new HeldTls(options.tls);
  try {
    server.bindAsync(`${host}:${options.port}`, serverCredentials(held), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
    const port = await promise;
    return { port, replaceTls: (tls) => held?.replace(tls), close: (graceMs = 1_000) => shutDown(server, graceMs) };
  } catch (cause) {
    server.forceShutdown();
    throw xdsError("XDS_LISTEN_FAILED", `gRPC cannot listen on ${host}:${options.port}`, cause);
  }
}

function serverCredentials(held: HeldTls | undefined): ServerCredentials {
  if (held === undefined) return ServerCredentials.createInsecure();
  // The first gives the server's certificate, the second the clients' roots, whatever the parameters are called.
  return experimental.createCertificateProviderServerCredentials(held, held.asksClients ? held : null, false);
}

/** A server's certificate and its clients' roots, as grpc-js follows them. */
class HeldTls implements experimental.CertificateProvider {
  readonly asksClients: boolean;
  #tls: GrpcTls;
  readonly #rootListeners = new Set<experimental.CaCertificateUpdateListener>();
  readonly #certificateListeners = new Set<experimental.IdentityCertificateUpdateListener>();

  constructor(tls: GrpcTls) {
    // A key that does not fit is told now, not to every client.
    createSecureContext({ cert: tls.certificateChainPem, key: tls.privateKeyPem });
    this.#tls = tls;
    this.asksClients = tls.clientRootsPem !== undefined;
  }

  replace(tls: GrpcTls): void {
    this.#tls = tls;
    for (const listener of this.#rootListeners) listener(this.#roots());
    for (const listener of this.#certificateListeners) listener(this.#certificate());
  }

  addCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#rootListeners.add(listener);
    // Not at once: grpc-js passes on only what comes after this call.
    queueMicrotask(() => listener(this.#roots()));
  }

  removeCaCertificateListener(listener: experimental.CaCertificateUpdateListener): void {
    this.#rootListeners.delete(listener);
  }

  addIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.#certificateListeners.add(listener);
    queueMicrotask(() => listener(this.#certificate()));
  }

  removeIdentityCertificateListener(listener: experimental.IdentityCertificateUpdateListener): void {
    this.#certificateListeners.delete(listener);
  }

  #roots(): experimental.CaCertificateUpdate {
    return { caCertificate: Buffer.from(this.#tls.clientRootsPem ?? "") };
  }

  #certificate(): experimental.IdentityCertificateUpdate {
    const { certificateChainPem, privateKeyPem } = this.#tls;
    return { certificate: Buffer.from(certificateChainPem), privateKey: Buffer.from(privateKeyPem) };
  }
}

async function shutDown(server: Server, graceMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(() => server.forceShutdown(), graceMs);
  // Its error only says that some calls were cut.
  server.tryShutdown(() => resolve());
  await promise;
  clearTimeout(timer);
}
