import type { AmbientModel } from "../ambient/ambient-model.ts";
import type { Condition, RouteParentStatus } from "../collection/kubernetes-object.ts";
import type { Memo } from "../collection/memo.ts";
import type { AttachedRoute, RouteAttachments, RouteParent } from "../gateway/route-attachment.ts";
import type { RouteFinding } from "../gateway/route-finding.ts";
import { describeUnmanaged, isManaged } from "./service-coverage.ts";
import { type ConditionInit, type StatusUpdate, condition, listNames } from "./status-update.ts";

/** As Istio signs the parents of mesh routes. */
export const routeControllerName = "istio.io/gateway-controller";

/**
 * `status.parents` of every route: other controllers' entries stay, ours are replaced. `now` stamps conditions that flip; one that
 * is remembered keeps its stamp.
 */
export function routeStatuses(
  attachments: RouteAttachments,
  model: AmbientModel,
  context: { readonly now: Date; readonly memo: Memo<AttachedRoute, StatusUpdate> },
): StatusUpdate[] {
  return attachments.routes.map((attached) => {
    const missing = attached.parents.map((parent) => missingWaypoint(parent, model));
    return context.memo.get(attached, missing, () => routeStatus(attached, missing, context.now));
  });
}

/** `missing`: why a waypoint is missing, for each parent. */
function routeStatus(attached: AttachedRoute, missing: readonly (string | undefined)[], now: Date): StatusUpdate {
  const { object } = attached.route;
  const held = object.status?.parents ?? [];
  const foreign = held.filter((parent) => parent.controllerName !== routeControllerName);
  const own = attached.parents.map((parent, index): RouteParentStatus => {
    const before = held.find(
      (candidate) =>
        candidate.controllerName === routeControllerName && sameReference(candidate.parentRef, parent.reference),
    );
    return {
      parentRef: parent.reference,
      controllerName: routeControllerName,
      conditions: parentConditions(attached, parent, missing[index]).map((init) =>
        stamp(init, before?.conditions ?? [], object.metadata.generation ?? 0, now),
      ),
    };
  });
  return { object, conditions: [], merge: { parents: [...foreign, ...own] } };
}

function parentConditions({ built }: AttachedRoute, parent: RouteParent, missing: string | undefined): ConditionInit[] {
  const { findings } = built;
  const accepted = acceptedCondition(built, parent);
  const partial = accepted.status === "True" ? partiallyInvalid(findings) : undefined;
  return [
    accepted,
    resolvedRefs(findings),
    ...(partial === undefined ? [] : [partial]),
    ...(parent.services.length === 0 ? [] : [resolvedWaypoints(missing)]),
  ];
}

function acceptedCondition({ findings, rules, written }: AttachedRoute["built"], parent: RouteParent): ConditionInit {
  if (parent.outcome === "no-matching-parent") return condition("Accepted", false, "NoMatchingParent", parent.message);
  if (parent.outcome === "conflicted") return condition("Accepted", false, "Conflicted", parent.message);
  const incompatible = findings.find((finding) => finding.kind === "incompatible-filters");
  if (incompatible !== undefined) return condition("Accepted", false, "IncompatibleFilters", incompatible.message);
  const broken = rules.filter((rule) => rule.filters?.some((filter) => filter.filter?.case === "unsupported"));
  const good = rules.length - broken.length;
  const messages = findings.filter(({ kind }) => kind === "unsupported" || kind === "dropped").map(messageOf);
  if (written > 0 && good === 0) return condition("Accepted", false, "UnsupportedValue", listNames(messages));
  const ignored = findings.filter(({ kind }) => kind === "ignored").map(messageOf);
  const note = ignored.length === 0 ? "" : `; ignored: ${listNames([...new Set(ignored)])}`;
  return condition("Accepted", true, "Accepted", `Route was valid${note}`);
}

function resolvedRefs(findings: readonly RouteFinding[]): ConditionInit {
  const bad = findings.filter((finding) => finding.kind === "backend");
  if (bad.length === 0) return condition("ResolvedRefs", true, "ResolvedRefs", "All references resolved");
  return condition("ResolvedRefs", false, bad[0]?.reason ?? "BackendNotFound", listNames(bad.map(messageOf)));
}

/** Set only when some, not all, rules are as written. */
function partiallyInvalid(findings: readonly RouteFinding[]): ConditionInit | undefined {
  const dropped = findings.filter(({ kind }) => kind === "dropped").map(messageOf);
  const failing = findings.filter(({ kind }) => kind === "unsupported").map(messageOf);
  if (dropped.length + failing.length === 0) return undefined;
  const texts = [
    ...(dropped.length > 0 ? [`Dropped Rule: ${listNames(dropped)}`] : []),
    ...(failing.length > 0 ? [`Rules that answer 500: ${listNames(failing)}`] : []),
  ];
  return condition("PartiallyInvalid", true, "UnsupportedValue", texts.join("; "));
}

/** Istio's addition: a route does nothing while no waypoint stands before its Service. */
function resolvedWaypoints(missing: string | undefined): ConditionInit {
  const type = "ResolvedWaypoints";
  if (missing === undefined) return condition(type, true, "ResolvedWaypoints", "All waypoints resolved");
  return condition(type, false, "MissingUseWaypointLabel", missing);
}

/** Undefined when a waypoint stands before every service of the parent. */
function missingWaypoint(parent: RouteParent, model: AmbientModel): string | undefined {
  const without = parent.services.find((service) => !isManaged(service.key, model));
  if (without === undefined) return undefined;
  const why = describeUnmanaged(without.key, model);
  return `${without.namespace}/${without.name} has no waypoint, so the route has no effect there: ${why}`;
}

function stamp(init: ConditionInit, before: readonly Condition[], generation: number, now: Date): Condition {
  const held = before.find(({ type }) => type === init.type);
  const kept = held?.status === init.status ? held.lastTransitionTime : undefined;
  return {
    ...init,
    observedGeneration: generation,
    lastTransitionTime: kept ?? `${now.toISOString().slice(0, 19)}Z`,
  };
}

function sameReference(a: RouteParentStatus["parentRef"], b: RouteParentStatus["parentRef"]): boolean {
  return (
    a.group === b.group &&
    a.kind === b.kind &&
    a.namespace === b.namespace &&
    a.name === b.name &&
    a.sectionName === b.sectionName &&
    a.port === b.port
  );
}

function messageOf(finding: RouteFinding): string {
  return finding.message;
}
