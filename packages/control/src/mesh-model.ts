// Everything that control derives from its objects: Workload API, policies, waypoint resources, conditions. Pure.

import { AmbientBuilder, type AmbientModel } from "./ambient/ambient-model.ts";
import type { Problem } from "./ambient/build-each.ts";
import type { MeshConfig } from "./ambient/mesh-config.ts";
import type { WaypointAcknowledgements } from "./ambient/waypoint/waypoint-record.ts";
import { Memo } from "./collection/memo.ts";
import { type Sliced, runWhole } from "./collection/sliced.ts";
import type { Snapshot } from "./collection/snapshot.ts";
import { type PolicyTargets, resolvePolicyTargets } from "./gateway/policy-target.ts";
import { type RouteAttachments, attachRoutes } from "./gateway/route-attachment.ts";
import { type WaypointResources, WaypointResourcesBuilder } from "./gateway/waypoint-resources.ts";
import { StatusBuilder } from "./status/status-builder.ts";
import type { StatusUpdate } from "./status/status-update.ts";

export interface MeshModel {
  readonly ambient: AmbientModel;
  /** By waypoint key. */
  readonly waypoints: ReadonlyMap<string, WaypointResources>;
  readonly statuses: readonly StatusUpdate[];
  readonly problems: readonly Problem[];
}

/** What is not in the objects. */
export interface ModelContext {
  readonly acknowledgements: WaypointAcknowledgements;
  readonly now: Date;
}

/** The model of one snapshot, from nothing. */
export function buildMeshModel(snapshot: Snapshot, config: MeshConfig, context: ModelContext): MeshModel {
  return runWhole(new MeshModelBuilder(config).build(snapshot, context));
}

/**
 * Builds the models of snapshots that follow each other. The result is always that of {@link buildMeshModel}; parts whose inputs
 * did not change are those of the model before, the same objects (memo.ts).
 */
export class MeshModelBuilder {
  readonly #config: MeshConfig;
  readonly #ambient: AmbientBuilder;
  readonly #targets = new Memo<MeshConfig, WithProblems<PolicyTargets>>();
  readonly #routes = new Memo<MeshConfig, WithProblems<RouteAttachments>>();
  readonly #waypoints: WaypointResourcesBuilder;
  readonly #statuses = new StatusBuilder();

  constructor(config: MeshConfig) {
    this.#config = config;
    this.#ambient = new AmbientBuilder(config);
    this.#waypoints = new WaypointResourcesBuilder(config);
  }

  /** One at a time, each run to its end. */
  *build(snapshot: Snapshot, context: ModelContext): Sliced<MeshModel> {
    const config = this.#config;
    const ambient = yield* this.#ambient.build(snapshot, context.acknowledgements);
    const named = [ambient.services, ambient.waypoints];
    const targets = this.#targets.get(config, [...named, ...ambient.targetedPolicies], () =>
      withProblems((problems) => resolvePolicyTargets(ambient, config, problems)),
    );
    yield;
    const routeLists = [snapshot.list("HTTPRoute"), snapshot.list("GRPCRoute"), snapshot.list("TCPRoute")];
    const routes = this.#routes.get(config, [...named, ...routeLists], () =>
      withProblems((problems) => attachRoutes(snapshot, ambient, config, problems)),
    );
    yield;
    const problems = [...ambient.problems, ...targets.problems, ...routes.problems];
    const derived = { targets: targets.value, routes: routes.value };
    const waypoints = yield* this.#waypoints.build({ model: ambient, ...derived });
    const statuses = yield* this.#statuses.build(ambient, {
      snapshot,
      ...derived,
      waypoints,
      problems,
      now: context.now,
    });
    return { ambient, waypoints, statuses, problems };
  }
}

interface WithProblems<T> {
  readonly value: T;
  readonly problems: readonly Problem[];
}

function withProblems<T>(build: (problems: Problem[]) => T): WithProblems<T> {
  const problems: Problem[] = [];
  return { value: build(problems), problems };
}
