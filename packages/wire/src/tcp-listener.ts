import { channel } from "node:diagnostics_channel";
import net from "node:net";
import { acceptRaw } from "./raw-socket.ts";

export type ListenTcpOptions = ({ readonly fd: number } | { readonly host: string; readonly port: number }) & {
  /** Gets each accepted socket, raw and paused. It owns the socket: nobody else closes it. */
  onConnection(socket: net.Socket): void;
  /** Connections that may wait in the kernel. Default 1024. */
  readonly backlog?: number;
};

export interface TcpListener {
  readonly address: net.AddressInfo;
  /**
   * Accepts that failed and that Node told of; the listener goes on. Out of descriptors libuv closes what waits without a
   * word, so that case must be watched by the count of open descriptors.
   */
  readonly acceptErrors: number;
  /** Stops accepting; resolves when the listening socket is closed. Accepted sockets live on. Idempotent. */
  close(): Promise<void>;
}

/** `{ address, error }` for every accept that failed; also counted in `TcpListener.acceptErrors`. */
const acceptErrorChannel = channel("hairpin:wire:accept-error");

/**
 * Listens on an address, or on a descriptor that is bound already (it is owned from the call on). Rejects with Node's
 * code (`EADDRINUSE`, `EACCES`, `EBADF`, ...).
 */
export async function listenTcp(options: ListenTcpOptions): Promise<TcpListener> {
  const server = net.createServer({ pauseOnConnect: true, allowHalfOpen: true, noDelay: true });
  const backlog = options.backlog ?? 1024;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(
      "fd" in options ? { fd: options.fd, backlog } : { host: options.host, port: options.port, backlog },
      () => {
        server.off("error", reject);
        acceptRaw(server, (socket) => options.onConnection(socket));
        resolve();
      },
    );
  });
  return new NetTcpListener(server);
}

class NetTcpListener implements TcpListener {
  readonly address: net.AddressInfo;
  readonly #server: net.Server;
  #acceptErrors = 0;
  #closed: Promise<void> | undefined;

  constructor(server: net.Server) {
    this.#server = server;
    this.address = server.address() as net.AddressInfo;
    server.on("error", (error) => {
      this.#acceptErrors++;
      acceptErrorChannel.publish({ address: this.address, error });
    });
  }

  get acceptErrors(): number {
    return this.#acceptErrors;
  }

  close(): Promise<void> {
    this.#closed ??= new Promise((resolve) => this.#server.close(() => resolve()));
    return this.#closed;
  }
}
