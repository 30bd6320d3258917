import net from "node:net";
import { WireError } from "./errors.ts";
import { createRawSocket } from "./raw-socket.ts";

export type ConnectTcpOptions = {
  /** A literal address: names are never resolved here. */
  readonly ip: string;
  readonly port: number;
  readonly timeoutMs: number;
} & ({ readonly localIp?: string | undefined } | { readonly fd: number });

/**
 * Connects and gives the raw, paused socket. Rejects with Node's code (`ECONNREFUSED`, `EHOSTUNREACH`, ...) or
 * `TCP_CONNECT_TIMEOUT`. An `fd` (an unconnected TCP socket, perhaps bound) is owned from the call on, also on failure.
 */
export function connectTcp(options: ConnectTcpOptions): Promise<net.Socket> {
  const { ip, port, timeoutMs } = options;
  return new Promise((resolve, reject) => {
    const socket = createRawSocket("fd" in options ? { fd: options.fd } : {});
    const refuse = (error: Error): void => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    const timer = setTimeout(() => {
      refuse(
        new WireError(
          "TCP_CONNECT_TIMEOUT",
          `Connect to ${net.isIPv6(ip) ? `[${ip}]` : ip}:${port} took longer than ${timeoutMs} ms`,
        ),
      );
    }, timeoutMs);
    socket.once("error", refuse);
    if (net.isIP(ip) === 0) return refuse(new TypeError(`Not an IP address: ${ip}`));
    const localAddress = "localIp" in options ? options.localIp : undefined;
    try {
      socket.connect({ host: ip, port, ...(localAddress !== undefined && { localAddress }) });
    } catch (error) {
      return refuse(error as Error);
    }
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.off("error", refuse);
      resolve(socket);
    });
  });
}
