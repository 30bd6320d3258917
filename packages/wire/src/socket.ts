import type { AddressInfo, Socket } from "node:net";
import type { ByteChannel } from "./byte-channel.ts";
import type { BufferPoolStats } from "./buffer-pool.ts";

export interface SocketChannelOptions {
  /** `write` returns false when more than this many bytes wait. Default 128 KiB; 0: as soon as anything waits. */
  readonly highWaterMark?: number;
}

/**
 * Takes over a connected *raw* socket: paused, nothing read, no listeners, as `listenTcp` and `connectTcp` give it. Use
 * only the channel afterwards. Throws `SOCKET_NOT_RAW` otherwise.
 */
export function createSocketChannel(_socket: Socket, _options?: SocketChannelOptions): ByteChannel {
  throw new Error("not available yet");
}

export type ListenTcpOptions = ({ readonly fd: number } | { readonly host: string; readonly port: number }) & {
  /** Gets each accepted socket, raw. It owns the socket: nobody else closes it. */
  onConnection(socket: Socket): void;
  /** Waiting connections in the kernel. Default 1024. Not for `fd`, which listens already. */
  readonly backlog?: number;
};

export interface TcpListener {
  readonly address: AddressInfo;
  /** Accepts that failed (EMFILE, ECONNABORTED, ...); the listener goes on. */
  readonly acceptErrors: number;
  /** Stops accepting. Accepted sockets live on. Idempotent. */
  close(): Promise<void>;
}

/** Listens. Rejects with Node's error (`EADDRINUSE`, ...). The listener owns an `fd` from the call on. */
export function listenTcp(_options: ListenTcpOptions): Promise<TcpListener> {
  throw new Error("not available yet");
}

export type ConnectTcpOptions = {
  /** A literal address: names are never resolved here. */
  readonly ip: string;
  readonly port: number;
  readonly timeoutMs: number;
} & ({ readonly localIp?: string } | { readonly fd: number });

/**
 * Connects and gives the raw, paused socket. Rejects with Node's code (`ECONNREFUSED`, ...) or `TCP_CONNECT_TIMEOUT`.
 * An `fd` (an unconnected TCP socket) is owned from the call on, also when it fails.
 */
export function connectTcp(_options: ConnectTcpOptions): Promise<Socket> {
  throw new Error("not available yet");
}

/** The pool of this thread, for metrics. */
export function bufferPoolStats(): BufferPoolStats {
  throw new Error("not available yet");
}
