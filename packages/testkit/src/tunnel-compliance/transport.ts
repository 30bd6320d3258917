import type { Socket } from "node:net";
import type { SocketAddress } from "@hairpin/shared/model";
import { connectTcp, createSocketChannel, listenTcp, type TlsEngine } from "@hairpin/wire";
import { type ChannelPairOptions, createChannelPair } from "../channel-pair.ts";
import { Interposer } from "./interposer.ts";
import { createMemoryTls } from "./memory-tls.ts";
import type { BreakableTransport } from "./tunnel-pair.ts";

/** How the two sides of a pair reach one another, with an interposer on the way. */
export interface PairTransport extends AsyncDisposable {
  readonly tls: TlsEngine;
  readonly interposer: BreakableTransport;
  /** Gives accepted raw sockets to `onConnection`; resolves with the address to dial. Once. */
  serve(onConnection: (socket: Socket) => void): Promise<SocketAddress>;
  /** A raw connected socket to `address`, for `tls.connect`. */
  connectSocket(address: SocketAddress, timeoutMs: number): Promise<Socket>;
}

const loopback = "127.0.0.1";

export interface TcpInterposer extends AsyncDisposable {
  readonly address: SocketAddress;
  readonly interposer: Interposer;
}

/**
 * An interposer that listens on loopback, or on the descriptor `fd`, and passes each connection on to `destination`, which may
 * also be a function that makes the (raw) connection.
 */
export async function startTcpInterposer(
  destination: SocketAddress | (() => Promise<Socket>),
  fd?: number,
): Promise<TcpInterposer> {
  const interposer = new Interposer();
  const connect =
    typeof destination === "function" ? destination : () => connectTcp({ ...destination, timeoutMs: 10_000 });
  const listener = await listenTcp({
    ...(fd === undefined ? { host: loopback, port: 0 } : { fd }),
    onConnection: (downstream) => {
      connect().then(
        (upstream) => interposer.join(createSocketChannel(downstream), createSocketChannel(upstream)),
        () => downstream.destroy(),
      );
    },
  });
  return {
    interposer,
    address: { ip: loopback, port: listener.address.port },
    async [Symbol.asyncDispose]() {
      interposer.close();
      await listener.close();
    },
  };
}

/** Real sockets on loopback: the engine does real handshakes. */
export function createTcpTransport(tls: TlsEngine): PairTransport {
  const closers: (() => PromiseLike<void>)[] = [];
  let interposer = new Interposer();
  return {
    tls,
    get interposer() {
      return interposer;
    },
    async serve(onConnection) {
      const listener = await listenTcp({ host: loopback, port: 0, onConnection });
      const middle = await startTcpInterposer({ ip: loopback, port: listener.address.port });
      interposer = middle.interposer;
      closers.push(
        () => middle[Symbol.asyncDispose](),
        () => listener.close(),
      );
      return middle.address;
    },
    connectSocket: (address, timeoutMs) => connectTcp({ ...address, timeoutMs }),
    async [Symbol.asyncDispose]() {
      for (const close of closers) await close();
    },
  };
}

/** No sockets and no cipher: HTTP/2 over channels in memory whose chunks are cut as `options` say. */
export function createMemoryTransport(options: ChannelPairOptions & { readonly coalesce?: boolean }): PairTransport {
  const memory = createMemoryTls();
  const interposer = new Interposer(options);
  let accept: ((socket: Socket) => void) | undefined;
  return {
    tls: memory.engine,
    interposer,
    serve: async (onConnection) => {
      accept = onConnection;
      return { ip: loopback, port: 15008 };
    },
    connectSocket: async () => {
      const [client, clientWire] = createChannelPair(options);
      const [serverWire, server] = createChannelPair(options);
      interposer.join(clientWire, serverWire);
      const [clientSocket, serverSocket] = memory.sockets(client, server);
      accept?.(serverSocket);
      return clientSocket;
    },
    async [Symbol.asyncDispose]() {
      interposer.close();
    },
  };
}
