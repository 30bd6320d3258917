/** `/config_dump`'s state as ztunnel prints it (and `istioctl ztunnel-config` reads it): names, shapes, order, what is left out. */
import {
  type AuthorizationPolicy,
  formatNamespacedHostname,
  formatNetworkAddress,
  formatSpiffeId,
  type GatewayAddress,
  policyKey,
  type PolicyMatch,
  type PortMapping,
  type Service,
  type StringMatch,
  type Workload,
} from "../model/index.ts";
import type { ServiceEndpoint } from "./mesh-lookup.ts";
import type { StateFile } from "./state-file.ts";
import { formatGatewayDestination } from "./waypoint-for.ts";

/** Plain JSON. */
export type JsonObject = Readonly<Record<string, unknown>>;

export interface StateDump {
  /** Sorted by uid. */
  readonly workloads: readonly JsonObject[];
  /** Sorted by host name, then namespace. */
  readonly services: readonly JsonObject[];
  /** Sorted by `namespace/name`. */
  readonly policies: readonly JsonObject[];
  readonly stagedServices: JsonObject;
  readonly staticConfig: {
    readonly workloads: readonly JsonObject[];
    readonly services: readonly JsonObject[];
    readonly policies: readonly JsonObject[];
  };
}

export interface DumpInput {
  readonly workloads: Iterable<Workload>;
  readonly services: Iterable<Service>;
  readonly policies: Iterable<AuthorizationPolicy>;
  readonly endpointsOf: (service: Service) => readonly ServiceEndpoint[];
  readonly staged: ReadonlyMap<string, readonly ServiceEndpoint[]>;
  readonly stateFile: StateFile;
}

export function dumpState(input: DumpInput): StateDump {
  const { stateFile } = input;
  const staged = sortedBy(input.staged, ([key]) => key);
  return {
    workloads: sortedBy(input.workloads, (workload) => workload.uid).map(dumpWorkload),
    services: sortedBy(input.services, serviceOrder).map((service) => dumpService(service, input.endpointsOf(service))),
    policies: sortedBy(input.policies, policyKey).map(dumpPolicy),
    stagedServices: Object.fromEntries(staged.map(([key, endpoints]) => [key, dumpEndpoints(endpoints)])),
    staticConfig: {
      workloads: stateFile.workloads.map(dumpWorkload),
      services: stateFile.services.map((service) => dumpService(service, [])),
      policies: stateFile.policies.map(dumpPolicy),
    },
  };
}

export function dumpWorkload(workload: Workload): JsonObject {
  const { locality, applicationTunnel, enforcement, waypointBinding } = workload;
  return present({
    uid: workload.uid,
    name: workload.name,
    namespace: workload.namespace,
    workloadIps: workload.addresses,
    protocol: workload.tunnelProtocol === "HBONE" ? "HBONE" : "TCP",
    networkMode: workload.hostNetwork ? "HostNetwork" : "Standard",
    trustDomain: workload.trustDomain,
    serviceAccount: workload.serviceAccount,
    network: unlessEmpty(workload.network),
    hostname: unlessEmpty(workload.hostname),
    node: unlessEmpty(workload.node),
    workloadName: unlessEmpty(workload.workloadName),
    workloadType: workload.workloadType.toLowerCase(),
    canonicalName: unlessEmpty(workload.canonicalName),
    canonicalRevision: unlessEmpty(workload.canonicalRevision),
    nativeTunnel: workload.nativeTunnel || undefined,
    applicationTunnel: applicationTunnel && {
      protocol: applicationTunnel.protocol,
      port: applicationTunnel.port || undefined,
    },
    waypoint: workload.waypoint && dumpGateway(workload.waypoint),
    networkGateway: workload.networkGateway && dumpGateway(workload.networkGateway),
    authorizationPolicies: unlessNone(workload.authorizationPolicies.toSorted()),
    status: dumpStatus(workload),
    clusterId: workload.clusterId,
    locality: unlessBare({
      region: unlessEmpty(locality.region),
      zone: unlessEmpty(locality.zone),
      subzone: unlessEmpty(locality.subzone),
    }),
    services: unlessNone([...workload.services.keys()].sort()),
    capacity: workload.capacity,
    // Hairpin's own; readers of ztunnel's format skip what they do not know.
    hairpinEnforcement: enforcement && {
      ...enforcement,
      acceptedIdentities: enforcement.acceptedIdentities.map(formatSpiffeId),
      ...(enforcement.mode === "hairpin" && {
        hairpinTo: dumpGateway(enforcement.hairpinTo),
        hairpinIdentities: enforcement.hairpinIdentities.map(formatSpiffeId),
      }),
    },
    hairpinBinding: waypointBinding,
  });
}

export function dumpService(service: Service, endpoints: readonly ServiceEndpoint[]): JsonObject {
  return present({
    name: service.name,
    namespace: service.namespace,
    hostname: service.hostname,
    vips: service.vips.map(formatNetworkAddress),
    cidrVips: unlessNone(
      service.cidrVips.map(({ network, cidr }) => ({ network, cidr: `${cidr.ip}/${cidr.prefixLength}` })),
    ),
    ports: dumpPorts(service.ports),
    endpoints: dumpEndpoints(endpoints),
    subjectAltNames: service.subjectAltNames,
    waypoint: service.waypoint && dumpGateway(service.waypoint),
    weightedWaypoints: unlessNone(
      service.weightedWaypoints.map(({ destination, weight }) => ({ destination: dumpGateway(destination), weight })),
    ),
    loadBalancer: dumpLoadBalancer(service.loadBalancing),
    ipFamilies: ipFamilyNames[service.ipFamilies],
    canonical: service.canonical,
    visibility: service.visibility === "PUBLIC" ? "Public" : "Namespace",
    hairpinBinding: service.waypointBinding,
  });
}

export function dumpPolicy(policy: AuthorizationPolicy): JsonObject {
  return {
    name: policy.name,
    namespace: policy.namespace,
    scope: policyScopeNames[policy.scope],
    action: policy.action === "DENY" ? "Deny" : "Allow",
    rules: policy.rules.map((rule) => rule.clauses.map((matches) => matches.map(dumpMatch))),
    dryRun: policy.dryRun,
  };
}

const policyScopeNames = { GLOBAL: "Global", NAMESPACE: "Namespace", WORKLOAD_SELECTOR: "WorkloadSelector" } as const;
const ipFamilyNames = { AUTOMATIC: undefined, IPV4_ONLY: "IPv4", IPV6_ONLY: "IPv6", DUAL: "Dual" } as const;
const stringMatchNames = { exact: "Exact", prefix: "Prefix", suffix: "Suffix" } as const;

function dumpEndpoints(endpoints: readonly ServiceEndpoint[]): JsonObject {
  const sorted = sortedBy(endpoints, ({ workload }) => workload.uid);
  return Object.fromEntries(
    sorted.map(({ workload, ports }) => [
      workload.uid,
      { workloadUid: workload.uid, port: dumpPorts(ports), status: dumpStatus(workload) },
    ]),
  );
}

function dumpPorts(ports: readonly PortMapping[]): JsonObject {
  return Object.fromEntries(ports.map(({ servicePort, targetPort }) => [String(servicePort), targetPort]));
}

function dumpStatus(workload: Workload): string {
  return workload.healthy ? "Healthy" : "Unhealthy";
}

function dumpGateway(address: GatewayAddress): JsonObject {
  return { destination: formatGatewayDestination(address), hboneMtlsPort: address.hboneMtlsPort };
}

function dumpLoadBalancer({ mode, routingPreferences, allowUnhealthy }: Service["loadBalancing"]): unknown {
  if (mode === "STANDARD" && !allowUnhealthy && routingPreferences.length === 0) return undefined;
  return {
    mode: capitalised(mode),
    routingPreferences: routingPreferences.map(capitalised),
    healthPolicy: allowUnhealthy ? "AllowAll" : "OnlyHealthy",
  };
}

function dumpMatch(match: PolicyMatch): JsonObject {
  const fields: Readonly<Record<string, readonly MatchValue[]>> = { ...match };
  return present(
    Object.fromEntries(
      Object.entries(fields).map(([field, values]) => [field, unlessNone(values.map(dumpMatchValue))]),
    ),
  );
}

type MatchValue = PolicyMatch[keyof PolicyMatch][number];

function dumpMatchValue(value: MatchValue): unknown {
  if (typeof value === "number") return value;
  if ("kind" in value) return dumpString(value);
  return "ip" in value ? `${value.ip}/${value.prefixLength}` : value;
}

function dumpString(match: StringMatch): JsonObject {
  return match.kind === "presence" ? { Presence: [] } : { [stringMatchNames[match.kind]]: match.value };
}

function serviceOrder(service: Service): string {
  return `${service.hostname} ${formatNamespacedHostname(service)}`;
}

function sortedBy<T>(values: Iterable<T>, keyOf: (value: T) => string): readonly T[] {
  return [...values]
    .map((value) => ({ value, key: keyOf(value) }))
    .sort(byKey)
    .map(({ value }) => value);
}

/** By code unit, not by language: the same on every machine. */
function byKey(a: { readonly key: string }, b: { readonly key: string }): number {
  return a.key < b.key ? -1 : a.key > b.key ? 1 : 0;
}

function capitalised(text: string): string {
  return text.charAt(0) + text.slice(1).toLowerCase();
}

function present(fields: Record<string, unknown>): JsonObject {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined));
}

function unlessEmpty(text: string): string | undefined {
  return text === "" ? undefined : text;
}

function unlessNone<T>(values: readonly T[]): readonly T[] | undefined {
  return values.length === 0 ? undefined : values;
}

function unlessBare(fields: Record<string, unknown>): JsonObject | undefined {
  const kept = present(fields);
  return Object.keys(kept).length === 0 ? undefined : kept;
}
