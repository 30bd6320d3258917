// The resources of every waypoint: what it manages, with the routes and policies that apply there.

import { type MessageInitShape, create } from "@bufbuild/protobuf";
import { hairpinWaypoint } from "@hairpin/shared/api";
import { formatSpiffeId } from "@hairpin/shared/model";
import type { AmbientModel } from "../ambient/ambient-model.ts";
import type { CoveredPod } from "../ambient/covered-pod.ts";
import { type MeshConfig, identityOf } from "../ambient/mesh-config.ts";
import type { ServiceRecord } from "../ambient/service-record.ts";
import { configuredWaypoints } from "../ambient/waypoint/binding.ts";
import type { WaypointRecord } from "../ambient/waypoint/waypoint-record.ts";
import { Memo } from "../collection/memo.ts";
import { type Sliced, stopEvery } from "../collection/sliced.ts";
import type { PolicyTargets } from "./policy-target.ts";
import { type PodPortProtocol, podPortProtocols, wireProtocol } from "./port-protocol.ts";
import type { RouteAttachments } from "./route-attachment.ts";

type PortPolicyInit = MessageInitShape<typeof hairpinWaypoint.PortPolicySchema>;

/** The same object while nothing of it changes. */
export interface WaypointResources {
  readonly record: WaypointRecord;
  readonly waypoint: hairpinWaypoint.Waypoint;
  /** By service key. */
  readonly services: ReadonlyMap<string, hairpinWaypoint.Service>;
  /** By workload uid. */
  readonly workloads: ReadonlyMap<string, hairpinWaypoint.Workload>;
  /** Ports of its pods that services contradict each other about. */
  readonly disagreements: readonly Disagreement[];
}

type Disagreement = PodPortProtocol & { readonly pod: string };

/** What the resources are made of. */
interface Context {
  readonly model: AmbientModel;
  readonly routes: RouteAttachments;
  readonly targets: PolicyTargets;
}

interface Managed {
  readonly pods: CoveredPod[];
  /** Services that resolve to it. */
  readonly services: Set<string>;
}

interface BuiltWorkload {
  readonly message: hairpinWaypoint.Workload;
  readonly disagreements: readonly Disagreement[];
}

export class WaypointResourcesBuilder {
  readonly #config: MeshConfig;
  readonly #resources = new Memo<WaypointRecord, WaypointResources>();
  readonly #workloads = new Memo<CoveredPod, BuiltWorkload>();
  readonly #services = new Memo<ServiceRecord, hairpinWaypoint.Service>();

  constructor(config: MeshConfig) {
    this.#config = config;
  }

  /** By waypoint key. Waypoints that are not ready yet get theirs too, so that they can take effect. */
  *build(context: Context): Sliced<ReadonlyMap<string, WaypointResources>> {
    const { model } = context;
    const managed = new Map<string, Managed>();
    for (const waypoint of model.waypoints.values())
      if (waypoint.owned) managed.set(waypoint.key, { pods: [], services: new Set() });
    for (const { pods } of model.namespaces.values()) {
      for (const pod of pods)
        for (const waypoint of configuredWaypoints(pod.binding)) managed.get(waypoint.key)?.pods.push(pod);
      yield;
    }
    for (const [key, binding] of model.serviceBindings)
      for (const waypoint of configuredWaypoints(binding)) managed.get(waypoint.key)?.services.add(key);

    const resources = new Map<string, WaypointResources>();
    for (const [key, { pods, services }] of managed) {
      const record = model.waypoints.get(key);
      if (record === undefined) continue;
      const inputs = [model.services, context.routes, context.targets, services.size, ...services, ...pods];
      const held =
        this.#resources.find(record, inputs) ??
        this.#resources.keep(record, inputs, yield* this.#buildOne(record, { pods, services }, context));
      resources.set(key, held.value);
      yield;
    }
    return resources;
  }

  *#buildOne(record: WaypointRecord, { pods, services }: Managed, context: Context): Sliced<WaypointResources> {
    const { model, targets } = context;
    const workloads = new Map<string, hairpinWaypoint.Workload>();
    const disagreements: Disagreement[] = [];
    for (const pod of pods) {
      if (workloads.size % stopEvery === 0) yield;
      const built = this.#workloads.get(pod, [model.services, targets], () => buildWorkload(pod, model, targets));
      workloads.set(pod.record.uid, built.message);
      disagreements.push(...built.disagreements);
    }
    return {
      record,
      waypoint: buildWaypoint(record, targets, this.#config),
      services: yield* this.#buildServices({ pods, services }, context),
      workloads,
      disagreements,
    };
  }

  *#buildServices(
    managed: Managed,
    { model, routes, targets }: Context,
  ): Sliced<ReadonlyMap<string, hairpinWaypoint.Service>> {
    const restricted = restrictedServices(managed);
    const services = new Map<string, hairpinWaypoint.Service>();
    for (const key of [...managed.services, ...restricted.keys()].sort()) {
      if (services.size % stopEvery === 0) yield;
      const service = model.services.get(key);
      if (service === undefined) continue;
      const only = restricted.get(key);
      const inputs = [routes, targets, only === undefined, ...(only ?? [])];
      const built = this.#services.get(service, inputs, () => buildService(service, only, routes, targets));
      services.set(key, built);
    }
    return services;
  }
}

function buildWaypoint(record: WaypointRecord, targets: PolicyTargets, config: MeshConfig): hairpinWaypoint.Waypoint {
  return create(hairpinWaypoint.WaypointSchema, {
    namespace: record.namespace,
    name: record.name,
    policies: [...targets.ofGateway(record.key)],
    hairpinSourceIdentities: config.trustedNodeAccounts.map((account) => formatSpiffeId(identityOf(config, account))),
    trustDomain: config.trustDomain,
  });
}

/** Services that only its pods make it manage: it may send to those pods alone. By service key. */
function restrictedServices({ pods, services: resolved }: Managed): ReadonlyMap<string, readonly string[]> {
  const restricted = new Map<string, string[]>();
  for (const { record, services } of pods) {
    for (const key of services.keys()) {
      if (resolved.has(key)) continue;
      const held = restricted.get(key);
      if (held === undefined) restricted.set(key, [record.uid]);
      else held.push(record.uid);
    }
  }
  return restricted;
}

function buildService(
  service: ServiceRecord,
  only: readonly string[] | undefined,
  routes: RouteAttachments,
  targets: PolicyTargets,
): hairpinWaypoint.Service {
  return create(hairpinWaypoint.ServiceSchema, {
    namespace: service.namespace,
    hostname: service.hostname,
    ports: service.ports.map(({ port, name, appProtocol }) => ({
      port,
      name,
      protocol: wireProtocol[appProtocol],
      routes: [...routes.routesOf(service.key, port)],
    })),
    policies: [...targets.ofService(service.key)],
    onlyWorkloads: [...(only ?? [])].sort(),
    restrictToWorkloads: only !== undefined,
  });
}

function buildWorkload(pod: CoveredPod, model: AmbientModel, targets: PolicyTargets): BuiltWorkload {
  const { uid, namespace, name } = pod.record;
  const protocols = podPortProtocols(pod, model);
  return {
    message: create(hairpinWaypoint.WorkloadSchema, {
      uid,
      servicePolicies: servicePolicies(pod, model, targets),
      ports: protocols.map(({ port, protocol }) => ({ port, protocol })),
    }),
    disagreements: protocols
      .filter((port) => port.disagreeing.length > 0)
      .map((port) => ({ ...port, pod: `${namespace}/${name}` })),
  };
}

/** Policies of every service that the pod backs, with the target ports they cover there. */
function servicePolicies(pod: CoveredPod, model: AmbientModel, targets: PolicyTargets): PortPolicyInit[] {
  const served = [...pod.services].sort(([a], [b]) => (a < b ? -1 : 1));
  return served.flatMap(([key, mappings]) => {
    // A headless service without ports stands for every port of its pods.
    const every = model.services.get(key)?.ports.length === 0;
    if (!every && mappings.length === 0) return [];
    const ports = [...new Set(mappings.map(({ targetPort }) => targetPort))].sort((a, b) => a - b);
    const targetPorts = every ? [] : ports;
    return targets.ofService(key).map((policy) => ({ policy, targetPorts, service: key }));
  });
}
