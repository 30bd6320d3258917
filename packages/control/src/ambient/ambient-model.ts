// Everything of the Workload API, computed from one snapshot. This file reads as the list of steps; each step is pure.

import type { istioSecurity, istioWorkload } from "@hairpin/shared/api";
import type { AuthorizationPolicyObject } from "../collection/kubernetes-object.ts";
import { label } from "../collection/label-match.ts";
import type { Snapshot } from "../collection/snapshot.ts";
import { type Problem, buildEach } from "./build-each.ts";
import { type Membership, buildMembership, labelsOfEntry, serviceNameLabel } from "./endpoint-membership.ts";
import {
  buildServiceEntryWorkloads,
  buildSliceWorkloads,
  buildWorkloadEntryMessage,
  workloadEntryUid,
} from "./external-workload.ts";
import { settleAddresses, settleHosts } from "./host-ownership.ts";
import { buildServiceRecord } from "./kubernetes-service.ts";
import type { MeshConfig } from "./mesh-config.ts";
import { type PodRecord, buildPodRecord } from "./pod.ts";
import { type ConvertedPolicy, convertPolicy, isTargeted } from "./policy/authorization-policy.ts";
import { buildPeerAuthentications } from "./policy/peer-authentication.ts";
import { selectPolicies } from "./policy/policy-selection.ts";
import { buildServiceEntryRecords } from "./service-entry.ts";
import { buildServiceMessage } from "./service-message.ts";
import type { ServiceRecord } from "./service-record.ts";
import { type Binding, WaypointBinder } from "./waypoint/binding.ts";
import { type EnforcementPlan, planEnforcement } from "./waypoint/enforcement.ts";
import { belongsToGateway, isNeverCovered } from "./waypoint/exclusion.ts";
import {
  type WaypointAcknowledgements,
  type WaypointRecord,
  buildWaypoints,
  gatewayNameLabel,
} from "./waypoint/waypoint-record.ts";
import { buildPodMessage } from "./workload-message.ts";

export interface CoveredPod {
  readonly record: PodRecord;
  readonly binding: Binding;
  readonly enforcement: EnforcementPlan;
  /** L4 policies that select it. */
  readonly policies: readonly ConvertedPolicy[];
}

export interface AmbientModel {
  /** By service key. */
  readonly services: ReadonlyMap<string, ServiceRecord>;
  readonly serviceBindings: ReadonlyMap<string, Binding>;
  /** By workload uid. */
  readonly pods: ReadonlyMap<string, CoveredPod>;
  readonly membership: Membership;
  readonly waypoints: ReadonlyMap<string, WaypointRecord>;
  readonly binder: WaypointBinder;
  /** AuthorizationPolicies without targetRefs. */
  readonly policies: readonly ConvertedPolicy[];
  /** AuthorizationPolicies with targetRefs: waypoints enforce them. */
  readonly targetedPolicies: readonly AuthorizationPolicyObject[];
  readonly serviceMessages: readonly istioWorkload.Service[];
  readonly workloadMessages: readonly istioWorkload.Workload[];
  readonly authorizations: readonly istioSecurity.Authorization[];
  readonly problems: readonly Problem[];
}

const unbound: Binding = { scope: "NONE", resolution: { kind: "none" }, prospective: [] };

export function buildAmbientModel(
  snapshot: Snapshot,
  config: MeshConfig,
  acknowledgements: WaypointAcknowledgements,
): AmbientModel {
  const problems: Problem[] = [];
  const pods = buildEach(snapshot.list("Pod"), problems, (pod) => buildPodRecord(pod, config));
  const claims = settleAddresses(listServices(snapshot, config, problems), pods, problems);
  const { services, canonical } = settleHosts(claims);
  const membership = buildMembership(snapshot, services, pods);

  const waypoints = buildWaypoints(snapshot, config, acknowledgements, problems);
  const binder = new WaypointBinder(snapshot, waypoints);
  const serviceBindings = new Map(services.map((service) => [service.key, bindService(service, binder)]));

  const [targetedPolicies, plainPolicies] = partition(snapshot.list("AuthorizationPolicy"), isTargeted);
  const policies = plainPolicies.map((policy) => convertOrRefuse(policy, config, problems));
  const peerAuthentications = buildPeerAuthentications(snapshot, config.rootNamespace);
  const selected = selectPolicies(policies, listSelectable(snapshot, pods, config), config.rootNamespace);
  const policyKeys = (uid: string, namespace: string, labels: PodRecord["pod"]["metadata"]["labels"]): string[] => [
    ...(selected.get(uid) ?? []).map((policy) => policy.key),
    ...peerAuthentications.keysFor({ namespace, labels }),
  ];

  const covered = new Map<string, CoveredPod>();
  const workloadMessages: istioWorkload.Workload[] = [];
  for (const record of pods) {
    const servedServices = membership.ofPod.get(`${record.namespace}/${record.name}`);
    const permissive = binder.isPermissive(record.namespace);
    const binding = bindPod(record, binder, config);
    const serviceBindingsOfPod = [...(servedServices?.keys() ?? [])].map((key) => serviceBindings.get(key) ?? unbound);
    const { captured } = record;
    const enforcement = planEnforcement({ binding, serviceBindings: serviceBindingsOfPod, captured, permissive });
    covered.set(record.uid, { record, binding, enforcement, policies: selected.get(record.uid) ?? [] });
    workloadMessages.push(
      buildPodMessage(record, {
        config,
        node: snapshot.find("Node", "", record.node),
        services: servedServices,
        policies: policyKeys(record.uid, record.namespace, record.pod.metadata.labels),
        binding,
        enforcement,
        permissive,
        replicaOf: waypoints.get(`${record.namespace}/${label(record.pod, gatewayNameLabel) ?? ""}`),
      }),
    );
  }
  workloadMessages.push(
    ...buildEach(snapshot.list("WorkloadEntry"), problems, (entry) => {
      const { namespace = "", name } = entry.metadata;
      const uid = workloadEntryUid(entry, config);
      const labels = labelsOfEntry(entry);
      const serviceAccount = entry.spec?.serviceAccount ?? "default";
      return buildWorkloadEntryMessage(entry, {
        config,
        services: membership.ofWorkloadEntry.get(`${namespace}/${name}`),
        policies: policyKeys(uid, namespace, labels),
        binding: binder.bindWorkload({ namespace, labels, serviceAccount }),
        permissive: binder.isPermissive(namespace),
      });
    }),
    ...listExternalWorkloads(snapshot, services, config, problems),
  );
  return {
    services: new Map(services.map((service) => [service.key, service])),
    serviceBindings,
    pods: covered,
    membership,
    waypoints,
    binder,
    policies,
    targetedPolicies,
    serviceMessages: services.map((service) =>
      buildServiceMessage(service, {
        config,
        binding: serviceBindings.get(service.key) ?? unbound,
        permissive: binder.isPermissive(service.namespace),
        canonical: canonical.has(service),
      }),
    ),
    workloadMessages,
    authorizations: [
      ...policies.flatMap(({ message }) => (message === undefined ? [] : [message])),
      ...peerAuthentications.messages,
    ],
    problems,
  };
}

function listServices(snapshot: Snapshot, config: MeshConfig, problems: Problem[]): ServiceRecord[] {
  const fromServices = buildEach(snapshot.list("Service"), problems, (service) =>
    buildServiceRecord(service, snapshot.find("Namespace", "", service.metadata.namespace ?? ""), config),
  );
  return [...fromServices, ...buildEach(snapshot.list("ServiceEntry"), problems, buildServiceEntryRecords).flat()];
}

function bindService(service: ServiceRecord, binder: WaypointBinder): Binding {
  const { object } = service.source;
  if (belongsToGateway(object)) return unbound;
  return binder.bindService({ namespace: service.namespace, labels: object.metadata.labels });
}

function bindPod(record: PodRecord, binder: WaypointBinder, config: MeshConfig): Binding {
  if (isNeverCovered(record, config)) return unbound;
  const { namespace, serviceAccount } = record;
  return binder.bindWorkload({ namespace, serviceAccount, labels: record.pod.metadata.labels });
}

/** A policy that cannot be read must not open anything: it becomes one that refuses everything in its scope. */
function convertOrRefuse(policy: AuthorizationPolicyObject, config: MeshConfig, problems: Problem[]): ConvertedPolicy {
  const [converted] = buildEach([policy], problems, (object) => convertPolicy(object, config.rootNamespace));
  if (converted !== undefined) return converted;
  const { selector } = policy.spec ?? {};
  const refusal = { ...policy, spec: selector === undefined ? {} : { selector } };
  return { ...convertPolicy(refusal, config.rootNamespace), policy };
}

function listSelectable(
  snapshot: Snapshot,
  pods: readonly PodRecord[],
  config: MeshConfig,
): Parameters<typeof selectPolicies>[1] {
  const entries = snapshot.list("WorkloadEntry").map((entry) => ({
    uid: workloadEntryUid(entry, config),
    namespace: entry.metadata.namespace ?? "",
    labels: labelsOfEntry(entry),
  }));
  return [...pods.map(({ uid, namespace, pod }) => ({ uid, namespace, labels: pod.metadata.labels })), ...entries];
}

function listExternalWorkloads(
  snapshot: Snapshot,
  services: readonly ServiceRecord[],
  config: MeshConfig,
  problems: Problem[],
): istioWorkload.Workload[] {
  const byEntry = Map.groupBy(services, (service) => service.source.object);
  const byName = new Map(
    services
      .filter((service) => service.source.kind === "Service")
      .map((service) => [`${service.namespace}/${service.name}`, service]),
  );
  const inline = buildEach(snapshot.list("ServiceEntry"), problems, (entry) =>
    buildServiceEntryWorkloads(entry, byEntry.get(entry) ?? [], config),
  );
  const slices = buildEach(snapshot.list("EndpointSlice"), problems, (slice) => {
    const service = byName.get(`${slice.metadata.namespace ?? ""}/${label(slice, serviceNameLabel) ?? ""}`);
    // A service with a selector has its endpoints from it.
    if (service === undefined || service.selector !== undefined || slice.addressType === "FQDN") return [];
    return buildSliceWorkloads(slice, service, config);
  });
  return [...inline.flat(), ...slices.flat()];
}

function partition<T>(items: readonly T[], test: (item: T) => boolean): [T[], T[]] {
  const yes: T[] = [];
  const no: T[] = [];
  for (const item of items) (test(item) ? yes : no).push(item);
  return [yes, no];
}
