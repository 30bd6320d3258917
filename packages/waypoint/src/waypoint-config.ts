import { fromBinary } from "@bufbuild/protobuf";
import { hairpinWaypoint } from "@hairpin/shared/api";
import { formatNamespacedHostname } from "@hairpin/shared/model";
import { createSubscription, type ResourceHandler, type ResourceUpdate, type Subscription } from "@hairpin/shared/xds";
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
  /** Policies of each Service that the pod backs on the port: every set must allow. */
  policiesOf(port: number): readonly (readonly CompiledPolicy[])[];
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

  /** Undefined until control told us who we are. */
  get gateway(): Gateway | undefined {
    return this.#gateways.values().next().value;
  }

  /** Policies that target the Gateway or its class: for all traffic. */
  get gatewayPolicies(): readonly CompiledPolicy[] {
    return this.gateway?.policies ?? [];
  }

  /** Is this SPIFFE ID a ztunnel whose word about the caller is taken? */
  trustsHairpinFrom(spiffeId: string): boolean {
    return this.gateway?.hairpinSources.has(spiffeId) === true;
  }

  subscriptions(): readonly Subscription[] {
    const { WaypointSchema, ServiceSchema, WorkloadSchema } = hairpinWaypoint;
    return [
      createSubscription(
        { typeUrl: typeUrl("Waypoint"), decode: (bytes) => fromBinary(WaypointSchema, bytes) },
        handler<hairpinWaypoint.Waypoint>(
          (name, waypoint) => void this.#gateways.set(name, compileGateway(waypoint)),
          (name) => void this.#gateways.delete(name),
        ),
      ),
      createSubscription(
        { typeUrl: typeUrl("Service"), decode: (bytes) => fromBinary(ServiceSchema, bytes) },
        handler<hairpinWaypoint.Service>(
          (name, service) => this.#putService(name, service),
          (name) => this.#removeService(name),
        ),
      ),
      createSubscription(
        { typeUrl: typeUrl("Workload"), decode: (bytes) => fromBinary(WorkloadSchema, bytes) },
        handler<hairpinWaypoint.Workload>(
          (name, workload) => this.#putWorkload(name, workload),
          (name) => this.#removeWorkload(name),
        ),
      ),
    ];
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

function typeUrl(message: string): string {
  return `type.googleapis.com/hairpin.waypoint.v1.${message}`;
}

/** Applies resources one by one; one that cannot be compiled is refused with the reason and its last good version stays. */
function handler<T>(put: (name: string, resource: T) => void, remove: (name: string) => void): ResourceHandler<T> {
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
    return [port, { port, protocol: protocols[protocol] ?? "unknown", routes: compileRouteTable(routes), tcpRoutes }];
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
  return {
    uid: workload.uid,
    protocolOf: (port) => portProtocols.get(port) ?? "unknown",
    policiesOf: (port) => {
      const applying = policies.filter(({ ports }) => ports.size === 0 || ports.has(port));
      return Object.values(Object.groupBy(applying, ({ service }) => service)).map((set = []) =>
        set.map(({ policy }) => policy),
      );
    },
  };
}
