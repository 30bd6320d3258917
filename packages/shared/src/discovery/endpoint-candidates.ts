import type { PortMapping, RoutingScope, Service, Workload } from "../model/index.ts";
import type { ServiceEndpoint } from "./mesh-lookup.ts";

/** An endpoint that serves the port for a caller. */
export interface Candidate {
  readonly endpoint: ServiceEndpoint;
  readonly port: number;
}

/** What the candidates of a service depend on, besides its endpoints. */
export interface CandidateQuery {
  readonly loadBalancing: Service["loadBalancing"];
  readonly servicePort: number;
  /** The service's own; 0: the endpoint says. */
  readonly targetPort: number;
  readonly source: Workload;
}

/** The candidates of the best locality rank, ready for draws by capacity. */
export class Candidates {
  readonly best: readonly Candidate[];
  /** How many endpoints serve the port, of whatever rank. */
  readonly serving: number;
  /** Sums of the capacities up to each candidate. */
  readonly #ends: Float64Array;

  constructor(serving: readonly Candidate[], query: CandidateQuery) {
    this.best = bestRanked(serving, query);
    this.serving = serving.length;
    this.#ends = new Float64Array(this.best.length);
    let end = 0;
    for (const [i, { endpoint }] of this.best.entries()) this.#ends[i] = end += Math.max(0, endpoint.workload.capacity);
  }

  /** One of the best, in proportion to its capacity; undefined when all capacities are 0. `random`: in [0, 1). O(log n). */
  draw(random: number): Candidate | undefined {
    const ends = this.#ends;
    const at = random * (ends.at(-1) ?? 0);
    let low = 0;
    let high = ends.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((ends[middle] ?? 0) > at) high = middle;
      else low = middle + 1;
    }
    return this.best[low];
  }
}

/** Callers and ports whose candidates are kept for one version of a service: a node has few. */
const maxKept = 64;
/** By the list of endpoints, which is another one for each version of a service. */
const kept = new WeakMap<readonly ServiceEndpoint[], Map<string, Candidates>>();
/** The last query of each port: a waypoint asks the same again and again. */
const lastAnswers = new WeakMap<
  readonly ServiceEndpoint[],
  Map<number, CandidateQuery & { readonly candidates: Candidates }>
>();

/**
 * The candidates among endpoints, for all callers that differ in nothing that counts. O(endpoints) for the first of them,
 * O(1) as long as the service and its endpoints stay what they are.
 */
export function candidatesOf(endpoints: readonly ServiceEndpoint[], query: CandidateQuery): Candidates {
  let answers = lastAnswers.get(endpoints);
  const last = answers?.get(query.servicePort);
  if (last && isSameQuery(last, query)) return last.candidates;
  const candidates = findCandidates(endpoints, query);
  if (answers === undefined || answers.size >= maxKept) {
    answers = new Map();
    lastAnswers.set(endpoints, answers);
  }
  answers.set(query.servicePort, { ...query, candidates });
  return candidates;
}

function isSameQuery(a: CandidateQuery, b: CandidateQuery): boolean {
  return a.targetPort === b.targetPort && a.source === b.source && a.loadBalancing === b.loadBalancing;
}

function findCandidates(endpoints: readonly ServiceEndpoint[], query: CandidateQuery): Candidates {
  const byKey = kept.get(endpoints) ?? new Map<string, Candidates>();
  kept.set(endpoints, byKey);
  const key = keyOf(query);
  const held = byKey.get(key);
  if (held) return held;
  const candidates = new Candidates(servingOf(endpoints, query), query);
  if (byKey.size < maxKept) byKey.set(key, candidates);
  return candidates;
}

/** The endpoints that serve the port for the caller and that `accept` takes. */
export function servingOf(
  endpoints: readonly ServiceEndpoint[],
  { servicePort, targetPort, source }: CandidateQuery,
  accept?: (workload: Workload) => boolean,
): readonly Candidate[] {
  return endpoints.flatMap((endpoint): Candidate[] => {
    if (accept?.(endpoint.workload) === false) return [];
    const port = portOf(endpoint, servicePort, targetPort);
    return port === undefined || !isReachable(endpoint.workload, source) ? [] : [{ endpoint, port }];
  });
}

function keyOf({ loadBalancing, servicePort, targetPort, source }: CandidateQuery): string {
  const { mode, routingPreferences } = loadBalancing;
  const scopes = isRanked(mode) ? routingPreferences.map((scope) => `${scope}=${scopeValue(source, scope)}`) : [];
  return JSON.stringify([servicePort, targetPort, source.network, mode, ...scopes]);
}

/** Endpoint's own mapping, else the service's number, else (with an application tunnel) the service port; else none. */
function portOf(endpoint: ServiceEndpoint, servicePort: number, serviceTarget: number): number | undefined {
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

function isRanked(mode: Service["loadBalancing"]["mode"]): boolean {
  return mode === "STRICT" || mode === "FAILOVER";
}

/** STRICT: all scopes match. FAILOVER: the most leading scopes match. Otherwise all. */
function bestRanked(candidates: readonly Candidate[], { loadBalancing, source }: CandidateQuery): readonly Candidate[] {
  const { mode, routingPreferences } = loadBalancing;
  if (!isRanked(mode)) return candidates;
  const ranks = candidates.map((candidate) => rankOf(candidate.endpoint.workload, source, routingPreferences));
  const highest = ranks.reduce((best, rank) => Math.max(best, rank), 0);
  const wanted = mode === "STRICT" ? fullRank(routingPreferences) : highest;
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
