// What one namespace's objects come to. Services select pods, policies select workloads and EndpointSlices point at pods of
// their own namespace only, so a change in one namespace leaves the others' models as they are.

import type { istioWorkload } from "@hairpin/shared/api";
import type { EndpointSlice, KubernetesObject, Node, WorkloadEntry } from "../collection/kubernetes-object.ts";
import { LabelIndex, label } from "../collection/label-match.ts";
import { Memo } from "../collection/memo.ts";
import type { NamespaceObjects } from "../collection/namespace-objects.ts";
import { type Sliced, stopEvery } from "../collection/sliced.ts";
import { type Problem, buildEach } from "./build-each.ts";
import { type CoveredPod, coverPod } from "./covered-pod.ts";
import {
  type Claim,
  type Claims,
  findClaims,
  labelsOfEntry,
  serviceNameLabel,
  entryPorts,
} from "./endpoint-membership.ts";
import { buildServiceEntryWorkloads, buildSliceWorkloads, buildWorkloadEntryMessage } from "./external-workload.ts";
import type { MeshConfig } from "./mesh-config.ts";
import type { PodRecord } from "./pod.ts";
import type { ConvertedPolicy } from "./policy/authorization-policy.ts";
import type { PeerAuthenticationPolicies } from "./policy/peer-authentication.ts";
import { selectPolicies } from "./policy/policy-selection.ts";
import type { ServiceRecord } from "./service-record.ts";
import { type Binding, type WaypointBinder, unbound } from "./waypoint/binding.ts";
import { isNeverCovered } from "./waypoint/exclusion.ts";
import { type WaypointRecord, gatewayNameLabel } from "./waypoint/waypoint-record.ts";

/** The same object while nothing in the namespace, and nothing of what it depends on, changes. */
export interface NamespaceModel {
  readonly name: string;
  readonly services: readonly ServiceRecord[];
  /** In the order of names. */
  readonly pods: readonly CoveredPod[];
  /** By service key; services without pods are left out. */
  readonly podsOfService: ReadonlyMap<string, readonly CoveredPod[]>;
  readonly workloadEntries: readonly istioWorkload.Workload[];
  readonly serviceEntryWorkloads: readonly istioWorkload.Workload[];
  readonly sliceWorkloads: readonly istioWorkload.Workload[];
  readonly problems: readonly Problem[];
}

/** What a namespace's model depends on, besides its objects. Parts that did not change are the same objects. */
export interface NamespaceContext {
  readonly pods: readonly PodRecord[];
  readonly services: readonly ServiceRecord[];
  /** Selecting L4 policies that may apply here: its own and the root namespace's, in order. */
  readonly policies: readonly ConvertedPolicy[];
  readonly peerAuthentications: PeerAuthenticationPolicies;
  readonly nodes: readonly Node[];
  readonly findNode: (name: string) => Node | undefined;
  readonly waypoints: ReadonlyMap<string, WaypointRecord>;
  /** Another one whenever a waypoint or a Namespace changed. */
  readonly binder: WaypointBinder;
  readonly serviceBindings: ReadonlyMap<string, Binding>;
}

const none: readonly never[] = [];

/** Builds namespaces' models, and remembers them and their pods. */
export class NamespaceBuilder {
  readonly #config: MeshConfig;
  readonly #models = new Memo<NamespaceObjects, NamespaceModel>();
  readonly #pods = new Memo<PodRecord, CoveredPod>();
  readonly #claims = new Memo<ServiceRecord | EndpointSlice, Claim>();

  constructor(config: MeshConfig) {
    this.#config = config;
  }

  *build(objects: NamespaceObjects, context: NamespaceContext): Sliced<NamespaceModel> {
    const { pods, services, policies, peerAuthentications, nodes, binder } = context;
    const inputs = [pods, peerAuthentications, nodes, binder, ...services, ...policies];
    const known = this.#models.find(objects, inputs);
    if (known !== undefined) return known.value;
    return this.#models.keep(objects, inputs, yield* this.#buildNew(objects, context)).value;
  }

  *#buildNew(objects: NamespaceObjects, context: NamespaceContext): Sliced<NamespaceModel> {
    const problems: Problem[] = [];
    const workloads = {
      pods: new LabelIndex(context.pods, ({ pod }) => pod.metadata.labels),
      entries: new LabelIndex(objects.list("WorkloadEntry"), labelsOfEntry),
    };
    const claims = findClaims(objects, context.services, workloads, this.#claims);
    const pods = yield* this.#coverPods(objects.name, context, {
      claims,
      selected: selectPolicies(context.policies, workloads.pods),
    });
    const podsOfService = new Map<string, CoveredPod[]>();
    for (const pod of pods)
      for (const key of pod.services.keys()) {
        const held = podsOfService.get(key);
        if (held === undefined) podsOfService.set(key, [pod]);
        else held.push(pod);
      }
    return {
      name: objects.name,
      services: context.services,
      pods,
      podsOfService,
      workloadEntries: this.#buildWorkloadEntries(workloads.entries, context, claims, problems),
      serviceEntryWorkloads: this.#buildServiceEntries(objects, context.services, problems),
      sliceWorkloads: this.#buildSlices(objects, context.services, problems),
      problems,
    };
  }

  *#coverPods(
    namespace: string,
    context: NamespaceContext,
    {
      claims,
      selected,
    }: { readonly claims: Claims; readonly selected: ReadonlyMap<PodRecord, readonly ConvertedPolicy[]> },
  ): Sliced<readonly CoveredPod[]> {
    const config = this.#config;
    const { binder, serviceBindings } = context;
    const permissive = binder.isPermissive(namespace);
    const covered: CoveredPod[] = [];
    for (const record of context.pods) {
      if (covered.length % stopEvery === 0) yield;
      const { serviceAccount, pod } = record;
      const { labels } = pod.metadata;
      const claimed = claims.ofPod.get(record) ?? none;
      const replicaOf = label(pod, gatewayNameLabel);
      const podContext = {
        config,
        node: context.findNode(record.node),
        claims: claimed,
        binding: isNeverCovered(record, config) ? unbound : binder.bindWorkload({ namespace, serviceAccount, labels }),
        serviceBindings: claimed.map(({ service }) => serviceBindings.get(service.key) ?? unbound),
        permissive,
        policies: selected.get(record) ?? none,
        peerPolicyKeys: context.peerAuthentications.keysFor({ namespace, labels }),
        replicaOf: replicaOf === undefined ? undefined : context.waypoints.get(`${namespace}/${replicaOf}`),
      };
      covered.push(coverPod(record, podContext, this.#pods));
    }
    return covered;
  }

  #buildWorkloadEntries(
    entries: LabelIndex<WorkloadEntry>,
    context: NamespaceContext,
    claims: Claims,
    problems: Problem[],
  ): istioWorkload.Workload[] {
    const { binder, peerAuthentications } = context;
    const selected = selectPolicies(context.policies, entries);
    return buildEach(entries.all, problems, (entry) => {
      const { namespace = "" } = entry.metadata;
      const labels = labelsOfEntry(entry);
      const claimed = claims.ofWorkloadEntry.get(entry) ?? none;
      const policies = selected.get(entry) ?? none;
      return buildWorkloadEntryMessage(entry, {
        config: this.#config,
        services: new Map(claimed.map(({ service }) => [service.key, entryPorts(service, entry)])),
        policies: [...policies.map(({ key }) => key), ...peerAuthentications.keysFor({ namespace, labels })],
        binding: binder.bindWorkload({
          namespace,
          labels,
          serviceAccount: entry.spec?.serviceAccount ?? "default",
        }),
        permissive: binder.isPermissive(namespace),
      });
    });
  }

  #buildServiceEntries(
    objects: NamespaceObjects,
    services: readonly ServiceRecord[],
    problems: Problem[],
  ): istioWorkload.Workload[] {
    const byEntry = Map.groupBy<KubernetesObject, ServiceRecord>(services, (service) => service.source.object);
    const build = (entry: Parameters<typeof buildServiceEntryWorkloads>[0]): istioWorkload.Workload[] =>
      buildServiceEntryWorkloads(entry, byEntry.get(entry) ?? [], this.#config);
    return buildEach(objects.list("ServiceEntry"), problems, build).flat();
  }

  #buildSlices(
    objects: NamespaceObjects,
    services: readonly ServiceRecord[],
    problems: Problem[],
  ): istioWorkload.Workload[] {
    const own = services.filter(({ source, selector }) => source.kind === "Service" && selector === undefined);
    // A service with a selector has its endpoints from it.
    if (own.length === 0) return [];
    const byName = new Map(own.map((service) => [service.name, service]));
    return buildEach(objects.list("EndpointSlice"), problems, (slice) => {
      const service = byName.get(label(slice, serviceNameLabel) ?? "");
      if (service === undefined || slice.addressType === "FQDN") return [];
      return buildSliceWorkloads(slice, service, this.#config);
    }).flat();
  }
}
