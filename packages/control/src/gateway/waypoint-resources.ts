// The resources of every waypoint: what it manages, with the routes and policies that apply there.

import { type MessageInitShape, create } from "@bufbuild/protobuf";
import { hairpinWaypoint } from "@hairpin/shared/api";
import { formatSpiffeId } from "@hairpin/shared/model";
import type { AmbientModel, CoveredPod } from "../ambient/ambient-model.ts";
import { type MeshConfig, identityOf } from "../ambient/mesh-config.ts";
import type { ServiceRecord } from "../ambient/service-record.ts";
import { configuredWaypoints } from "../ambient/waypoint/binding.ts";
import type { WaypointRecord } from "../ambient/waypoint/waypoint-record.ts";
import type { PolicyTargets } from "./policy-target.ts";
import { type PodPortProtocol, podPortProtocols, wireProtocol } from "./port-protocol.ts";
import type { RouteAttachments } from "./route-attachment.ts";

type PortPolicyInit = MessageInitShape<typeof hairpinWaypoint.PortPolicySchema>;

export interface WaypointResources {
  readonly record: WaypointRecord;
  readonly waypoint: hairpinWaypoint.Waypoint;
  /** By service key. */
  readonly services: ReadonlyMap<string, hairpinWaypoint.Service>;
  /** By workload uid. */
  readonly workloads: ReadonlyMap<string, hairpinWaypoint.Workload>;
  /** Ports of its pods that services contradict each other about. */
  readonly disagreements: readonly (PodPortProtocol & { readonly pod: string })[];
}

interface Managed {
  readonly pods: CoveredPod[];
  /** Services that resolve to it. */
  readonly services: Set<string>;
}

/** By waypoint key. Waypoints that are not ready yet get theirs too, so that they can take effect. */
export function buildWaypointResources(
  model: AmbientModel,
  routes: RouteAttachments,
  targets: PolicyTargets,
  config: MeshConfig,
): ReadonlyMap<string, WaypointResources> {
  const managed = new Map<string, Managed>();
  for (const waypoint of model.waypoints.values())
    if (waypoint.owned) managed.set(waypoint.key, { pods: [], services: new Set() });
  for (const pod of model.pods.values())
    for (const waypoint of configuredWaypoints(pod.binding)) managed.get(waypoint.key)?.pods.push(pod);
  for (const [key, binding] of model.serviceBindings)
    for (const waypoint of configuredWaypoints(binding)) managed.get(waypoint.key)?.services.add(key);

  const resources = new Map<string, WaypointResources>();
  for (const [key, { pods, services }] of managed) {
    const record = model.waypoints.get(key);
    if (record === undefined) continue;
    const protocols = new Map(pods.map((pod) => [pod.record.uid, podPortProtocols(pod, model)]));
    resources.set(key, {
      record,
      waypoint: buildWaypoint(record, targets, config),
      services: buildServices(services, pods, model, routes, targets),
      workloads: new Map(
        pods.map((pod) => [pod.record.uid, buildWorkload(pod, protocols.get(pod.record.uid) ?? [], model, targets)]),
      ),
      disagreements: pods.flatMap((pod) =>
        (protocols.get(pod.record.uid) ?? [])
          .filter((port) => port.disagreeing.length > 0)
          .map((port) => ({ ...port, pod: `${pod.record.namespace}/${pod.record.name}` })),
      ),
    });
  }
  return resources;
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

function buildServices(
  resolved: ReadonlySet<string>,
  pods: readonly CoveredPod[],
  model: AmbientModel,
  routes: RouteAttachments,
  targets: PolicyTargets,
): ReadonlyMap<string, hairpinWaypoint.Service> {
  // Services that only its pods make it manage: it may send to those pods alone.
  const restricted = new Map<string, string[]>();
  for (const { record } of pods) {
    for (const key of model.membership.ofPod.get(`${record.namespace}/${record.name}`)?.keys() ?? []) {
      if (resolved.has(key)) continue;
      const held = restricted.get(key);
      if (held === undefined) restricted.set(key, [record.uid]);
      else held.push(record.uid);
    }
  }
  const keys = [...resolved, ...restricted.keys()].sort();
  return new Map(
    keys.flatMap((key) => {
      const service = model.services.get(key);
      if (service === undefined) return [];
      const only = restricted.get(key);
      return [[key, buildService(service, only, routes, targets)]];
    }),
  );
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

function buildWorkload(
  pod: CoveredPod,
  protocols: readonly PodPortProtocol[],
  model: AmbientModel,
  targets: PolicyTargets,
): hairpinWaypoint.Workload {
  return create(hairpinWaypoint.WorkloadSchema, {
    uid: pod.record.uid,
    servicePolicies: servicePolicies(pod, model, targets),
    ports: protocols.map(({ port, protocol }) => ({ port, protocol })),
  });
}

/** Policies of every service that the pod backs, with the target ports they cover there. */
function servicePolicies(pod: CoveredPod, model: AmbientModel, targets: PolicyTargets): PortPolicyInit[] {
  const { namespace, name } = pod.record;
  const served = [...(model.membership.ofPod.get(`${namespace}/${name}`) ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
  return served.flatMap(([key, mappings]) => {
    // A headless service without ports stands for every port of its pods.
    const every = model.services.get(key)?.ports.length === 0;
    if (!every && mappings.length === 0) return [];
    const ports = [...new Set(mappings.map(({ targetPort }) => targetPort))].sort((a, b) => a - b);
    const targetPorts = every ? [] : ports;
    return targets.ofService(key).map((policy) => ({ policy, targetPorts, service: key }));
  });
}
