import { Server, ServerCredentials } from "@grpc/grpc-js";
import { xdsError } from "./errors.ts";
import { type GrpcService } from "./grpc-method.ts";

export interface GrpcListenOptions {
  readonly host: string;
  /** 0: any free one. */
  readonly port: number;
  /** Undefined: plaintext. */
  readonly tls?: {
    readonly certificateChainPem: string;
    readonly privateKeyPem: string;
  };
  readonly services: readonly GrpcService[];
}

export interface GrpcListener {
  readonly port: number;
  /** Stops accepting, lets calls end until `graceMs`, then cuts them. */
  close(graceMs?: number): Promise<void>;
}

/** A reconnecting client names all it holds in one message. */
const maxRequestBytes = 64 * 1024 * 1024;

/** Serves gRPC on one port. Rejects with `XDS_LISTEN_FAILED` when the port or the key cannot be used. */
export async function listenGrpc(options: GrpcListenOptions): Promise<GrpcListener> {
  const server = new Server({
    "grpc.max_receive_message_length": maxRequestBytes,
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
    "grpc.max_concurrent_streams": 100,
  });
  for (const { definition, implementation } of options.services) server.addService(definition, implementation);
  const host = options.host.includes(":") ? `[${options.host}]` : options.host;
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  try {
    server.bindAsync(`${host}:${options.port}`, serverCredentials(options), (error, port) =>
      error === null ? resolve(port) : reject(error),
    );
    const port = await promise;
    return { port, close: (graceMs = 1_000) => shutDown(server, graceMs) };
  } catch (cause) {
    server.forceShutdown();
    throw xdsError("XDS_LISTEN_FAILED", `gRPC cannot listen on ${host}:${options.port}`, cause);
  }
}

function serverCredentials({ tls }: GrpcListenOptions): ServerCredentials {
  if (tls === undefined) return ServerCredentials.createInsecure();
  const pair = { cert_chain: Buffer.from(tls.certificateChainPem), private_key: Buffer.from(tls.privateKeyPem) };
  return ServerCredentials.createSsl(null, [pair], false);
}

async function shutDown(server: Server, graceMs: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(() => server.forceShutdown(), graceMs);
  // Its error only says that some calls were cut.
  server.tryShutdown(() => resolve());
  await promise;
  clearTimeout(timer);
}
