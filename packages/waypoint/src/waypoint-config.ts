import { fromBinary } from "@bufbuild/protobuf";
import { hairpinWaypoint } from "@hairpin/shared/api";
import { formatNamespacedHostname } from "@hairpin/shared/model";
import { createSubscription, type ResourceHandler, type ResourceUpdate, type Subscription } from "@hairpin/shared/xds";
import { PolicySet } from "./policy/authorize.ts";
import { compilePolicy, type CompiledPolicy } from "./policy/compile-policy.ts";
import { compileRouteTable, type RouteTable } from "./route/route-table.ts";

export type PortProtocol = "unknown" | "http1" | "http2" | "grpc" | "tcp" | "tls";

/** A port of a service that this waypoint manages. */
export interface ManagedPort {
  readonly port: number;
  readonly protocol: PortProtocol;
  readonly routes: RouteTable;
  /** TCP routes, in the order of precedence. */
  readonly tcpRoutes: readonly hairpinWaypoint.Route[];
  /** Names of all routes, for the admin page. */
  readonly routeNames: readonly string[];
}

/** A service that this waypoint manages. */
export interface ManagedService {
  readonly namespace: string;
  readonly hostname: string;
  readonly ports: ReadonlyMap<number, ManagedPort>;
  readonly policies: readonly CompiledPolicy[];
  /** Undefined: all endpoints; else only these workload uids. */
  readonly onlyWorkloads: ReadonlySet<string> | undefined;
}

/** A pod that this waypoint manages, for calls to the pod's own address. */
export interface ManagedWorkload {
  readonly uid: string;
  protocolOf(port: number): PortProtocol;
  /** Policies by Service that the pod backs on the target port; Services without policies are not there. */
  policiesOf(port: number): ReadonlyMap<string, readonly CompiledPolicy[]>;
}

interface Gateway {
  readonly name: string;
  readonly policies: readonly CompiledPolicy[];
  readonly hairpinSources: ReadonlySet<string>;
  readonly trustDomain: string;
}

const protocols: readonly PortProtocol[] = ["unknown", "http1", "http2", "grpc", "tcp", "tls"];

/**
 * What control told this waypoint, compiled and indexed. Each resource is compiled once, when it arrives; requests only look
 * up. Held values are immutable: a request goes on with those it started with.
 */
export class WaypointConfig {
  readonly #gateways = new Map<string, Gateway>();
  readonly #services = new Map<string, ManagedService>();
  readonly #workloads = new Map<string, ManagedWorkload>();
  /** Resource name → key in the map above, for removals. */
  readonly #serviceKeys = new Map<string, string>();
  readonly #workloadKeys = new Map<string, string>();
  readonly #listeners = new Set<() => void>();
  /** The gateway's policies joined with others, until the gateway changes. */
  #joined = new WeakMap<readonly CompiledPolicy[], PolicySet>();

  /** By `namespace/hostname`. */
  findService(key: string): ManagedService | undefined {
    return this.#services.get(key);
  }

  findWorkload(uid: string): ManagedWorkload | undefined {
    return this.#workloads.get(uid);
  }

  services(): Iterable<ManagedService> {
    return this.#services.values();
  }

  workloads(): Iterable<ManagedWorkload> {
    return this.#workloads.values();
  }

  /** Undefined until control told us who we are: nothing may be served then, since the policies of all traffic are not known. */
  get gateway(): Gateway | undefined {
    return this.#gateways.values().next().value;
  }

  /** Policies that target the Gateway or its class, for all traffic, and those given, as one set. */
  policySet(policies: readonly CompiledPolicy[] = none): PolicySet {
    let set = this.#joined.get(policies);
    if (!set) {
      set = new PolicySet([...(this.gateway?.policies ?? []), ...policies]);
      this.#joined.set(policies, set);
    }
    return set;
  }

  /** Is this SPIFFE ID a ztunnel whose word about the caller is taken? */
  trustsHairpinFrom(spiffeId: string): boolean {
    return this.gateway?.hairpinSources.has(spiffeId) === true;
  }

  /** Calls back, synchronously, after an update. Returns what takes the listener off. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  subscriptions(): readonly Subscription[] {
    const { WaypointSchema, ServiceSchema, WorkloadSchema } = hairpinWaypoint;
    const changed = (): void => {
      for (const listener of this.#listeners) listener();
    };
    return [
      createSubscription(
        { typeUrl: typeUrl("Waypoint"), decode: (bytes) => fromBinary(WaypointSchema, bytes) },
        handler<hairpinWaypoint.Waypoint>(
          (name, waypoint) => this.#putGateway(name, waypoint),
          (name) => this.#removeGateway(name),
          changed,
        ),
      ),
      createSubscription(
        { typeUrl: typeUrl("Service"), decode: (bytes) => fromBinary(ServiceSchema, bytes) },
        handler<hairpinWaypoint.Service>(
          (name, service) => this.#putService(name, service),
          (name) => this.#removeService(name),
          changed,
        ),
      ),
      createSubscription(
        { typeUrl: typeUrl("Workload"), decode: (bytes) => fromBinary(WorkloadSchema, bytes) },
        handler<hairpinWaypoint.Workload>(
          (name, workload) => this.#putWorkload(name, workload),
          (name) => this.#removeWorkload(name),
          changed,
        ),
      ),
    ];
  }

  #putGateway(name: string, waypoint: hairpinWaypoint.Waypoint): void {
    this.#gateways.set(name, compileGateway(waypoint));
    this.#joined = new WeakMap();
  }

  #removeGateway(name: string): void {
    this.#gateways.delete(name);
    this.#joined = new WeakMap();
  }

  #putService(name: string, service: hairpinWaypoint.Service): void {
    const key = formatNamespacedHostname(service);
    this.#serviceKeys.set(name, key);
    this.#services.set(key, compileService(service));
  }

  #removeService(name: string): void {
    const key = this.#serviceKeys.get(name);
    this.#serviceKeys.delete(name);
    if (key !== undefined) this.#services.delete(key);
  }

  #putWorkload(name: string, workload: hairpinWaypoint.Workload): void {
    this.#workloadKeys.set(name, workload.uid);
    this.#workloads.set(workload.uid, compileWorkload(workload));
  }

  #removeWorkload(name: string): void {
    const key = this.#workloadKeys.get(name);
    this.#workloadKeys.delete(name);
    if (key !== undefined) this.#workloads.delete(key);
  }
}

const none: readonly CompiledPolicy[] = [];

function typeUrl(message: string): string {
  return `type.googleapis.com/hairpin.waypoint.v1.${message}`;
}

/** Applies resources one by one; one that cannot be compiled is refused with the reason and its last good version stays. */
function handler<T>(
  put: (name: string, resource: T) => void,
  remove: (name: string) => void,
  changed: () => void,
): ResourceHandler<T> {
  return {
    apply: (update: ResourceUpdate<T>) => {
      const rejected = new Map<string, string>();
      for (const name of update.removed) remove(name);
      for (const { name, resource } of update.upserts) {
        try {
          put(name, resource);
        } catch (error) {
          rejected.set(name, error instanceof Error ? error.message : String(error));
        }
      }
      changed();
      return rejected;
    },
  };
}

function compileGateway(waypoint: hairpinWaypoint.Waypoint): Gateway {
  return {
    name: `${waypoint.namespace}/${waypoint.name}`,
    policies: waypoint.policies.map(compilePolicy),
    hairpinSources: new Set(waypoint.hairpinSourceIdentities),
    trustDomain: waypoint.trustDomain,
  };
}

function compileService(service: hairpinWaypoint.Service): ManagedService {
  if (service.hostname === "") throw new Error("a managed service has no hostname");
  const ports = service.ports.map(({ port, protocol, routes }): [number, ManagedPort] => {
    const tcpRoutes = routes.filter(({ kind }) => kind === hairpinWaypoint.RouteKind.TCP_ROUTE);
    const routeNames = routes.map(({ namespace, name }) => `${namespace}/${name}`);
    return [
      port,
      {
        port,
        protocol: protocols[protocol] ?? "unknown",
        routes: compileRouteTable(routes),
        tcpRoutes,
        routeNames,
      },
    ];
  });
  return {
    namespace: service.namespace,
    hostname: service.hostname,
    ports: new Map(ports),
    policies: service.policies.map(compilePolicy),
    onlyWorkloads: service.restrictToWorkloads ? new Set(service.onlyWorkloads) : undefined,
  };
}

function compileWorkload(workload: hairpinWaypoint.Workload): ManagedWorkload {
  const portProtocols = new Map(workload.ports.map(({ port, protocol }) => [port, protocols[protocol] ?? "unknown"]));
  const policies = workload.servicePolicies.flatMap(({ policy, targetPorts, service }) =>
    policy ? [{ policy: compilePolicy(policy), ports: new Set(targetPorts), service }] : [],
  );
  const applying = (port: number | undefined): ReadonlyMap<string, readonly CompiledPolicy[]> =>
    groupByService(policies.filter(({ ports }) => ports.size === 0 || (port !== undefined && ports.has(port))));
  const everyPort = applying(undefined);
  const byPort = new Map(
    [...new Set(policies.flatMap(({ ports }) => [...ports]))].map((port) => [port, applying(port)]),
  );
  return {
    uid: workload.uid,
    protocolOf: (port) => portProtocols.get(port) ?? "unknown",
    policiesOf: (port) => byPort.get(port) ?? everyPort,
  };
}

function groupByService(
  policies: readonly { readonly policy: CompiledPolicy; readonly service: string }[],
): ReadonlyMap<string, readonly CompiledPolicy[]> {
  const groups = new Map<string, CompiledPolicy[]>();
  for (const { policy, service } of policies) groups.set(service, [...(groups.get(service) ?? []), policy]);
  return groups;
}
