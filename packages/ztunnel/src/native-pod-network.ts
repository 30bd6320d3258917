import type { Socket as UdpSocket } from "node:dgram";
import { isIPv6, type Socket } from "node:net";
import {
  adoptUdpSocket,
  closeSocket,
  createDialSocket,
  createListener,
  createUdpSocket,
  hasCode,
  netnsHasIpv6,
  type NetnsHandle,
  originalDestination,
  setKeepalive,
  setUserTimeout,
} from "@hairpin/native";
import type { IpAddress, SocketAddress } from "@hairpin/shared/model";
import { connectTcp, listenTcp, type TcpListener } from "@hairpin/wire";
import type { KeepaliveConfig, ZtunnelConfig } from "./config.ts";
import { localAddress } from "./pod-context.ts";
import type { PodConnectOptions, PodListenOptions, PodNetwork } from "./pod-network.ts";

export interface NativePodNetworkOptions {
  /** SO_MARK of every socket: the pod's rules let marked traffic pass. Undefined: none (ztunnel's own netns). */
  readonly mark: number | undefined;
  readonly reusePort: boolean;
  readonly ipv6: boolean;
  readonly originalSource: ZtunnelConfig["originalSource"];
  readonly keepalive: KeepaliveConfig;
}

/** RFC 5737: an address that is nobody's, to try whether foreign source addresses are permitted. */
const probeAddress = "192.0.2.1";

/**
 * The sockets of a network namespace. Owns the handle. Throws `EPERM` when source addresses must be kept
 * (ENABLE_ORIG_SRC=true) and the kernel does not let us.
 */
export function createNativePodNetwork(netns: NetnsHandle, options: NativePodNetworkOptions): PodNetwork {
  const canSpoofSource =
    options.originalSource !== "never" && closingOnError(netns, () => probeSpoofing(netns, options));
  const place = { netns, ...(options.mark === undefined ? {} : { mark: options.mark }) };
  const transparent = ({ required: "required", "best-effort": "best-effort", never: "off" } as const)[
    options.originalSource
  ];
  const createPodListener = (port: number, ip: IpAddress | undefined): number => {
    const common = { ...place, port, reusePort: options.reusePort, transparent };
    if (ip !== undefined) return createListener({ ...common, ip });
    if (!options.ipv6) return createListener({ ...common, ip: "0.0.0.0" });
    try {
      return createListener({ ...common, ip: "::" });
    } catch (error) {
      // The pod has no IPv6 at all.
      if (!hasCode(error, "EAFNOSUPPORT", "EADDRNOTAVAIL")) throw error;
      return createListener({ ...common, ip: "0.0.0.0" });
    }
  };
  let closed = false;
  // The number of a closed descriptor may be another pod's by now: entering that would mix two pods' traffic.
  const requireOpen = (): void => {
    if (closed) throw Object.assign(new Error("The pod's network namespace was given back"), { code: "EBADF" });
  };
  return {
    canSpoofSource,
    async listen(port: number, { ip, onConnection, keepalive }: PodListenOptions): Promise<TcpListener> {
      requireOpen();
      const fd = createPodListener(port, ip);
      // Accepted sockets inherit it (Linux copies the listener's options): nothing to set for each.
      if (keepalive) keepAlive(fd, options.keepalive);
      return await listenTcp({ fd, onConnection });
    },
    async connect(destination: SocketAddress, { timeoutMs, spoofedSource }: PodConnectOptions): Promise<Socket> {
      requireOpen();
      const family = isIPv6(destination.ip) ? 6 : 4;
      const source = spoofedSource === undefined ? {} : { localIp: spoofedSource, transparent: true };
      const fd = createDialSocket({ ...place, ...source, family });
      keepAlive(fd, options.keepalive);
      return await connectTcp({ fd, ip: destination.ip, port: destination.port, timeoutMs });
    },
    async bindUdp(address: SocketAddress): Promise<UdpSocket> {
      requireOpen();
      return await adoptUdpSocket(createUdpSocket({ ...place, ...address, reusePort: options.reusePort }));
    },
    hasIpv6() {
      requireOpen();
      return netnsHasIpv6(netns);
    },
    originalDestination(socket: Socket): SocketAddress {
      const original = tryOriginalDestination(socket) ?? localAddress(socket);
      if (!original) throw new Error("The socket was closed before its destination was known");
      return original;
    },
    close() {
      closed = true;
      netns.close();
    },
  };
}

function closingOnError<T>(netns: NetnsHandle, action: () => T): T {
  try {
    return action();
  } catch (error) {
    netns.close();
    throw error;
  }
}

function probeSpoofing(netns: NetnsHandle, { originalSource }: NativePodNetworkOptions): boolean {
  try {
    closeSocket(createDialSocket({ netns, family: 4, localIp: probeAddress, transparent: true }));
    return true;
  } catch (error) {
    if (originalSource === "best-effort" && hasCode(error, "EPERM", "EADDRNOTAVAIL", "EAFNOSUPPORT")) return false;
    throw error;
  }
}

/** The kernel's own limit. */
const maxKeepaliveSeconds = 32_767;

/** Of a socket that is not connected yet, or that listens. */
function keepAlive(fd: number, { enabled, timeMs, intervalMs, retries, userTimeoutEnabled }: KeepaliveConfig): void {
  if (!enabled) return;
  const seconds = (ms: number): number => Math.min(maxKeepaliveSeconds, Math.max(1, Math.round(ms / 1000)));
  setKeepalive(fd, { timeSeconds: seconds(timeMs), intervalSeconds: seconds(intervalMs), retries });
  if (userTimeoutEnabled) setUserTimeout(fd, timeMs + retries * intervalMs);
}

function tryOriginalDestination(socket: Socket): SocketAddress | undefined {
  try {
    return originalDestination(socket);
  } catch {
    return undefined;
  }
}
