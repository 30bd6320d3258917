import type { Socket as UdpSocket } from "node:dgram";
import type { Socket } from "node:net";
import type { IpAddress, SocketAddress } from "@hairpin/shared/model";
import type { TcpListener } from "@hairpin/wire";

export interface PodConnectOptions {
  readonly timeoutMs: number;
  /** Dial from this address, which need not be the pod's (IP_TRANSPARENT): the application sees its real caller. */
  readonly spoofedSource?: IpAddress | undefined;
}

export interface PodListenOptions {
  readonly onConnection: (socket: Socket) => void;
  /** Only this address. Default: every one. */
  readonly ip?: IpAddress;
  /** TCP keepalive on accepted sockets. Tunnels need none: their sessions PING. */
  readonly keepalive: boolean;
}

/** The sockets of one pod: everything is made inside its network namespace and carries our mark. */
export interface PodNetwork {
  /** Listens on a port. Raw paused sockets, owned by the callback. */
  listen(port: number, options: PodListenOptions): Promise<TcpListener>;
  /** A raw connected socket. Rejects with Node's code or `TCP_CONNECT_TIMEOUT`. */
  connect(destination: SocketAddress, options: PodConnectOptions): Promise<Socket>;
  /** A bound UDP socket, owned by the caller; port 0: any. */
  bindUdp(address: SocketAddress): Promise<UdpSocket>;
  /** Whether the pod's loopback has IPv6. */
  hasIpv6(): boolean;
  /** Where a redirected connection wanted to go (SO_ORIGINAL_DST); the socket's own address when it was not redirected. */
  originalDestination(socket: Socket): SocketAddress;
  /** Whether dials may use another source address than the pod's. */
  readonly canSpoofSource: boolean;
  /** Gives the netns back. Sockets live on. */
  close(): void;
}
