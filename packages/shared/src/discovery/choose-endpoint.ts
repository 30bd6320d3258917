import type { Identity, IpAddress, PortMapping, RoutingScope, Service, Workload } from "../model/index.ts";
import { parseSpiffeId } from "../model/index.ts";
import type { EndpointChoice, Unavailable } from "./choice.ts";
import type { MeshLookup, ServiceEndpoint } from "./mesh-lookup.ts";

export interface EndpointRequest {
  readonly service: Service;
  readonly servicePort: number;
  /** Who asks: its network and locality rank the endpoints. */
  readonly source: Workload;
  /** In [0, 1). */
  readonly random: () => number;
  /** The address the client dialled: the chosen IP is of its family if possible, or is this one if the endpoint has it. */
  readonly originalIp?: IpAddress | undefined;
  /** Further restriction, e.g. a waypoint that balances only over pods it covers. */
  readonly accept?: (workload: Workload) => boolean;
  /** `waypoint`: the service need not declare the port if the endpoint has an application tunnel. Default `standard`. */
  readonly purpose?: "standard" | "waypoint";
}

interface Candidate {
  readonly endpoint: ServiceEndpoint;
  readonly port: number;
}

/**
 * Picks one endpoint of a service (ztunnel.md §2): those that are reachable and serve the port, of the best locality
 * rank, at random by capacity. No retry, no memory: each call is a new draw. O(endpoints of the service).
 */
export function chooseEndpoint(state: Pick<MeshLookup, "endpointsOf">, request: EndpointRequest): EndpointChoice {
  const { service, servicePort, source } = request;
  const declared = service.ports.find((port) => port.servicePort === servicePort);
  if (declared === undefined && request.purpose !== "waypoint")
    return noUpstream(`${service.hostname} has no port ${servicePort}`);
  const endpoints = state.endpointsOf(service);
  const serving = endpoints.flatMap((endpoint): Candidate[] => {
    if (request.accept?.(endpoint.workload) === false) return [];
    const port = targetPort(endpoint, servicePort, declared?.targetPort ?? 0);
    return port === undefined || !isReachable(endpoint.workload, source) ? [] : [{ endpoint, port }];
  });
  const ranked = bestRanked(service, serving, source);
  const chosen = weightedPick(ranked, (candidate) => candidate.endpoint.workload.capacity, request.random);
  if (chosen === undefined)
    return noUpstream(whyNone(service, servicePort, { known: endpoints.length, serving: serving.length }));
  return addressOf(chosen, request);
}

/** Draws one value in proportion to its weight; undefined when all weights are 0. */
export function weightedPick<T>(
  values: readonly T[],
  weightOf: (value: T) => number,
  random: () => number,
): T | undefined {
  let total = 0;
  for (const value of values) total += weightOf(value);
  let left = random() * total;
  let last: T | undefined;
  for (const value of values) {
    const weight = weightOf(value);
    if (weight <= 0) continue;
    last = value;
    left -= weight;
    if (left < 0) return value;
  }
  return last;
}

/** Whom an endpoint may prove to be: itself, then the service's alternative names (those that are SPIFFE IDs). */
export function endpointIdentities(workload: Workload, service: Service | undefined): readonly Identity[] {
  const { trustDomain, namespace, serviceAccount } = workload;
  return [{ trustDomain, namespace, serviceAccount }, ...(service?.subjectAltNames ?? []).flatMap(spiffeIdsOf)];
}

/** A ServiceEntry may list DNS names too: those are nobody's identity in the mesh. */
function spiffeIdsOf(name: string): Identity[] {
  if (!name.startsWith("spiffe://")) return [];
  try {
    return [parseSpiffeId(name)];
  } catch {
    return [];
  }
}

/** Endpoint's own mapping, else the service's number, else (with an application tunnel) the service port; else none. */
function targetPort(endpoint: ServiceEndpoint, servicePort: number, serviceTarget: number): number | undefined {
  const mapped = endpoint.ports.find((port: PortMapping) => port.servicePort === servicePort);
  if (mapped !== undefined && mapped.targetPort > 0) return mapped.targetPort;
  if (serviceTarget > 0) return serviceTarget;
  return (endpoint.workload.applicationTunnel?.port ?? 0) > 0 ? servicePort : undefined;
}

/** Endpoints behind another network's gateway need a double tunnel, which is not built: they are left out. */
function isReachable(workload: Workload, source: Workload): boolean {
  if (workload.network !== source.network && workload.networkGateway !== undefined) return false;
  return workload.addresses.length > 0 || workload.hostname !== "";
}

/** STRICT: all scopes match. FAILOVER: the most leading scopes match. Otherwise all. */
function bestRanked(service: Service, candidates: readonly Candidate[], source: Workload): readonly Candidate[] {
  const { mode, routingPreferences } = service.loadBalancing;
  if (mode !== "STRICT" && mode !== "FAILOVER") return candidates;
  const ranks = candidates.map((candidate) => rankOf(candidate.endpoint.workload, source, routingPreferences));
  const wanted = mode === "STRICT" ? fullRank(routingPreferences) : Math.max(...ranks);
  return candidates.filter((_, i) => ranks[i] === wanted);
}

/**
 * How many leading scopes match. A leading NETWORK scope is a preference, not a gate: when it matches, the rank is raised
 * above every remote endpoint's; when not, the scopes after it still count (ztunnel#1980).
 */
function rankOf(workload: Workload, source: Workload, scopes: readonly RoutingScope[]): number {
  const networkFirst = scopes[0] === "NETWORK";
  const sameNetwork = workload.network === source.network;
  const rest = networkFirst ? scopes.slice(1) : scopes;
  const mismatch = rest.findIndex((scope) => scopeValue(workload, scope) !== scopeValue(source, scope));
  const matched = mismatch < 0 ? rest.length : mismatch;
  return networkFirst && sameNetwork ? matched + scopes.length : matched;
}

function fullRank(scopes: readonly RoutingScope[]): number {
  return scopes[0] === "NETWORK" ? 2 * scopes.length - 1 : scopes.length;
}

function scopeValue(workload: Workload, scope: RoutingScope): string {
  switch (scope) {
    case "REGION":
      return workload.locality.region;
    case "ZONE":
      return workload.locality.zone;
    case "SUBZONE":
      return workload.locality.subzone;
    case "NODE":
      return workload.node;
    case "CLUSTER":
      return workload.clusterId;
    case "NETWORK":
      return workload.network;
    default:
      throw new Error(`Unknown routing scope ${JSON.stringify(scope satisfies never)}`);
  }
}

function addressOf(chosen: Candidate, request: EndpointRequest): EndpointChoice {
  const { workload } = chosen.endpoint;
  const identities = endpointIdentities(workload, request.service);
  const ip = pickIp(workload.addresses, request.service.ipFamilies, request.originalIp);
  if (ip !== undefined) return { kind: "found", workload, ip, port: chosen.port, identities };
  if (workload.hostname !== "")
    return { kind: "hostname", workload, hostname: workload.hostname, port: chosen.port, identities };
  return noUpstream(`${workload.uid} has no address of the families of ${request.service.hostname}`);
}

/** The dialled IP if it is one of them; else of the given families, the dialled family first. */
export function pickIp(
  addresses: readonly IpAddress[],
  families: Service["ipFamilies"],
  originalIp: IpAddress | undefined,
): IpAddress | undefined {
  if (originalIp !== undefined && addresses.includes(originalIp)) return originalIp;
  const allowed = addresses.filter((ip) => fitsFamilies(ip, families));
  if (originalIp === undefined) return allowed[0];
  return allowed.find((ip) => isIpv6(ip) === isIpv6(originalIp)) ?? allowed[0];
}

function fitsFamilies(ip: IpAddress, families: Service["ipFamilies"]): boolean {
  if (families === "IPV4_ONLY") return !isIpv6(ip);
  return families !== "IPV6_ONLY" || isIpv6(ip);
}

function isIpv6(ip: IpAddress): boolean {
  return ip.includes(":");
}

function whyNone(service: Service, port: number, count: { known: number; serving: number }): string {
  if (count.known === 0) return `${service.hostname} has no healthy endpoint`;
  if (count.serving === 0)
    return `none of ${count.known} endpoints of ${service.hostname} serves port ${port} from here`;
  return `none of ${count.serving} endpoints of ${service.hostname} is where its load balancing wants them`;
}

function noUpstream(detail: string): Unavailable {
  return { kind: "unavailable", reason: "no healthy upstream", detail };
}
