import { type ConnectionFacts, type Decision, evaluate, refuseMissingPolicy } from "../authz/index.ts";
import type { istioSecurity, istioWorkload } from "../api/index.ts";
import {
  type AuthorizationPolicy,
  formatNamespacedHostname,
  type IpAddress,
  type NamespacedHostname,
  policyKey,
  type Service,
  type Workload,
} from "../model/index.ts";
import type { Clock } from "../process/index.ts";
import { createSubscription, type ResourceUpdate, type Subscription } from "../xds/index.ts";
import { ChangeRecorder } from "./change-recorder.ts";
import { dumpState, type StateDump } from "./dump-state.ts";
import { addressType, authorizationType } from "./from-wire.ts";
import type { MeshChangeListener } from "./mesh-change.ts";
import type { AddressTarget, EffectivePolicies, MeshLookup, PodInfo, ServiceEndpoint } from "./mesh-lookup.ts";
import type { MeshContent, MeshUpdate, UnreadablePolicy } from "./mesh-update.ts";
import { policyFromWire, policyScopeFromWire } from "./policy-from-wire.ts";
import { PolicyStore } from "./policy-store.ts";
import { serviceFromWire } from "./service-from-wire.ts";
import { ServiceStore } from "./service-store.ts";
import { emptyStateFile, type StateFile } from "./state-file.ts";
import { waitFor } from "./wait-for.ts";
import { defaultWireDefaults, type WireDefaults, workloadFromWire } from "./workload-from-wire.ts";
import { isPod, WorkloadStore } from "./workload-store.ts";

export interface MeshStateOptions {
  readonly wireDefaults?: WireDefaults;
  /** Own cluster: its pods win among pods of one name. Default `Kubernetes`. */
  readonly clusterId?: string;
  /** Where mesh-wide policies live. Default `istio-system`. */
  readonly rootNamespace?: string;
}

/** How long a new connection waits for a policy that its destination lists and that is not held. */
export const missingPolicyTimeoutMs = 5_000;

/**
 * What this proxy knows of the mesh: the handler of WDS and WADS, and the answers to lookups. Nothing is ever cleared
 * because the control plane went away. Updates apply at once; listeners run synchronously after each.
 */
export class MeshState implements MeshLookup, MeshContent {
  readonly #clock: Clock;
  readonly #wireDefaults: WireDefaults;
  readonly #workloads: WorkloadStore;
  readonly #services = new ServiceStore();
  readonly #policies: PolicyStore;
  readonly #listeners = new Set<MeshChangeListener>();
  #generation = 0;
  #stateFile: StateFile = emptyStateFile;

  constructor(components: { readonly clock: Clock }, options: MeshStateOptions = {}) {
    this.#clock = components.clock;
    this.#wireDefaults = options.wireDefaults ?? defaultWireDefaults;
    this.#workloads = new WorkloadStore(options.clusterId ?? defaultWireDefaults.clusterId);
    this.#policies = new PolicyStore(options.rootNamespace ?? "istio-system");
  }

  /** WADS, then WDS: in the order in which they should be requested. */
  subscriptions(): readonly Subscription[] {
    return [
      createSubscription(authorizationType, { apply: (update) => this.applyAuthorization(update) }),
      createSubscription(addressType, { apply: (update) => this.applyAddress(update) }),
    ];
  }

  /** Applies one WDS response; returns the refused names with reasons. A refused update leaves the last good version. */
  applyAddress(update: ResourceUpdate<istioWorkload.Address>): ReadonlyMap<string, string> {
    const rejected = new Map<string, string>();
    const changes = new ChangeRecorder();
    for (const name of update.removed) this.#removeAddress(name, changes);
    for (const { name, resource } of update.upserts)
      recordRejection(rejected, name, () => this.#applyAddress(name, resource, changes));
    this.#notify(changes);
    return rejected;
  }

  /** Applies one WADS response; returns the refused names with reasons. */
  applyAuthorization(update: ResourceUpdate<istioSecurity.Authorization>): ReadonlyMap<string, string> {
    const rejected = new Map<string, string>();
    const changes = new ChangeRecorder();
    const named = new Set([...update.upserts, ...update.undecodable].map((resource) => resource.name));
    if (update.firstOfStream)
      for (const { key } of this.#policies.unreadable()) if (!named.has(key)) this.#removePolicy(key, changes);
    for (const key of update.removed) this.#removePolicy(key, changes);
    for (const { name, reason } of update.undecodable)
      if (this.#policies.setUnreadable({ key: name, reason, scope: undefined })) changes.policy(name);
    for (const { name, resource } of update.upserts) {
      const reason = recordRejection(rejected, name, () => this.#setPolicy(name, policyFromWire(resource), changes));
      if (reason === undefined) continue;
      const scope = policyScopeFromWire(resource);
      if (this.#policies.setUnreadable({ key: name, reason, scope })) changes.policy(name);
    }
    this.#notify(changes);
    return rejected;
  }

  /** Applies what another thread's mesh made of an update: see {@link MeshUpdate}. */
  applyUpdate(update: MeshUpdate): void {
    const changes = new ChangeRecorder();
    for (const name of [...update.removedWorkloads, ...update.removedServices]) this.#removeAddress(name, changes);
    for (const key of update.removedPolicies) this.#removePolicy(key, changes);
    for (const policy of update.unreadablePolicies) {
      this.#policies.delete(policy.key);
      this.#policies.setUnreadable(policy);
      changes.policy(policy.key);
    }
    for (const policy of update.policies) this.#setPolicy(policyKey(policy), policy, changes);
    for (const service of update.services) this.#setService(service, changes);
    for (const workload of update.workloads) this.#setWorkload(workload, changes);
    this.#notify(changes);
  }

  /** Adds what a local state file holds (ztunnel's LOCAL_XDS), next to what xDS brings. */
  loadStateFile(file: StateFile): void {
    this.#stateFile = file;
    const changes = new ChangeRecorder();
    for (const policy of file.policies) this.#setPolicy(policyKey(policy), policy, changes);
    for (const service of file.services) this.#setService(service, changes);
    for (const workload of file.workloads) this.#setWorkload(workload, changes);
    this.#notify(changes);
  }

  findWorkloadByIp(network: string, ip: IpAddress): Workload | undefined {
    return this.#workloads.findByIp(network, ip);
  }

  findWorkloadByUid(uid: string): Workload | undefined {
    return this.#workloads.get(uid);
  }

  findWorkloadByHostname(name: NamespacedHostname): Workload | undefined {
    return this.#workloads.findByHostname(name);
  }

  findWorkloadByPod(pod: PodInfo): Workload | undefined {
    return this.#workloads.findByPod(pod);
  }

  fetchWorkloadByPod(pod: PodInfo, timeoutMs: number): Promise<Workload | undefined> {
    return waitFor(this, () => this.findWorkloadByPod(pod), { clock: this.#clock, timeoutMs });
  }

  findServiceByVip(network: string, ip: IpAddress, clientNamespace: string): Service | undefined {
    return this.#services.findByVip(network, ip, clientNamespace);
  }

  findServiceByHostname(hostname: string, clientNamespace: string): Service | undefined {
    return this.#services.findByHostname(hostname, clientNamespace);
  }

  servicesByHostname(hostname: string): readonly Service[] {
    return this.#services.byHostname(hostname);
  }

  findService(key: string): Service | undefined {
    return this.#services.get(key);
  }

  findAddress(network: string, ip: IpAddress, clientNamespace: string): AddressTarget | undefined {
    return (
      asWorkload(this.findWorkloadByIp(network, ip)) ?? asService(this.findServiceByVip(network, ip, clientNamespace))
    );
  }

  findUpstream(network: string, ip: IpAddress, clientNamespace: string): AddressTarget | undefined {
    const workload = this.findWorkloadByIp(network, ip);
    // A range that somebody wrote into a ServiceEntry never takes the calls to a pod's own address.
    const service =
      workload && isPod(workload)
        ? this.#services.findByExactVip(network, ip, clientNamespace)
        : this.findServiceByVip(network, ip, clientNamespace);
    return asService(service) ?? asWorkload(workload);
  }

  endpointsOf(service: Service): readonly ServiceEndpoint[] {
    return this.#services.endpointsOf(service);
  }

  services(): Iterable<Service> {
    return this.#services.values();
  }

  workloads(): Iterable<Workload> {
    return this.#workloads.values();
  }

  policies(): Iterable<AuthorizationPolicy> {
    return this.#policies.values();
  }

  findPolicy(key: string): AuthorizationPolicy | undefined {
    return this.#policies.get(key);
  }

  findUnreadablePolicy(key: string): UnreadablePolicy | undefined {
    return this.#policies.getUnreadable(key);
  }

  unreadablePolicies(): Iterable<UnreadablePolicy> {
    return this.#policies.unreadable();
  }

  policiesFor(workload: Workload): EffectivePolicies {
    return this.#policies.policiesFor(workload);
  }

  get generation(): number {
    return this.#generation;
  }

  authorize(workload: Workload, facts: ConnectionFacts): Decision {
    return decide(this.policiesFor(this.#current(workload)), facts);
  }

  async authorizeWhenKnown(
    workload: Workload,
    facts: ConnectionFacts,
    timeoutMs: number = missingPolicyTimeoutMs,
  ): Promise<Decision> {
    const settled = (): Decision | undefined => {
      const policies = this.policiesFor(this.#current(workload));
      const decision = decide(policies, facts);
      const mayStillCome = policies.missing.some((key) => !policies.unreadable.has(key));
      return decision.policyMissing && mayStillCome ? undefined : decision;
    };
    const decision = await waitFor(this, settled, { clock: this.#clock, timeoutMs });
    return decision ?? this.authorize(workload, facts);
  }

  onChange(listener: MeshChangeListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** `workloads`, `services`, `policies`, `stagedServices` and `staticConfig` of ztunnel's /config_dump. */
  dumpState(): StateDump {
    return dumpState({
      workloads: this.#workloads.values(),
      services: this.#services.values(),
      policies: this.#policies.values(),
      endpointsOf: (service) => this.endpointsOf(service),
      staged: this.#services.staged(),
      stateFile: this.#stateFile,
    });
  }

  /** As it is known now: a connection may hold an older version that lists fewer policies. */
  #current(workload: Workload): Workload {
    return this.findWorkloadByUid(workload.uid) ?? workload;
  }

  #applyAddress(name: string, address: istioWorkload.Address, changes: ChangeRecorder): void {
    const { type } = address;
    switch (type.case) {
      case "workload": {
        const workload = workloadFromWire(type.value, this.#wireDefaults);
        requireName(name, workload.uid);
        return this.#setWorkload(workload, changes);
      }
      case "service": {
        const service = serviceFromWire(type.value);
        requireName(name, formatNamespacedHostname(service));
        return this.#setService(service, changes);
      }
      case undefined:
        throw new Error("the address holds neither a workload nor a service");
      default:
        throw new Error(`Unknown address ${JSON.stringify(type satisfies never)}`);
    }
  }

  #setWorkload(workload: Workload, changes: ChangeRecorder): void {
    const before = this.#workloads.set(workload);
    changes.workload(before, workload);
    changes.services(this.#services.moveEndpoints(before, workload));
  }

  #setService(service: Service, changes: ChangeRecorder): void {
    this.#services.set(service);
    changes.services([formatNamespacedHostname(service)]);
  }

  #setPolicy(name: string, policy: AuthorizationPolicy, changes: ChangeRecorder): void {
    requireName(name, policyKey(policy));
    this.#policies.set(policy);
    changes.policy(name);
  }

  #removePolicy(key: string, changes: ChangeRecorder): void {
    if (this.#policies.delete(key)) changes.policy(key);
  }

  /** A name is a uid first; else a service's, which has exactly one slash (ztunnel.md §6). Others are ignored. */
  #removeAddress(name: string, changes: ChangeRecorder): void {
    const workload = this.#workloads.delete(name);
    if (workload) {
      changes.workload(workload, undefined);
      changes.services(this.#services.moveEndpoints(workload, undefined));
    } else if (this.#services.delete(name)) changes.services([name]);
  }

  #notify(changes: ChangeRecorder): void {
    const change = changes.take();
    if (change === undefined) return;
    this.#generation++;
    for (const listener of this.#listeners) listener(change);
  }
}

/** What is held decides first: a DENY that matches needs no other policy. Else anything missing refuses. */
function decide({ policies, missing, unreadable }: EffectivePolicies, facts: ConnectionFacts): Decision {
  const decision = evaluate(policies, facts);
  const key = missing[0];
  if (key === undefined || (!decision.allowed && decision.policy !== undefined)) return decision;
  const reason = unreadable.get(key);
  return reason === undefined
    ? refuseMissingPolicy(key)
    : refuseMissingPolicy(key, `policy ${key} could not be read: ${reason}`);
}

function asWorkload(workload: Workload | undefined): AddressTarget | undefined {
  return workload && { kind: "workload", workload };
}

function asService(service: Service | undefined): AddressTarget | undefined {
  return service && { kind: "service", service };
}

function requireName(name: string, own: string): void {
  if (name !== own) throw new Error(`the resource is named ${JSON.stringify(own)} inside`);
}

/** Runs a step; what it throws is the reason why the resource is refused. */
function recordRejection(rejected: Map<string, string>, name: string, step: () => void): string | undefined {
  try {
    step();
    return undefined;
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    rejected.set(name, reason);
    return reason;
  }
}
