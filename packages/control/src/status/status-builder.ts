import type { AmbientModel } from "../ambient/ambient-model.ts";
import type { Problem } from "../ambient/build-each.ts";
import type { NamespaceModel } from "../ambient/namespace-model.ts";
import type { ConvertedPolicy } from "../ambient/policy/authorization-policy.ts";
import { Memo } from "../collection/memo.ts";
import type { Sliced } from "../collection/sliced.ts";
import type { Snapshot } from "../collection/snapshot.ts";
import type { PolicyTargets } from "../gateway/policy-target.ts";
import type { AttachedRoute, RouteAttachments } from "../gateway/route-attachment.ts";
import type { WaypointResources } from "../gateway/waypoint-resources.ts";
import { gatewayConditions } from "./gateway-conditions.ts";
import { podConditions, problemConditions } from "./pod-conditions.ts";
import { policyConditions } from "./policy-conditions.ts";
import { routeStatuses } from "./route-status.ts";
import { type ProtocolConflicts, protocolConflicts, serviceConditions } from "./service-conditions.ts";
import { ShutOutWaypointFinder } from "./shut-out-waypoint.ts";
import type { StatusUpdate } from "./status-update.ts";

/** Everything that is to be said on objects. What is said of an object is the same update while nothing of it changes. */
export class StatusBuilder {
  readonly #services = new Memo<NamespaceModel, readonly StatusUpdate[]>();
  readonly #pods = new Memo<NamespaceModel, readonly StatusUpdate[]>();
  readonly #policies = new Memo<ConvertedPolicy, StatusUpdate>();
  readonly #routes = new Memo<AttachedRoute, StatusUpdate>();
  readonly #shutOut = new ShutOutWaypointFinder();

  *build(
    ambient: AmbientModel,
    context: {
      readonly snapshot: Snapshot;
      readonly targets: PolicyTargets;
      readonly routes: RouteAttachments;
      readonly waypoints: ReadonlyMap<string, WaypointResources>;
      readonly problems: readonly Problem[];
      readonly now: Date;
    },
  ): Sliced<readonly StatusUpdate[]> {
    const { targets, routes, problems, now } = context;
    const conflicts = protocolConflicts(context.waypoints.values());
    const namespaces = [...ambient.namespaces.values()];
    const services: StatusUpdate[] = [];
    const pods: StatusUpdate[] = [];
    for (const namespace of namespaces) {
      services.push(
        ...this.#services.get(namespace, conflictsIn(namespace, conflicts), () =>
          serviceConditions(ambient, namespace.services, conflicts),
        ),
      );
      pods.push(...this.#pods.get(namespace, [], () => podConditions(namespace)));
      yield;
    }
    const shutOut = yield* this.#shutOut.find(ambient);
    return [
      ...services,
      ...policyConditions(ambient, { targets, problems, shutOut, memo: this.#policies }),
      ...routeStatuses(routes, ambient, { now, memo: this.#routes }),
      ...gatewayConditions(context.snapshot, ambient),
      ...pods,
      ...problemConditions(problems),
    ];
  }
}

function conflictsIn({ services }: NamespaceModel, conflicts: ProtocolConflicts): readonly string[] {
  return conflicts.size === 0 ? [] : services.flatMap(({ key }) => [key, ...(conflicts.get(key) ?? [])]);
}
