import { type AddressInfo, createServer, type Socket } from "node:net";

export interface EchoServerOptions {
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 0: any free one. */
  readonly port?: number;
  /** Instead of host and port: an open listening socket (made in another network namespace, say). */
  readonly fd?: number;
}

export interface EchoServer extends AsyncDisposable {
  readonly address: AddressInfo;
  /** Connections accepted so far. */
  readonly accepted: number;
  /** Connections open now. */
  readonly open: number;
  /** Ends open connections too. Idempotent. */
  close(): Promise<void>;
}

/** Sends back every byte, with back-pressure, and ends its direction when the client ends its own. */
export async function startEchoServer(options: EchoServerOptions = {}): Promise<EchoServer> {
  const sockets = new Set<Socket>();
  let accepted = 0;
  const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
    accepted++;
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => socket.destroy());
    socket.pipe(socket);
  });
  const listening = Promise.withResolvers<void>();
  server.once("error", listening.reject);
  const place =
    options.fd === undefined ? { host: options.host ?? "127.0.0.1", port: options.port ?? 0 } : { fd: options.fd };
  server.listen(place, listening.resolve);
  await listening.promise;
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("The echo server has no TCP address");
  const close = async (): Promise<void> => {
    if (!server.listening) return;
    const closed = Promise.withResolvers<void>();
    server.close(() => closed.resolve());
    for (const socket of sockets) socket.destroy();
    await closed.promise;
    // Their own 'close' events come a turn later.
    sockets.clear();
  };
  return {
    address,
    get accepted() {
      return accepted;
    },
    get open() {
      return sockets.size;
    },
    close,
    [Symbol.asyncDispose]: close,
  };
}
