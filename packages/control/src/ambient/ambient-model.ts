// Everything of the Workload API, computed from one snapshot. This file reads as the list of steps; each step is pure, and is
// skipped when its inputs are the same objects as before.

import type { istioSecurity, istioWorkload } from "@hairpin/shared/api";
import type {
  AuthorizationPolicyObject,
  Gateway,
  KubernetesService,
  PeerAuthentication,
  Pod,
  ServiceEntry,
} from "../collection/kubernetes-object.ts";
import { Memo } from "../collection/memo.ts";
import { type Sliced, stopEvery } from "../collection/sliced.ts";
import type { Snapshot } from "../collection/snapshot.ts";
import { type Problem, buildEach } from "./build-each.ts";
import { type CoveredPod } from "./covered-pod.ts";
import { claimsAddresses, settleAddresses, settleHosts } from "./host-ownership.ts";
import { buildServiceRecord } from "./kubernetes-service.ts";
import type { MeshConfig } from "./mesh-config.ts";
import { NamespaceBuilder, type NamespaceModel } from "./namespace-model.ts";
import { type PodRecord, buildPodRecord } from "./pod.ts";
import { type ConvertedPolicy, convertPolicy, isTargeted } from "./policy/authorization-policy.ts";
import { type PeerAuthenticationPolicies, buildPeerAuthentications } from "./policy/peer-authentication.ts";
import { buildServiceEntryRecords } from "./service-entry.ts";
import { buildServiceMessage } from "./service-message.ts";
import type { ServiceRecord } from "./service-record.ts";
import { type Binding, WaypointBinder, unbound } from "./waypoint/binding.ts";
import { belongsToGateway } from "./waypoint/exclusion.ts";
import { type WaypointAcknowledgements, type WaypointRecord, buildWaypoints } from "./waypoint/waypoint-record.ts";

export interface AmbientModel {
  /** By service key. */
  readonly services: ReadonlyMap<string, ServiceRecord>;
  readonly serviceBindings: ReadonlyMap<string, Binding>;
  /** Namespaces with objects, by name, in the order of lists. */
  readonly namespaces: ReadonlyMap<string, NamespaceModel>;
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

/** The pods that serve a service, in the order of names. */
export function podsOfService(
  model: AmbientModel,
  service: Pick<ServiceRecord, "key" | "namespace">,
): readonly CoveredPod[] {
  return model.namespaces.get(service.namespace)?.podsOfService.get(service.key) ?? [];
}

/** Builds models of one mesh after another, and remembers what objects came to. */
export class AmbientBuilder {
  readonly #config: MeshConfig;
  readonly #podLists = new Memo<readonly Pod[], Built<PodRecord>>();
  readonly #pods = new Memo<Pod, PodRecord | undefined>();
  readonly #services = new Memo<KubernetesService, ServiceRecord | undefined>();
  readonly #serviceEntries = new Memo<ServiceEntry, readonly ServiceRecord[]>();
  readonly #settled = new Memo<MeshConfig, SettledServices>();
  readonly #serviceMessages = new Memo<ServiceRecord, istioWorkload.Service>();
  readonly #policies = new Memo<AuthorizationPolicyObject, Built<ConvertedPolicy>>();
  readonly #peerAuthentications = new Memo<readonly PeerAuthentication[], PeerAuthenticationPolicies>();
  readonly #gateways = new Memo<Gateway, WaypointRecord>();
  readonly #bound = new Memo<MeshConfig, BoundWaypoints>();
  readonly #namespaces: NamespaceBuilder;
  #binder: WaypointBinder | undefined;

  constructor(config: MeshConfig) {
    this.#config = config;
    this.#namespaces = new NamespaceBuilder(config);
  }

  *build(snapshot: Snapshot, acknowledgements: WaypointAcknowledgements): Sliced<AmbientModel> {
    const problems: Problem[] = [];
    const pods = yield* this.#buildPods(snapshot, problems);
    const { services, byNamespace, byKey, canonical } = this.#settleServices(snapshot, pods, problems);
    const { waypoints, binder } = this.#bindWaypoints(snapshot, acknowledgements, problems);
    yield;
    const serviceBindings = new Map(services.map((service) => [service.key, bindService(service, binder)]));
    const serviceMessages: istioWorkload.Service[] = [];
    for (const service of services) {
      if (serviceMessages.length % stopEvery === 0) yield;
      const binding = serviceBindings.get(service.key) ?? unbound;
      serviceMessages.push(this.#buildServiceMessage(service, binding, binder, canonical.has(service)));
    }

    const [targetedPolicies, plainPolicies] = partition(snapshot.list("AuthorizationPolicy"), isTargeted);
    const policies = this.#convertPolicies(plainPolicies, problems);
    const policiesIn = groupSelecting(policies, this.#config.rootNamespace);
    const peerAuthenticationList = snapshot.list("PeerAuthentication");
    const peerAuthentications = this.#peerAuthentications.get(peerAuthenticationList, [], () =>
      buildPeerAuthentications(peerAuthenticationList, this.#config.rootNamespace),
    );

    const nodes = snapshot.list("Node");
    const findNode = (name: string): ReturnType<typeof nodes.at> => snapshot.find("Node", "", name);
    const namespaces = new Map<string, NamespaceModel>();
    for (const objects of snapshot.namespaces) {
      const { name } = objects;
      const model = yield* this.#namespaces.build(objects, {
        pods: pods.get(name)?.results ?? [],
        services: byNamespace.get(name) ?? [],
        policies: policiesIn(name),
        peerAuthentications,
        nodes,
        findNode,
        waypoints,
        binder,
        serviceBindings,
      });
      namespaces.set(name, model);
      problems.push(...model.problems);
      yield;
    }
    const models = [...namespaces.values()];
    return {
      services: byKey,
      serviceBindings,
      namespaces,
      waypoints,
      binder,
      policies,
      targetedPolicies,
      serviceMessages,
      workloadMessages: [
        ...models.flatMap((model) => model.pods.map(({ message }) => message)),
        ...models.flatMap((model) => model.workloadEntries),
        ...models.flatMap((model) => model.serviceEntryWorkloads),
        ...models.flatMap((model) => model.sliceWorkloads),
      ],
      authorizations: [
        ...policies.flatMap(({ message }) => (message === undefined ? [] : [message])),
        ...peerAuthentications.messages,
      ],
      problems,
    };
  }

  /** By namespace. */
  *#buildPods(snapshot: Snapshot, problems: Problem[]): Sliced<ReadonlyMap<string, Built<PodRecord>>> {
    const byNamespace = new Map<string, Built<PodRecord>>();
    for (const objects of snapshot.namespaces) {
      const list = objects.list("Pod");
      const built =
        this.#podLists.find(list, []) ?? this.#podLists.keep(list, [], yield* this.#buildPodsOfNamespace(list));
      byNamespace.set(objects.name, built.value);
      problems.push(...built.value.problems);
    }
    return byNamespace;
  }

  *#buildPodsOfNamespace(pods: readonly Pod[]): Sliced<Built<PodRecord>> {
    const results: PodRecord[] = [];
    const problems: Problem[] = [];
    for (let at = 0; at < pods.length; at += stopEvery) {
      const build = (pod: Pod): PodRecord | undefined =>
        this.#pods.get(pod, [], () => buildPodRecord(pod, this.#config));
      results.push(...buildEach(pods.slice(at, at + stopEvery), problems, build));
      yield;
    }
    return { results, problems };
  }

  #settleServices(
    snapshot: Snapshot,
    pods: ReadonlyMap<string, Built<PodRecord>>,
    problems: Problem[],
  ): SettledServices {
    const claims = this.#listServices(snapshot, problems);
    const records = [...pods.values()].map(({ results }) => results);
    const inputs = claims.some(claimsAddresses) ? [...claims, ...records] : claims;
    const settled = this.#settled.get(this.#config, inputs, () => settleServices(claims, records.flat()));
    problems.push(...settled.problems);
    return settled;
  }

  #listServices(snapshot: Snapshot, problems: Problem[]): ServiceRecord[] {
    const fromServices = buildEach(snapshot.list("Service"), problems, (service) => {
      const namespace = snapshot.find("Namespace", "", service.metadata.namespace ?? "");
      return this.#services.get(service, [namespace], () => buildServiceRecord(service, namespace, this.#config));
    });
    const fromEntries = buildEach(snapshot.list("ServiceEntry"), problems, (entry) =>
      this.#serviceEntries.get(entry, [], () => buildServiceEntryRecords(entry)),
    );
    return [...fromServices, ...fromEntries.flat()];
  }

  #bindWaypoints(snapshot: Snapshot, acknowledgements: WaypointAcknowledgements, problems: Problem[]): BoundWaypoints {
    const context = { config: this.#config, acknowledgements, memo: this.#gateways, problems };
    const records = buildWaypoints(snapshot, context);
    const inputs = [snapshot.list("Namespace"), ...records];
    return this.#bound.get(this.#config, inputs, () => {
      const waypoints = new Map(records.map((record) => [record.key, record]));
      this.#binder = new WaypointBinder(snapshot, waypoints, this.#binder);
      return { waypoints, binder: this.#binder };
    });
  }

  #buildServiceMessage(
    service: ServiceRecord,
    binding: Binding,
    binder: WaypointBinder,
    canonical: boolean,
  ): istioWorkload.Service {
    const permissive = binder.isPermissive(service.namespace);
    return this.#serviceMessages.get(service, [binding, permissive, canonical], () =>
      buildServiceMessage(service, { config: this.#config, binding, permissive, canonical }),
    );
  }

  #convertPolicies(policies: readonly AuthorizationPolicyObject[], problems: Problem[]): ConvertedPolicy[] {
    return policies.flatMap((policy) => {
      const built = this.#policies.get(policy, [], () => convertOrRefuse(policy, this.#config));
      problems.push(...built.problems);
      return built.results;
    });
  }
}

interface Built<T> {
  readonly results: readonly T[];
  readonly problems: readonly Problem[];
}

interface BoundWaypoints {
  readonly waypoints: ReadonlyMap<string, WaypointRecord>;
  readonly binder: WaypointBinder;
}

interface SettledServices {
  readonly services: readonly ServiceRecord[];
  readonly byKey: ReadonlyMap<string, ServiceRecord>;
  readonly byNamespace: ReadonlyMap<string, readonly ServiceRecord[]>;
  readonly canonical: ReadonlySet<ServiceRecord>;
  readonly problems: readonly Problem[];
}

function settleServices(claims: readonly ServiceRecord[], pods: readonly PodRecord[]): SettledServices {
  const problems: Problem[] = [];
  const { services, canonical } = settleHosts(settleAddresses(claims, pods, problems));
  return {
    services,
    byKey: new Map(services.map((service) => [service.key, service])),
    byNamespace: Map.groupBy(services, (service) => service.namespace),
    canonical,
    problems,
  };
}

function bindService(service: ServiceRecord, binder: WaypointBinder): Binding {
  const { object } = service.source;
  if (belongsToGateway(object)) return unbound;
  return binder.bindService({ namespace: service.namespace, labels: object.metadata.labels });
}

/** A policy that cannot be read must not open anything: it becomes one that refuses everything in its scope. */
function convertOrRefuse(policy: AuthorizationPolicyObject, config: MeshConfig): Built<ConvertedPolicy> {
  const problems: Problem[] = [];
  const results = buildEach([policy], problems, (object) => convertPolicy(object, config.rootNamespace));
  if (results.length > 0) return { results, problems };
  const { selector } = policy.spec ?? {};
  const refusal = { ...policy, spec: selector === undefined ? {} : { selector } };
  return { results: [{ ...convertPolicy(refusal, config.rootNamespace), policy }], problems };
}

/** Selecting policies that may apply in a namespace: its own and the root namespace's, in the order of lists. */
function groupSelecting(
  policies: readonly ConvertedPolicy[],
  rootNamespace: string,
): (namespace: string) => readonly ConvertedPolicy[] {
  const selecting = policies.filter(({ selector }) => selector !== undefined);
  const byNamespace = Map.groupBy(selecting, ({ policy }) => policy.metadata.namespace ?? "");
  const ofRoot = byNamespace.get(rootNamespace) ?? [];
  return (namespace) => {
    const own = byNamespace.get(namespace) ?? [];
    if (namespace === rootNamespace) return ofRoot;
    return `${namespace}/` < `${rootNamespace}/` ? [...own, ...ofRoot] : [...ofRoot, ...own];
  };
}

function partition<T>(items: readonly T[], test: (item: T) => boolean): [T[], T[]] {
  const yes: T[] = [];
  const no: T[] = [];
  for (const item of items) (test(item) ? yes : no).push(item);
  return [yes, no];
}
