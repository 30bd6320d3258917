import type { Socket } from "node:net";
import type { ResetBudgets, SessionMetrics, TunnelDialer, TunnelListenerOptions } from "@hairpin/hbone";
import { peerAddress, socketFd } from "@hairpin/native";
import type { MeshLookup, PodInfo } from "@hairpin/shared/discovery";
import type { Identity, IpAddress, SocketAddress } from "@hairpin/shared/model";
import { parseIp } from "@hairpin/shared/model";
import type { Clock, Drain } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { TlsContext, TlsEngine } from "@hairpin/wire";
import type { ConnectionLimit } from "./connection-limit.ts";
import type { ConnectionTable } from "./connection-table.ts";
import type { PodNetwork } from "./pod-network.ts";
import type { ConnectionTelemetry } from "./telemetry/connection-telemetry.ts";

/** What the connections of every pod share. */
export interface DataPath {
  readonly mesh: MeshLookup;
  readonly table: ConnectionTable;
  readonly telemetry: ConnectionTelemetry;
  readonly tls: TlsEngine;
  readonly sessionMetrics: SessionMetrics;
  readonly resetBudgets: ResetBudgets;
  readonly connections: ConnectionLimit;
  /** The TLS context of a local workload, or of ztunnel itself. Rejects with `CERTIFICATE_UNAVAILABLE`. */
  readonly contextFor: (identity: Identity) => Promise<TlsContext>;
  /** Finds the address of an endpoint that is known by DNS name only. */
  readonly resolveHostname: (hostname: string) => Promise<IpAddress>;
  readonly clock: Clock;
  readonly drain: Drain;
  readonly logger: Logger;
  readonly options: DataPathOptions;
}

export interface DataPathOptions {
  readonly network: string;
  /** ztunnel's own identity: what a hairpin leg proves. */
  readonly ownIdentity: Identity;
  readonly illegalPorts: ReadonlySet<number>;
  /** How long a connection to a pod waits for that pod to become known in the mesh. */
  readonly workloadWaitMs: number;
  /** The same for a connection of the pod's own. */
  readonly sourceWaitMs: number;
  /** How long a connection waits for policies that are listed and not held. */
  readonly policyWaitMs: number;
  /** TCP connect, to applications and to other proxies. */
  readonly connectTimeoutMs: number;
  /** Of accepted sessions. */
  readonly listener: TunnelListenerOptions;
  readonly responseBaggage: boolean;
  /** Tell of dry-run policies at info rather than debug. */
  readonly logPolicyAtInfo: boolean;
  /** Connections of one pod and direction at once; more are closed at once and counted. */
  readonly maxConnectionsPerListener: number;
}

/** One pod that we serve. */
export interface PodContext {
  /** Kubernetes' uid. */
  readonly uid: string;
  readonly info: PodInfo;
  readonly network: PodNetwork;
  /** Tunnels of this pod, dialled inside its netns. */
  readonly dialer: TunnelDialer;
  /** Aborted when the pod is removed: nothing new is begun then. */
  readonly signal: AbortSignal;
}

/** The peer's address of an accepted socket, in canonical text. Undefined: it is gone already. */
export function remoteAddress(socket: Socket): SocketAddress | undefined {
  try {
    const { ip, port } = peerAddress(socketFd(socket));
    return toAddress(ip, port);
  } catch {
    return undefined;
  }
}

export function localAddress(socket: Socket): SocketAddress | undefined {
  return toAddress(socket.localAddress, socket.localPort);
}

/** A zone id (`fe80::1%eth0`) is cut off: the mesh knows none. */
function toAddress(ip: string | undefined, port: number | undefined): SocketAddress | undefined {
  const [plain = ""] = ip?.split("%") ?? [];
  return plain === "" || port === undefined ? undefined : { ip: parseIp(plain), port };
}
