import { waypointName } from "../ambient/waypoint/waypoint-record.ts";
import type { Gateway } from "../collection/kubernetes-object.ts";

/** Only there, and False, when the objects could not be made as the Gateway and its overlays ask. */
export const appliedCondition = "gateway.hairpin.mesh/Applied";

export interface WaypointState {
  /** Replicas, and how many of them are ready. */
  readonly replicas: number;
  readonly ready: number;
  /** Of its Service; none when somebody else has the name. */
  readonly clusterIps: readonly string[];
  /** Objects of its names that are not ours (`Service way`): whoever has the Service's name would get its calls. */
  readonly taken: readonly string[];
  /** Why the newest wishes are not in effect; what runs, goes on. */
  readonly problem: string | undefined;
}

interface WaypointCondition {
  readonly type: string;
  readonly status: "True" | "False";
  readonly reason: string;
  readonly message: string;
}

export interface WaypointStatus {
  readonly conditions: readonly WaypointCondition[];
  /** Undefined: nothing to say yet. Once given, addresses stay while replicas come and go. */
  readonly addresses: readonly { readonly type: "IPAddress" | "Hostname"; readonly value: string }[] | undefined;
}

/** `Programmed` and the addresses of a deployed Gateway. Pure. */
export function describeWaypoint(
  gateway: Pick<Gateway, "metadata"> & { readonly status?: { readonly addresses?: readonly unknown[] } },
  state: WaypointState,
  clusterDomain: string,
): WaypointStatus {
  const { ready, clusterIps, taken } = state;
  const isProgrammed = taken.length === 0 && ready > 0;
  const hasAddresses = (isProgrammed && clusterIps.length > 0) || (gateway.status?.addresses ?? []).length > 0;
  const hostname = `${waypointName(gateway)}.${gateway.metadata.namespace ?? "default"}.svc.${clusterDomain}`;
  const addresses = [
    ...clusterIps.map((value) => ({ type: "IPAddress" as const, value })),
    { type: "Hostname" as const, value: hostname },
  ];
  return {
    conditions: [programmed(state, hasAddresses), ...notApplied(state)],
    addresses: hasAddresses && clusterIps.length > 0 ? addresses : undefined,
  };
}

function programmed({ ready, replicas, taken, problem }: WaypointState, hasAddresses: boolean): WaypointCondition {
  const type = "Programmed";
  if (taken.length > 0) {
    const message = `${taken.join(", ")} exists and is not managed by a Gateway; rename one of them`;
    return { type, status: "False", reason: "Invalid", message };
  }
  if (ready > 0)
    return { type, status: "True", reason: "Programmed", message: `${ready} of ${replicas} replicas are ready` };
  const reason = hasAddresses ? "NoReadyReplica" : "AddressNotAssigned";
  const message = "no replica of the waypoint is ready";
  return { type, status: "False", reason, message: problem === undefined ? message : `${message}: ${problem}` };
}

function notApplied({ problem }: WaypointState): readonly WaypointCondition[] {
  if (problem === undefined) return [];
  return [{ type: appliedCondition, status: "False", reason: "Invalid", message: problem }];
}
