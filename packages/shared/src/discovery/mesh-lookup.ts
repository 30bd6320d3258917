import type { ConnectionFacts, Decision } from "../authz/index.ts";
import type {
  AuthorizationPolicy,
  IpAddress,
  NamespacedHostname,
  PortMapping,
  Service,
  Workload,
} from "../model/index.ts";
import type { MeshChangeListener } from "./mesh-change.ts";

/** A pod as its node names it (ZDS). */
export interface PodInfo {
  readonly name: string;
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** A workload that serves a service, with its ports for that service. */
export interface ServiceEndpoint {
  readonly workload: Workload;
  readonly ports: readonly PortMapping[];
}

/** The policies that decide a workload's inbound connections. */
export interface EffectivePolicies {
  /** Mesh-wide, then the namespace's, then those the workload lists; each group by key. */
  readonly policies: readonly AuthorizationPolicy[];
  /** Keys that should decide too and are not held. Not empty: wait (at most 5 s), then refuse. */
  readonly missing: readonly string[];
  /** Of those, the ones that did arrive and could not be read, with the reason: waiting will not help soon. */
  readonly unreadable: ReadonlyMap<string, string>;
}

/** Where an address leads. */
export type AddressTarget =
  | { readonly kind: "workload"; readonly workload: Workload }
  | { readonly kind: "service"; readonly service: Service };

/** Read access to the mesh model. Every lookup is O(1) or O(log n) in the size of the mesh; values are immutable. */
export interface MeshLookup {
  /** Counts changes: what was found in the mesh holds as long as this stays the same. */
  readonly generation: number;
  /** Pods first, then HBONE workloads, then the first that came. Host-network workloads are never found by IP. */
  findWorkloadByIp(network: string, ip: IpAddress): Workload | undefined;
  findWorkloadByUid(uid: string): Workload | undefined;
  /** A workload by the host name it carries itself (a VM, a DNS endpoint), within a namespace. */
  findWorkloadByHostname(name: NamespacedHostname): Workload | undefined;
  findWorkloadByPod(pod: PodInfo): Workload | undefined;
  /** As {@link findWorkloadByPod}, and waits for it; undefined after `timeoutMs`. */
  fetchWorkloadByPod(pod: PodInfo, timeoutMs: number): Promise<Workload | undefined>;
  /**
   * A service by virtual IP. Exact addresses before ranges. Of several: those visible to the client's namespace; then its
   * own namespace, then (ranges) the longest prefix, then canonical, then the first that came.
   */
  findServiceByVip(network: string, ip: IpAddress, clientNamespace: string): Service | undefined;
  /** A service by host name; of several the order of {@link findServiceByVip}. Host names are compared in lower case. */
  findServiceByHostname(hostname: string, clientNamespace: string): Service | undefined;
  /** Every service with that host name, visible to a client or not, in the order of their arrival: for DNS, which passes over some. */
  servicesByHostname(hostname: string): readonly Service[];
  /** By `namespace/hostname`. */
  findService(key: string): Service | undefined;
  /** ztunnel's fetch_address: the workload with that IP, else the service. Used for waypoint references and waypoint checks. */
  findAddress(network: string, ip: IpAddress, clientNamespace: string): AddressTarget | undefined;
  /** ztunnel's find_upstream: the service with that virtual IP, else the workload. Used to balance. */
  findUpstream(network: string, ip: IpAddress, clientNamespace: string): AddressTarget | undefined;
  /** Endpoints that may be used: the healthy ones, or all where the service allows unhealthy ones. */
  endpointsOf(service: Service): readonly ServiceEndpoint[];
  /** All services, for DNS (wildcards) and the admin page. */
  services(): Iterable<Service>;
  workloads(): Iterable<Workload>;
  policiesFor(workload: Workload): EffectivePolicies;
  /** Decides now by what is held, for the workload as it is known now: a missing policy refuses (`policyMissing`). For checking open connections again. */
  authorize(workload: Workload, facts: ConnectionFacts): Decision;
  /** Decides a new connection: waits up to `timeoutMs` (default 5,000) for policies that are listed and not held, then refuses. */
  authorizeWhenKnown(workload: Workload, facts: ConnectionFacts, timeoutMs?: number): Promise<Decision>;
  /** Called after each applied update, synchronously. Returns what takes the listener off. */
  onChange(listener: MeshChangeListener): () => void;
}
