import type { AmbientModel } from "../ambient/ambient-model.ts";
import type { CoveredPod } from "../ambient/covered-pod.ts";
import { hbonePort } from "../ambient/mesh-config.ts";
import { useWaypointLabel } from "../ambient/waypoint/binding.ts";
import type { Unenforced } from "../ambient/waypoint/enforcement.ts";
import {
  type WaypointRecord,
  boundCondition,
  isOwnClass,
  waypointClassName,
} from "../ambient/waypoint/waypoint-record.ts";
import { label } from "../collection/label-match.ts";
import type { Snapshot } from "../collection/snapshot.ts";
import { type ConditionInit, type StatusUpdate, condition, listNames } from "./status-update.ts";

const enforcedCondition = "hairpin.mesh/Enforced";

/** Conditions of waypoint Gateways and of their class. Programmed and the addresses are the deployer's. */
export function gatewayConditions(snapshot: Snapshot, model: AmbientModel): StatusUpdate[] {
  const unenforced = unenforcedPods(model);
  const gateways = [...model.waypoints.values()]
    .filter((waypoint) => waypoint.owned)
    .map((waypoint): StatusUpdate => {
      const conditions = [accepted(waypoint)];
      const winner = model.binder.findWinnerOver(waypoint);
      if (winner !== undefined) conditions.push(lostTo(winner, waypoint));
      else if (waypoint.effective && !waypoint.byLabelOnly) conditions.push(bound(waypoint, snapshot));
      const enforced = enforcement(unenforced.get(waypoint.key) ?? []);
      if (enforced !== undefined) conditions.push(enforced);
      return { object: waypoint.gateway, conditions };
    });
  const gatewayClass = snapshot.find("GatewayClass", "", waypointClassName);
  if (gatewayClass === undefined || !isOwnClass(gatewayClass)) return gateways;
  const handled = condition("Accepted", true, "Accepted", "Handled by Hairpin");
  return [...gateways, { object: gatewayClass, conditions: [handled] }];
}

function accepted({ gateway }: WaypointRecord): ConditionInit {
  const listeners = gateway.spec?.listeners ?? [];
  const usable = listeners.some(({ port, protocol }) => port === hbonePort && protocol.toUpperCase() === "HBONE");
  if (usable) return condition("Accepted", true, "Accepted", "the waypoint is valid");
  const message = `a waypoint needs a listener with protocol HBONE and port ${hbonePort}`;
  return condition("Accepted", false, "ListenersNotValid", message);
}

function lostTo(winner: WaypointRecord, { forServiceAccount, namespace }: WaypointRecord): ConditionInit {
  const what = forServiceAccount === undefined ? `namespace ${namespace}` : `service account ${forServiceAccount}`;
  const message = `Gateway ${winner.key} is older and covers ${what}; this one covers only what names it by label`;
  return condition(boundCondition, false, "OlderGatewayWins", message);
}

/** Also control's own memory that the Gateway took effect: it stays bound while its replicas come and go. */
function bound(waypoint: WaypointRecord, snapshot: Snapshot): ConditionInit {
  const namespace = snapshot.find("Namespace", "", waypoint.namespace);
  const labelled = namespace !== undefined && label(namespace, useWaypointLabel) !== undefined;
  const message =
    !labelled || waypoint.forServiceAccount !== undefined
      ? `covers ${scopeOf(waypoint)}`
      : `in effect, but the label ${useWaypointLabel} of namespace ${waypoint.namespace} decides first`;
  return condition(boundCondition, true, "Bound", message);
}

function scopeOf({ forServiceAccount, namespace }: WaypointRecord): string {
  return forServiceAccount === undefined
    ? `the pods and services of namespace ${namespace}`
    : `the pods of service account ${namespace}/${forServiceAccount}`;
}

const reasons: Readonly<Record<Unenforced, string>> = {
  NotCaptured: "are not captured: calls from the mesh pass the waypoint, others can go round it",
  Permissive: "are in a permissive namespace: calls can go round the waypoint",
  ForeignWaypoint: "have a waypoint that Hairpin does not run: calls can go round it",
};

interface UnenforcedPod {
  readonly pod: CoveredPod;
  readonly because: Unenforced;
}

function unenforcedPods(model: AmbientModel): ReadonlyMap<string, UnenforcedPod[]> {
  const byWaypoint = new Map<string, UnenforcedPod[]>();
  for (const { pods } of model.namespaces.values())
    for (const pod of pods) {
      const { enforcement: plan, binding } = pod;
      if (plan.kind !== "none" || plan.because === undefined || binding.resolution.kind !== "bound") continue;
      const { key } = binding.resolution.waypoint;
      const held = byWaypoint.get(key);
      if (held === undefined) byWaypoint.set(key, [{ pod, because: plan.because }]);
      else held.push({ pod, because: plan.because });
    }
  return byWaypoint;
}

/** Undefined when every pod that it covers is enforced. */
function enforcement(pods: readonly UnenforcedPod[]): ConditionInit | undefined {
  const [first] = pods;
  if (first === undefined) return undefined;
  const texts = [...Map.groupBy(pods, ({ because }) => because)].map(([because, group]) => {
    const names = group.map(({ pod }) => `${pod.record.namespace}/${pod.record.name}`);
    return `${listNames(names)} ${reasons[because]}`;
  });
  return condition(enforcedCondition, false, first.because, texts.join("; "));
}
