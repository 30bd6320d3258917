// Everything that control derives from its objects: Workload API, policies, waypoint resources, conditions. Pure.

import { type AmbientModel, buildAmbientModel } from "./ambient/ambient-model.ts";
import type { Problem } from "./ambient/build-each.ts";
import type { MeshConfig } from "./ambient/mesh-config.ts";
import type { WaypointAcknowledgements } from "./ambient/waypoint/waypoint-record.ts";
import type { Snapshot } from "./collection/snapshot.ts";
import { resolvePolicyTargets } from "./gateway/policy-target.ts";
import { attachRoutes } from "./gateway/route-attachment.ts";
import { type WaypointResources, buildWaypointResources } from "./gateway/waypoint-resources.ts";
import { gatewayConditions } from "./status/gateway-conditions.ts";
import { podConditions, problemConditions } from "./status/pod-conditions.ts";
import { policyConditions } from "./status/policy-conditions.ts";
import { routeStatuses } from "./status/route-status.ts";
import { serviceConditions } from "./status/service-conditions.ts";
import type { StatusUpdate } from "./status/status-update.ts";

export interface MeshModel {
  readonly ambient: AmbientModel;
  /** By waypoint key. */
  readonly waypoints: ReadonlyMap<string, WaypointResources>;
  readonly statuses: readonly StatusUpdate[];
  readonly problems: readonly Problem[];
}

export function buildMeshModel(
  snapshot: Snapshot,
  config: MeshConfig,
  context: { readonly acknowledgements: WaypointAcknowledgements; readonly now: Date },
): MeshModel {
  const ambient = buildAmbientModel(snapshot, config, context.acknowledgements);
  const problems = [...ambient.problems];
  const targets = resolvePolicyTargets(ambient, config, problems);
  const routes = attachRoutes(snapshot, ambient, config, problems);
  const waypoints = buildWaypointResources(ambient, routes, targets, config);
  const statuses = [
    ...serviceConditions(ambient, waypoints),
    ...policyConditions(ambient, targets, problems),
    ...routeStatuses(routes, ambient, context.now),
    ...gatewayConditions(snapshot, ambient),
    ...podConditions(ambient),
    ...problemConditions(problems),
  ];
  return { ambient, waypoints, statuses, problems };
}
