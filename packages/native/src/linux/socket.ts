/** Sockets with the options that Node cannot set, in any network namespace; they come back as descriptors. */
import { createSocket as createDgramSocket } from "node:dgram";
import type { Socket as DgramSocket } from "node:dgram";
import { isIPv4 } from "node:net";
import { allocate } from "../memory.ts";
import {
  AF_INET,
  AF_INET6,
  IP_BIND_ADDRESS_NO_PORT,
  IP_FREEBIND,
  IP_TRANSPARENT,
  IPV6_FREEBIND,
  IPV6_TRANSPARENT,
  IPV6_V6ONLY,
  SO_MARK,
  SO_REUSEADDR,
  SO_REUSEPORT,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
} from "./constants.ts";
import { check, hasCode } from "./errno.ts";
import { libc } from "./libc.ts";
import type { NetnsHandle } from "./netns.ts";
import { withNetns } from "./netns.ts";
import type { InternetAddress } from "./socket-address.ts";
import { decodeInternetAddress, encodeInternetAddress } from "./socket-address.ts";
import { setIntegerOption } from "./socket-options.ts";

interface SocketPlace {
  /** Where the socket lives. Default: the namespace of this thread. */
  readonly netns?: NetnsHandle;
  /** SO_MARK; needs CAP_NET_ADMIN over the namespace. */
  readonly mark?: number;
}

export interface ListenerOptions extends SocketPlace {
  /** A literal address. `::` also takes IPv4 (as IPv4-mapped peers); any other IPv6 address takes IPv6 alone. */
  readonly ip: string;
  /** 0: the kernel chooses; see {@link localAddress}. */
  readonly port: number;
  /** SO_REUSEPORT: several processes or threads may listen, the kernel spreads connections. Default false. */
  readonly reusePort?: boolean;
  /** IP_TRANSPARENT: accept connections to addresses that are not ours. `best-effort` goes on without the capability. Default off. */
  readonly transparent?: "required" | "best-effort" | "off";
  /** Connections the kernel keeps until they are accepted. Default 128. Node's `listen({ fd })` sets its own again. */
  readonly backlog?: number;
}

export interface DialSocketOptions extends SocketPlace {
  readonly family: 4 | 6;
  /** Source address. Default: the kernel's choice when it connects. */
  readonly localIp?: string;
  /** IP_TRANSPARENT and IP_FREEBIND: `localIp` may be anybody's. Default false. Needs CAP_NET_ADMIN or CAP_NET_RAW. */
  readonly transparent?: boolean;
  /**
   * IP_BIND_ADDRESS_NO_PORT: the port is chosen when connecting, so that one source address has 28,000 ports *per
   * destination* rather than in all. Default true.
   */
  readonly bindAddressNoPort?: boolean;
}

export interface UdpSocketOptions extends SocketPlace {
  /** A literal address, `0.0.0.0` or `::` for any. IPv6 sockets take IPv6 alone. */
  readonly ip: string;
  /** 0: the kernel chooses. */
  readonly port: number;
  /** SO_REUSEPORT. Default false. Not for port 0: the kernel would choose a port that another such socket already has. */
  readonly reusePort?: boolean;
}

/** A listening TCP socket. The caller owns the descriptor; node:net adopts it by `server.listen({ fd })`. */
export function createListener(options: ListenerOptions): number {
  const family = familyOf(options.ip);
  return createSocket(options, family, SOCK_STREAM, (fd) => {
    setIntegerOption(fd, SOL_SOCKET, SO_REUSEADDR, 1);
    if (options.reusePort === true) setIntegerOption(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (family === AF_INET6) setIntegerOption(fd, SOL_IPV6, IPV6_V6ONLY, options.ip === "::" ? 0 : 1);
    if (options.transparent === "required") setTransparent(fd, family);
    if (options.transparent === "best-effort") trySetTransparent(fd, family);
    bind(fd, options.ip, options.port);
    check(libc.listen(fd, options.backlog ?? 128), "listen", place(options.ip, options.port));
  });
}

/** A TCP socket that is ready to connect. The caller owns the descriptor; `new net.Socket({ fd }).connect(...)` adopts it. */
export function createDialSocket(options: DialSocketOptions): number {
  const family = options.family === 4 ? AF_INET : AF_INET6;
  return createSocket(options, family, SOCK_STREAM, (fd) => {
    if (options.transparent === true) {
      setTransparent(fd, family);
      if (family === AF_INET) setIntegerOption(fd, SOL_IP, IP_FREEBIND, 1);
      else setIntegerOption(fd, SOL_IPV6, IPV6_FREEBIND, 1);
    }
    if (options.localIp === undefined) return;
    // The same option serves both families.
    if (options.bindAddressNoPort !== false) setIntegerOption(fd, SOL_IP, IP_BIND_ADDRESS_NO_PORT, 1);
    bind(fd, options.localIp, 0);
  });
}

/** A bound UDP socket. The caller owns the descriptor, until {@link adoptUdpSocket}. */
export function createUdpSocket(options: UdpSocketOptions): number {
  const family = familyOf(options.ip);
  return createSocket(options, family, SOCK_DGRAM, (fd) => {
    if (options.reusePort === true && options.port !== 0) setIntegerOption(fd, SOL_SOCKET, SO_REUSEPORT, 1);
    if (family === AF_INET6) setIntegerOption(fd, SOL_IPV6, IPV6_V6ONLY, 1);
    bind(fd, options.ip, options.port);
  });
}

/** Gives a bound UDP descriptor to node:dgram, which owns it from now on, also when this throws. */
export function adoptUdpSocket(fd: number): Promise<DgramSocket> {
  const family = localAddress(fd).ip.includes(":") ? "udp6" : "udp4";
  const socket = createDgramSocket({ type: family });
  const { promise, resolve, reject } = Promise.withResolvers<DgramSocket>();
  const onError = (error: Error): void => {
    socket.close();
    closeSocket(fd);
    reject(error);
  };
  socket.once("error", onError);
  // exclusive: never through a cluster's primary process.
  socket.bind({ fd, exclusive: true }, () => {
    socket.off("error", onError);
    resolve(socket);
  });
  return promise;
}

/** Closes a descriptor that nobody adopted. By close(2): in a worker thread Node's `closeSync` warns of what it did not open. */
export function closeSocket(fd: number): void {
  libc.close(fd);
}

/** Addresses are asked for synchronously, for each connection: one piece of memory serves all. */
const nameBytes = allocate(28);
const nameLength = allocate(4);
const nameLengthView = new DataView(nameLength.buffer);

/** The address to which a socket is bound. */
export function localAddress(fd: number): InternetAddress {
  return readAddress(fd, "getsockname");
}

/** The address at the other end. As `socket.remoteAddress`, without the object that Node makes of it. Throws `ENOTCONN` when the peer is gone. */
export function peerAddress(fd: number): InternetAddress {
  return readAddress(fd, "getpeername");
}

function readAddress(fd: number, call: "getsockname" | "getpeername"): InternetAddress {
  nameLengthView.setUint32(0, nameBytes.length, true);
  check(libc[call](fd, nameBytes, nameLength), call);
  const decoded = decodeInternetAddress(nameBytes);
  if (decoded === undefined) throw Object.assign(new Error("Not an IP socket"), { code: "EAFNOSUPPORT" });
  return decoded;
}

/** Only `socket(2)` happens inside the namespace: a socket stays where it was made, whoever binds it. */
function createSocket(place: SocketPlace, family: number, type: number, prepare: (fd: number) => void): number {
  const make = (): number => check(libc.socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
  const fd = place.netns === undefined ? make() : withNetns(place.netns, make);
  try {
    if (place.mark !== undefined) setIntegerOption(fd, SOL_SOCKET, SO_MARK, place.mark);
    prepare(fd);
    return fd;
  } catch (error) {
    closeSocket(fd);
    throw error;
  }
}

function bind(fd: number, ip: string, port: number): void {
  const address = encodeInternetAddress(ip, port);
  check(libc.bind(fd, address, address.length), "bind", place(ip, port));
}

function setTransparent(fd: number, family: number): void {
  if (family === AF_INET) setIntegerOption(fd, SOL_IP, IP_TRANSPARENT, 1);
  else setIntegerOption(fd, SOL_IPV6, IPV6_TRANSPARENT, 1);
}

function trySetTransparent(fd: number, family: number): void {
  try {
    setTransparent(fd, family);
  } catch (error) {
    if (!hasCode(error, "EPERM", "ENOPROTOOPT")) throw error;
  }
}

function familyOf(ip: string): number {
  return isIPv4(ip) ? AF_INET : AF_INET6;
}

function place(ip: string, port: number): string {
  return ip.includes(":") ? `[${ip}]:${port}` : `${ip}:${port}`;
}
