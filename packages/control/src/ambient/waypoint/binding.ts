// Which waypoint covers a workload or a service: rules 1 to 5 and (a) to (c) of the design. Pure; the first match wins.

import type { Namespace } from "../../collection/kubernetes-object.ts";
import { annotation } from "../../collection/label-match.ts";
import type { Snapshot } from "../../collection/snapshot.ts";
import { byAge } from "../age.ts";
import { allowsNamespace } from "./attachment.ts";
import type { WaypointRecord } from "./waypoint-record.ts";

export const useWaypointLabel = "istio.io/use-waypoint";
const useWaypointNamespaceLabel = "istio.io/use-waypoint-namespace";
const enforcementAnnotation = "hairpin.mesh/waypoint-enforcement";

type Labels = Readonly<Record<string, string>> | undefined;

export type Resolution =
  /** Nothing asks for a waypoint, or `none` does. */
  | { readonly kind: "none" }
  | { readonly kind: "bound"; readonly waypoint: WaypointRecord }
  /** A label names a waypoint that is missing, not ready or not allowed. Calls are refused unless permissive. */
  | {
      readonly kind: "refused";
      readonly waypointKey: string;
      readonly waypoint: WaypointRecord | undefined;
      readonly reason: "WaypointIsNotReady" | "AttachmentDenied";
      readonly message: string;
    }
  /** The named waypoint does not take this type of traffic: none, as upstream. `inherited` ones are not worth a condition. */
  | {
      readonly kind: "unsupported";
      readonly waypoint: WaypointRecord;
      readonly inherited: boolean;
      readonly message: string;
    };

export interface Binding {
  /** OBJECT: rules 2 and 3, or (a). NAMESPACE: rules 4 and 5, or (c). */
  readonly scope: "OBJECT" | "NAMESPACE" | "NONE";
  readonly resolution: Resolution;
  /** Waypoints that will cover it once they take effect: they get its configuration already. */
  readonly prospective: readonly WaypointRecord[];
}

interface BindableService {
  readonly namespace: string;
  readonly labels: Labels;
}

export interface BindableWorkload extends BindableService {
  readonly serviceAccount: string;
}

export const unbound: Binding = { scope: "NONE", resolution: { kind: "none" }, prospective: [] };

/**
 * Resolves bindings over the Namespaces of one snapshot. Equal questions get the same object, also from the binder that follows
 * this one when the answer is still the same: what was built from it need not be built again.
 */
export class WaypointBinder {
  readonly #snapshot: Snapshot;
  readonly #waypoints: ReadonlyMap<string, WaypointRecord>;
  /** By `namespace/service account`, the winner first. */
  readonly #byAccount: ReadonlyMap<string, readonly WaypointRecord[]>;
  /** By namespace, the winner first. */
  readonly #byNamespace: ReadonlyMap<string, readonly WaypointRecord[]>;
  /** By question. */
  readonly #answers = new Map<string, Binding>();
  readonly #answersBefore: ReadonlyMap<string, Binding>;

  constructor(snapshot: Snapshot, waypoints: ReadonlyMap<string, WaypointRecord>, before?: WaypointBinder) {
    this.#snapshot = snapshot;
    this.#answersBefore = before === undefined ? new Map() : before.#answers;
    this.#waypoints = waypoints;
    const candidates = [...waypoints.values()]
      .filter((waypoint) => waypoint.owned && !waypoint.byLabelOnly)
      .filter((waypoint) => allowsNamespace(waypoint, waypoint.namespace, this.#namespace(waypoint.namespace)))
      .sort((a, b) => byAge(a.gateway, b.gateway));
    this.#byAccount = Map.groupBy(
      candidates.filter((waypoint) => waypoint.forServiceAccount !== undefined),
      (waypoint) => `${waypoint.namespace}/${waypoint.forServiceAccount ?? ""}`,
    );
    this.#byNamespace = Map.groupBy(
      candidates.filter((waypoint) => waypoint.forServiceAccount === undefined),
      (waypoint) => waypoint.namespace,
    );
  }

  /** Rules 1 to 5. */
  bindWorkload(workload: BindableWorkload): Binding {
    const { namespace, serviceAccount, labels } = workload;
    return this.#answer(`workload ${namespace} ${serviceAccount} ${questionOf(labels)}`, () =>
      this.#bindWorkload(workload),
    );
  }

  /** (a) and (c); (b) is chosen per endpoint by the caller's ztunnel. */
  bindService(service: BindableService): Binding {
    return this.#answer(`service ${service.namespace} ${questionOf(service.labels)}`, () => this.#bindService(service));
  }

  #answer(question: string, bind: () => Binding): Binding {
    const known = this.#answers.get(question);
    if (known !== undefined) return known;
    const before = this.#answersBefore.get(question);
    const now = bind();
    const answer = before !== undefined && isSameBinding(before, now) ? before : now;
    this.#answers.set(question, answer);
    return answer;
  }

  #bindWorkload(workload: BindableWorkload): Binding {
    const own = labelValue(workload.labels, useWaypointLabel);
    if (own === "none") return unbound;
    if (own !== undefined) {
      const resolution = this.#resolveLabel(own, workload.labels, workload.namespace, "workload", false);
      return { scope: "OBJECT", resolution, prospective: [] };
    }
    const forAccount = this.#byAccount.get(`${workload.namespace}/${workload.serviceAccount}`)?.[0];
    if (forAccount?.effective === true)
      return { scope: "OBJECT", resolution: { kind: "bound", waypoint: forAccount }, prospective: [] };
    const inherited = this.#bindByNamespace(workload.namespace, "workload");
    return forAccount === undefined ? inherited : { ...inherited, prospective: [forAccount, ...inherited.prospective] };
  }

  #bindService(service: BindableService): Binding {
    const own = labelValue(service.labels, useWaypointLabel);
    if (own === "none") return unbound;
    if (own === undefined) return this.#bindByNamespace(service.namespace, "service");
    const resolution = this.#resolveLabel(own, service.labels, service.namespace, "service", false);
    return { scope: "OBJECT", resolution, prospective: [] };
  }

  /** `hairpin.mesh/waypoint-enforcement: permissive` on the Namespace: upstream's behaviour. */
  isPermissive(namespace: string): boolean {
    const object = this.#namespace(namespace);
    return object !== undefined && annotation(object, enforcementAnnotation) === "permissive";
  }

  /** The older waypoint that keeps this one from covering anything by rule 3 or 5. */
  findWinnerOver(waypoint: WaypointRecord): WaypointRecord | undefined {
    const rivals =
      this.#byAccount.get(`${waypoint.namespace}/${waypoint.forServiceAccount ?? ""}`) ??
      this.#byNamespace.get(waypoint.namespace);
    const winner = rivals?.includes(waypoint) === true ? rivals[0] : undefined;
    return winner === waypoint ? undefined : winner;
  }

  /** Rules 4 and 5. */
  #bindByNamespace(namespaceName: string, traffic: "service" | "workload"): Binding {
    const labels = this.#namespace(namespaceName)?.metadata.labels;
    const named = labelValue(labels, useWaypointLabel);
    if (named === "none") return unbound;
    if (named !== undefined) {
      const resolution = this.#resolveLabel(named, labels, namespaceName, traffic, true);
      return { scope: "NAMESPACE", resolution, prospective: [] };
    }
    const candidate = this.#byNamespace.get(namespaceName)?.[0];
    if (candidate === undefined) return unbound;
    if (!candidate.effective) return { ...unbound, prospective: [candidate] };
    return { scope: "NAMESPACE", resolution: { kind: "bound", waypoint: candidate }, prospective: [] };
  }

  #resolveLabel(
    name: string,
    labels: Labels,
    namespaceName: string,
    traffic: "service" | "workload",
    inherited: boolean,
  ): Resolution {
    const waypointKey = `${labelValue(labels, useWaypointNamespaceLabel) ?? namespaceName}/${name}`;
    const waypoint = this.#waypoints.get(waypointKey);
    if (waypoint === undefined) {
      const message = `waypoint ${waypointKey} does not exist: create the Gateway or remove the label ${useWaypointLabel}`;
      return { kind: "refused", waypointKey, waypoint, reason: "WaypointIsNotReady", message };
    }
    if (waypoint.accepts !== "all" && waypoint.accepts !== traffic) {
      const message = `waypoint ${waypointKey} takes ${waypoint.accepts} traffic only, not ${traffic} traffic (label istio.io/waypoint-for)`;
      return { kind: "unsupported", waypoint, inherited, message };
    }
    if (!allowsNamespace(waypoint, namespaceName, this.#namespace(namespaceName))) {
      const message = `waypoint ${waypointKey} does not allow namespace ${namespaceName} (allowedRoutes of its HBONE listener)`;
      return { kind: "refused", waypointKey, waypoint, reason: "AttachmentDenied", message };
    }
    if (!waypoint.ready) {
      const message = `waypoint ${waypointKey} is not ready`;
      return { kind: "refused", waypointKey, waypoint, reason: "WaypointIsNotReady", message };
    }
    return { kind: "bound", waypoint };
  }

  #namespace(name: string): Namespace | undefined {
    return this.#snapshot.find("Namespace", "", name);
  }
}

/** What of the labels decides. Names have no spaces. */
function questionOf(labels: Labels): string {
  return `${labels?.[useWaypointLabel] ?? ""} ${labels?.[useWaypointNamespaceLabel] ?? ""}`;
}

function isSameBinding(a: Binding, b: Binding): boolean {
  return (
    a.scope === b.scope &&
    isSameResolution(a.resolution, b.resolution) &&
    a.prospective.length === b.prospective.length &&
    a.prospective.every((waypoint, index) => waypoint === b.prospective[index])
  );
}

/** Fields of a resolution are texts, flags and records that stay the same objects. */
function isSameResolution(a: Resolution, b: Resolution): boolean {
  const fields = new Map<string, unknown>(Object.entries(b));
  const own = Object.entries(a);
  return own.length === fields.size && own.every(([name, value]) => fields.get(name) === value);
}

/** An empty label says nothing. */
function labelValue(labels: Labels, key: string): string | undefined {
  const value = labels?.[key];
  return value === "" ? undefined : value;
}

/** The waypoint of a binding that takes effect. */
export function boundWaypoint(binding: Binding | undefined): WaypointRecord | undefined {
  return binding?.resolution.kind === "bound" ? binding.resolution.waypoint : undefined;
}

/** Waypoints that need to know what is bound to them: also those that are not ready yet. */
export function configuredWaypoints(binding: Binding): readonly WaypointRecord[] {
  const { resolution } = binding;
  const named = resolution.kind === "bound" || resolution.kind === "refused" ? resolution.waypoint : undefined;
  // A waypoint that does not allow the namespace is not told of it.
  const denied = resolution.kind === "refused" && resolution.reason === "AttachmentDenied";
  return named === undefined || denied ? binding.prospective : [named, ...binding.prospective];
}
