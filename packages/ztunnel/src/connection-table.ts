import type { ConnectionFacts } from "@hairpin/shared/authz";
import type { MeshChange, MeshLookup } from "@hairpin/shared/discovery";
import type { SocketAddress, Workload } from "@hairpin/shared/model";
import { formatSocketAddress } from "@hairpin/shared/model";
import type { Clock, Timer } from "@hairpin/shared/process";
import { reasonToClose } from "./inbound/plan-connection.ts";
import { ZtunnelError } from "./response-flag.ts";

interface TrackedConnection {
  /** Kubernetes' uid of the pod that the connection belongs to. */
  readonly podUid: string;
  readonly source: SocketAddress;
  /** Where the socket that we dialled goes. */
  readonly actualDestination: SocketAddress;
  readonly protocol: "HBONE" | "TCP";
  /** Ends both sides now; its access log will give this error. */
  close(error: Error): void;
}

/** An inbound connection that was let through, with all that is needed to decide it again. */
export interface TrackedInbound extends TrackedConnection {
  /** The service host name that the caller addressed, if it said. */
  readonly originalDestination: string | undefined;
  /** As it was when the connection opened; its current entry decides. */
  readonly local: Workload;
  readonly facts: ConnectionFacts;
  readonly hairpinned: boolean;
}

export interface TrackedOutbound extends TrackedConnection {
  readonly originalDestination: SocketAddress;
}

/** One connection as `/config_dump` shows it. */
export interface ConnectionDump {
  readonly src: string;
  readonly originalDst: string | null;
  readonly actualDst: string;
  readonly protocol: string;
}

/** The open connections of one pod. */
export interface PodConnections {
  readonly inbound: readonly ConnectionDump[];
  readonly outbound: readonly ConnectionDump[];
}

/** By Kubernetes' uid of the pod. */
export type NodeConnections = ReadonlyMap<string, PodConnections>;

/** What several threads serve, as one: equal inbound rows are one. */
export function mergeConnections(parts: readonly NodeConnections[]): NodeConnections {
  const merged = new Map<string, PodConnections>();
  for (const uid of new Set(parts.flatMap((part) => [...part.keys()]))) {
    const rows = parts.flatMap((part) => part.get(uid) ?? []);
    const inbound = new Map(rows.flatMap((row) => row.inbound).map((row) => [JSON.stringify(row), row]));
    merged.set(uid, { inbound: [...inbound.values()], outbound: rows.flatMap((row) => row.outbound) });
  }
  return merged;
}

/**
 * The open connections of this node's pods. Inbound ones are decided again whenever a policy, a workload's list of
 * policies or its enforcement changes: those that would be refused now are closed in the same turn. Only where a listed
 * policy has not come yet are they given as long as a new connection would wait for it (istiod pushes workloads first).
 */
export class ConnectionTable {
  readonly #mesh: MeshLookup;
  readonly #clock: Clock;
  readonly #policyWaitMs: number;
  readonly #inbound = new Set<TrackedInbound>();
  readonly #outbound = new Set<TrackedOutbound>();
  #recheck: Timer | undefined;

  constructor(components: { readonly mesh: MeshLookup; readonly clock: Clock }, policyWaitMs: number) {
    this.#mesh = components.mesh;
    this.#clock = components.clock;
    this.#policyWaitMs = policyWaitMs;
  }

  get size(): number {
    return this.#inbound.size + this.#outbound.size;
  }

  /** Returns what takes the connection out again; call it once the connection is closed. */
  trackInbound(connection: TrackedInbound): () => void {
    this.#inbound.add(connection);
    return () => this.#inbound.delete(connection);
  }

  trackOutbound(connection: TrackedOutbound): () => void {
    this.#outbound.add(connection);
    return () => this.#outbound.delete(connection);
  }

  /** Starts to follow the mesh's changes. Returns what stops it. */
  watch(): () => void {
    const unwatch = this.#mesh.onChange((change) => this.closeRefused(change));
    return () => {
      unwatch();
      this.#recheck?.cancel();
    };
  }

  /**
   * Closes the inbound connections that the change makes refused. Cost: one policy decision for each connection when a
   * policy changed, else for each connection of the workloads whose rules changed.
   */
  closeRefused(change: MeshChange): void {
    if (change.policies.size === 0 && change.inboundRules.size === 0) return;
    const isTouched = ({ local }: TrackedInbound): boolean =>
      change.policies.size > 0 || change.inboundRules.has(local.uid);
    this.#decideAgain([...this.#inbound].filter(isTouched), "may wait");
  }

  /** Closes the connections of one pod, or all. */
  closeAll(error: Error, podUid?: string): void {
    for (const connection of [...this.#inbound, ...this.#outbound]) {
      if (podUid === undefined || connection.podUid === podUid) connection.close(error);
    }
  }

  /** As `/config_dump` shows them. Inbound tunnels of one caller to one destination are one row, as in ztunnel. */
  dump(): NodeConnections {
    const pods = new Map<string, { readonly inbound: ConnectionDump[]; readonly outbound: ConnectionDump[] }>();
    const rowsOf = ({ podUid }: TrackedConnection) => {
      const rows = pods.get(podUid) ?? { inbound: [], outbound: [] };
      pods.set(podUid, rows);
      return rows;
    };
    for (const connection of this.#inbound)
      rowsOf(connection).inbound.push(dumpRow(connection, connection.originalDestination ?? null));
    for (const connection of this.#outbound)
      rowsOf(connection).outbound.push(dumpRow(connection, formatSocketAddress(connection.originalDestination)));
    return mergeConnections([pods]);
  }

  #decideAgain(connections: readonly TrackedInbound[], missingPolicies: "may wait" | "refuse"): void {
    for (const connection of connections) {
      // A workload that is gone from the mesh is decided by what was known of it last.
      const local = this.#mesh.findWorkloadByUid(connection.local.uid) ?? connection.local;
      const decision = this.#mesh.authorize(local, connection.facts);
      if (decision.policyMissing && missingPolicies === "may wait" && this.#mayStillCome(local)) {
        this.#recheckLater();
        continue;
      }
      const { hairpinned, facts } = connection;
      const reason = reasonToClose({ peerIdentity: facts.sourceIdentity, hairpinned }, local, decision);
      if (reason === undefined) continue;
      const message = `connection closed due to policy change: ${reason}`;
      connection.close(new ZtunnelError(message, { code: "CONNECTION_POLICY_CHANGED", origin: "internal" }));
    }
  }

  #mayStillCome(local: Workload): boolean {
    const { missing, unreadable } = this.#mesh.policiesFor(local);
    return missing.some((key) => !unreadable.has(key));
  }

  #recheckLater(): void {
    const recheck = (): void => {
      this.#recheck = undefined;
      this.#decideAgain([...this.#inbound], "refuse");
    };
    this.#recheck ??= this.#clock.setTimer(this.#policyWaitMs, recheck, { background: true });
  }
}

function dumpRow(connection: TrackedConnection, originalDst: string | null): ConnectionDump {
  return {
    src: formatSocketAddress(connection.source),
    originalDst,
    actualDst: formatSocketAddress(connection.actualDestination),
    protocol: connection.protocol,
  };
}
