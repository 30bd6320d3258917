import type { ClientTypeStatus, DeltaXdsServer } from "@hairpin/shared/xds";
import { gatewayNameLabel, type WaypointAcknowledgements } from "../ambient/waypoint/waypoint-record.ts";
import { label } from "../collection/label-match.ts";
import type { Snapshot } from "../collection/snapshot.ts";
import type { MeshModel } from "../mesh-model.ts";
import type { ClientRole } from "./client-role.ts";
import { typeUrls, waypointTypeUrls } from "./type-urls.ts";

/**
 * Which waypoints have a ready replica that acknowledged its configuration, to this replica of control or to another: a waypoint
 * is ready only once it has its whole configuration, so a ready one that is not connected here has it from elsewhere. A Gateway that took effect once is remembered
 * (here until restart, in its status for longer), so that it stays bound while its replicas come and go.
 */
export class WaypointReadiness {
  readonly #server: DeltaXdsServer<ClientRole>;
  /** Gateway uids. */
  readonly #effective = new Set<string>();
  /** By waypoint key: uids of pods that acknowledged. */
  #acknowledged: ReadonlyMap<string, ReadonlySet<string>> = new Map();
  /** Uids of the pods that are connected here. */
  #connected: ReadonlySet<string> = new Set();

  constructor(server: DeltaXdsServer<ClientRole>) {
    this.#server = server;
  }

  /** Calls back when a replica acknowledged its whole configuration for the first time, comes or goes. Returns what ends it. */
  watch(onChange: () => void): () => void {
    const check = (): void => {
      const next = this.#collect();
      const connected = new Set(
        this.#server
          .clients()
          .flatMap(({ principal }) => (principal.waypointKey === undefined ? [] : [principal.podUid])),
      );
      const changed =
        fingerprint(next) !== fingerprint(this.#acknowledged) ||
        connected.symmetricDifference(this.#connected).size > 0;
      this.#acknowledged = next;
      this.#connected = connected;
      if (changed) onChange();
    };
    const endAcks = this.#server.onAck(({ typeUrl }) => {
      if (waypointTypeUrls.includes(typeUrl)) check();
    });
    const endClients = this.#server.onClientsChanged(check);
    return () => {
      endAcks();
      endClients();
    };
  }

  /** The view for one recomputation. */
  over(snapshot: Snapshot): WaypointAcknowledgements {
    return {
      hasAcknowledged: (key, uid) => {
        if (this.#effective.has(uid)) return true;
        const pods = this.#acknowledged.get(key);
        const [namespace = "", name] = key.split("/");
        return snapshot.listIn("Pod", namespace).some((pod) => {
          const podUid = pod.metadata.uid ?? "";
          if (label(pod, gatewayNameLabel) !== name || !isReady(pod.status?.conditions ?? [])) return false;
          return pods?.has(podUid) === true || !this.#connected.has(podUid);
        });
      },
    };
  }

  remember(model: MeshModel): void {
    for (const { effective, gateway } of model.ambient.waypoints.values())
      if (effective && gateway.metadata.uid !== undefined) this.#effective.add(gateway.metadata.uid);
    const present = new Set([...model.ambient.waypoints.values()].map(({ gateway }) => gateway.metadata.uid));
    for (const uid of this.#effective) if (!present.has(uid)) this.#effective.delete(uid);
  }

  #collect(): ReadonlyMap<string, ReadonlySet<string>> {
    const acknowledged = new Map<string, Set<string>>();
    for (const { principal, types } of this.#server.clients()) {
      if (principal.waypointKey === undefined) continue;
      const own = types.filter(({ typeUrl }) => waypointTypeUrls.includes(typeUrl));
      // Once acknowledged stays acknowledged while connected: a later change in flight does not unbind.
      const before = this.#acknowledged.get(principal.waypointKey)?.has(principal.podUid) === true;
      if (!before && !hasAcknowledgedAll(own, principal.waypointKey)) continue;
      const pods = acknowledged.get(principal.waypointKey) ?? new Set();
      acknowledged.set(principal.waypointKey, pods.add(principal.podUid));
    }
    return acknowledged;
  }
}

/** Everything was answered, and the waypoint's own resource was not rejected. */
function hasAcknowledgedAll(types: readonly ClientTypeStatus[], waypointKey: string): boolean {
  const main = types.find(({ typeUrl }) => typeUrl === typeUrls.waypoint);
  return (
    types.length === waypointTypeUrls.length &&
    types.every(({ upToDate }) => upToDate) &&
    main?.ackedVersion(waypointKey) !== undefined
  );
}

function fingerprint(acknowledged: ReadonlyMap<string, ReadonlySet<string>>): string {
  return [...acknowledged]
    .map(([key, pods]) => `${key}=${[...pods].sort().join()}`)
    .sort()
    .join(";");
}

function isReady(conditions: readonly { readonly type: string; readonly status: string }[]): boolean {
  return conditions.some(({ type, status }) => type === "Ready" && status === "True");
}
