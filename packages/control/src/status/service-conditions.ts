import { type AmbientModel, podsOfService } from "../ambient/ambient-model.ts";
import type { ServiceRecord } from "../ambient/service-record.ts";
import { type Binding, boundWaypoint } from "../ambient/waypoint/binding.ts";
import type { KubernetesObject } from "../collection/kubernetes-object.ts";
import type { WaypointResources } from "../gateway/waypoint-resources.ts";
import { type ConditionInit, type StatusUpdate, condition, listNames } from "./status-update.ts";

/** By service key: sentences about ports that services contradict each other about. */
export type ProtocolConflicts = ReadonlyMap<string, readonly string[]>;

/** Of one namespace: `istio.io/WaypointBound` as istiod writes it, and `hairpin.mesh/ProtocolConflict`. */
export function serviceConditions(
  model: AmbientModel,
  services: readonly ServiceRecord[],
  conflicts: ProtocolConflicts,
): StatusUpdate[] {
  const byObject = Map.groupBy<KubernetesObject, ServiceRecord>(services, (service) => service.source.object);
  return [...byObject].map(([object, [first, ...others]]) => {
    const conditions: ConditionInit[] = [];
    // Every host of a ServiceEntry has the labels of the one object, so their bindings are the same.
    const binding = first === undefined ? undefined : model.serviceBindings.get(first.key);
    const bound = first && binding && waypointBound(first, binding, model);
    if (bound !== undefined) conditions.push(bound);
    const conflict = [first, ...others].flatMap((service) => (service && conflicts.get(service.key)) ?? []);
    if (conflict.length > 0)
      conditions.push(condition("hairpin.mesh/ProtocolConflict", true, "ServicesDisagree", listNames(conflict)));
    return { object, conditions };
  });
}

function waypointBound(service: ServiceRecord, binding: Binding, model: AmbientModel): ConditionInit | undefined {
  const type = "istio.io/WaypointBound";
  const { resolution } = binding;
  switch (resolution.kind) {
    case "none":
      return undefined;
    case "bound": {
      const message = `Successfully attached to waypoint ${resolution.waypoint.key}${uncoveredPods(service, binding, model)}`;
      return condition(type, true, "WaypointAccepted", message);
    }
    case "unsupported":
      // Of upstream: a service that merely inherits the label gets the condition too, unlike a workload.
      return condition(type, false, "UnsupportedTrafficType", resolution.message);
    case "refused": {
      const effect = model.binder.isPermissive(service.namespace)
        ? "calls go without a waypoint (namespace is permissive)"
        : "calls are refused";
      return condition(type, false, resolution.reason, `${resolution.message}; ${effect}`);
    }
  }
  return resolution satisfies never;
}

/** A Service's waypoint guards the Service; pods that are not covered themselves can be called by their IP. */
function uncoveredPods(service: ServiceRecord, binding: Binding, model: AmbientModel): string {
  const waypoint = boundWaypoint(binding);
  const open = podsOfService(model, service).filter(
    ({ binding: { resolution } }) => resolution.kind !== "bound" && resolution.kind !== "refused",
  );
  if (open.length === 0 || waypoint === undefined) return "";
  const names = listNames(open.map(({ record }) => record.name));
  return `. Not covered when called by pod IP: ${names} (no waypoint of their own)`;
}

export function protocolConflicts(resources: Iterable<WaypointResources>): ProtocolConflicts {
  const conflicts = new Map<string, string[]>();
  for (const { disagreements } of resources)
    for (const { port, disagreeing, pod } of disagreements)
      for (const key of disagreeing) {
        const others = disagreeing.filter((other) => other !== key).join(", ");
        const text = `port ${port} of pod ${pod} is declared otherwise by ${others}: calls by pod IP are treated as TCP`;
        const held = conflicts.get(key);
        if (held === undefined) conflicts.set(key, [text]);
        else held.push(text);
      }
  return conflicts;
}
