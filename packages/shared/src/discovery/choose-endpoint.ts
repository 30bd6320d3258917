import type { Identity, IpAddress, Service, Workload } from "../model/index.ts";
import { parseSpiffeId } from "../model/index.ts";
import type { EndpointChoice, Unavailable } from "./choice.ts";
import { type Candidate, Candidates, candidatesOf, servingOf } from "./endpoint-candidates.ts";
import type { MeshLookup } from "./mesh-lookup.ts";

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
  readonly accept?: ((workload: Workload) => boolean) | undefined;
  /** `waypoint`: the service need not declare the port if the endpoint has an application tunnel. Default `standard`. */
  readonly purpose?: "standard" | "waypoint";
}

/** Draws from what is kept before those that are not accepted are sorted out. */
const drawsBeforeSorting = 4;

/**
 * Picks one endpoint of a service (ztunnel.md §2): those that are reachable and serve the port, of the best locality
 * rank, at random by capacity. No retry, no memory: each call is a new draw. O(log(endpoints)); O(endpoints) for the first
 * call after a change, and where `accept` takes few of them.
 */
export function chooseEndpoint(state: Pick<MeshLookup, "endpointsOf">, request: EndpointRequest): EndpointChoice {
  const { service, servicePort, source, accept } = request;
  const declared = service.ports.find((port) => port.servicePort === servicePort);
  if (declared === undefined && request.purpose !== "waypoint")
    return noUpstream(`${service.hostname} has no port ${servicePort}`);
  const endpoints = state.endpointsOf(service);
  const query = { loadBalancing: service.loadBalancing, servicePort, targetPort: declared?.targetPort ?? 0, source };
  const candidates = candidatesOf(endpoints, query);
  const chosen = draw(candidates, request);
  if (chosen) return addressOf(chosen, request);
  const accepted = accept ? new Candidates(servingOf(endpoints, query, accept), query) : candidates;
  const sorted = accept && accepted.draw(request.random());
  if (sorted) return addressOf(sorted, request);
  return noUpstream(whyNone(service, servicePort, { known: endpoints.length, serving: accepted.serving }));
}

/** One that is accepted has the best rank of all, so it has the best of those that are. */
function draw(candidates: Candidates, { accept, random }: EndpointRequest): Candidate | undefined {
  for (let i = 0; i < drawsBeforeSorting; i++) {
    const candidate = candidates.draw(random());
    if (!candidate || !accept || accept(candidate.endpoint.workload)) return candidate;
  }
  return undefined;
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

/** What a candidate was chosen as, and for which request: callers of a service mostly ask alike, and get the same value. */
const addressed = new WeakMap<
  Candidate,
  { readonly service: Service; readonly originalIp: IpAddress | undefined; readonly choice: EndpointChoice }
>();

function addressOf(chosen: Candidate, request: EndpointRequest): EndpointChoice {
  const { service, originalIp } = request;
  const before = addressed.get(chosen);
  if (before?.service === service && before.originalIp === originalIp) return before.choice;
  const choice = findAddress(chosen, request);
  addressed.set(chosen, { service, originalIp, choice });
  return choice;
}

function findAddress(chosen: Candidate, request: EndpointRequest): EndpointChoice {
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
