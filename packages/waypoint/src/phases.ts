import { chooseEndpoint, endpointIdentities, type ChosenEndpoint, type MeshLookup } from "@hairpin/shared/discovery";
import { hairpinWaypoint } from "@hairpin/shared/api";
import { formatNamespacedHostname, type Service, type Workload } from "@hairpin/shared/model";
import { localResponse, responseFlag, type LocalResponse } from "./error-response.ts";
import { compileFilters, runRequestFilters } from "./filter/order.ts";
import type { Filter } from "./filter/filter.ts";
import type { Endpoint } from "./forward/connect-endpoint.ts";
import type { UpstreamVersion } from "./forward/http-upstreams.ts";
import { authorizeAll, type L7Decision, type PolicySet } from "./policy/authorize.ts";
import type { EndpointDenies } from "./policy/endpoint-denies.ts";
import type { HttpFacts, RequestFacts } from "./policy/request-facts.ts";
import { headerValues, type RequestHead } from "./request-head.ts";
import type { EndpointDraw, ManagedTarget, RequestPlan, TunnelContext } from "./request-context.ts";
import type { RouteChoice } from "./route/route-table.ts";
import { splitTraffic } from "./route/split-traffic.ts";
import type { PortProtocol, WaypointConfig } from "./waypoint-config.ts";

export interface PlanInput {
  readonly mesh: MeshLookup;
  readonly config: WaypointConfig;
  readonly denies: EndpointDenies;
  /** This waypoint as a workload: its locality ranks endpoints. */
  readonly self: Workload;
  /** In [0, 1). */
  readonly random: () => number;
}

/** How the request came to us. */
export interface Downstream {
  readonly version: UpstreamVersion;
  readonly isGrpc: boolean;
  readonly isUpgrade: boolean;
}

type RefusedPlan = Extract<RequestPlan, { kind: "respond" }>;

/**
 * The phases of a request, in order: authorise → route → filters of the rule → split → filters of the backend → plan. The
 * endpoint is drawn when the plan is carried out, once per attempt. Pure but for the randomness it is given; a later phase
 * (JWT, external authorization, rate limits) has its place between two of these lines.
 */
export function planRequest(
  head: RequestHead,
  tunnel: TunnelContext,
  downstream: Downstream,
  input: PlanInput,
): RequestPlan {
  const facts = requestFacts(head, tunnel);
  const decision = authorizeAll(policySets(tunnel.target, input.config), facts);
  if (!decision.allowed) return refused(localResponse.denied(decision.reason), decision);
  if (tunnel.target.kind === "workload") return planWorkload(head, tunnel, tunnel.target, downstream, input);
  const { port, managed, service } = tunnel.target;
  const choice = port.routes.choose(head, tunnel.source.identity?.namespace);
  if (choice === undefined) return refused(localResponse.noRoute());
  if (choice === "default") {
    return forward(head, {
      tunnel,
      input,
      facts,
      backend: { service, port: port.port, only: managed.onlyWorkloads },
      version: upstreamVersion(port.protocol, downstream),
    });
  }
  return planRoute(head, choice, { tunnel, target: tunnel.target, downstream, input, facts });
}

/**
 * The sets of policies of which each must allow: the addressed Service's, or those of every Service that the pod backs on the
 * port. A Service without policies of its own counts too: the Gateway's alone decide for it.
 */
export function policySets(target: ManagedTarget, config: WaypointConfig): readonly PolicySet[] {
  if (target.kind === "service") return [config.policySet(target.managed.policies)];
  const { port } = target.address;
  const byService = target.managed.policiesOf(port);
  const sets = Array.from(byService.values(), (policies) => config.policySet(policies));
  const others = [...target.workload.services].some(
    ([service, mappings]) => !byService.has(service) && mappings.some(({ targetPort }) => targetPort === port),
  );
  return sets.length === 0 || others ? [...sets, config.policySet()] : sets;
}

function requestFacts(head: RequestHead, tunnel: TunnelContext): RequestFacts {
  return connectionFacts(tunnel, {
    method: head.method,
    path: head.path,
    authority: head.authority,
    headerValues: (name) => headerValues(head, name),
  });
}

/** The facts of a connection; without `http` of one that is not HTTP. */
export function connectionFacts({ target, source }: TunnelContext, http?: HttpFacts): RequestFacts {
  return {
    sourceIdentity: source.identity,
    sourceIp: source.ip,
    destinationIp: target.address.ip,
    destinationPort: target.address.port,
    http,
  };
}

interface RouteContext {
  readonly tunnel: TunnelContext;
  readonly target: Extract<ManagedTarget, { kind: "service" }>;
  readonly downstream: Downstream;
  readonly input: PlanInput;
  readonly facts: RequestFacts;
}

function planRoute(
  head: RequestHead,
  choice: RouteChoice,
  { tunnel, target, downstream, input, facts }: RouteContext,
): RequestPlan {
  const { route, rule, pathPrefix } = choice;
  const context = { pathPrefix, port: target.port.port };
  const ruleFilters = filtersOf(rule.filters);
  const filtered = runRequestFilters(ruleFilters, head, context);
  if (filtered.kind === "respond") return { ...refused({ ...filtered, flag: responseFlag.none }), route };
  const backend = splitTraffic(rule.backends, input.random);
  if (!backend) {
    const reason =
      rule.backends.length === 0 ? `route ${route} has no backend` : `all backends of route ${route} have weight 0`;
    return { ...refused(localResponse.badBackend(reason)), route };
  }
  if (backend.invalidReason !== "") return { ...refused(localResponse.badBackend(backend.invalidReason)), route };
  const backendFilters = filtersOf(backend.filters);
  const final = runRequestFilters(backendFilters, filtered.head, context);
  if (final.kind === "respond") return { ...refused({ ...final, flag: responseFlag.none }), route };
  const backendName = nameOf(backend);
  const service = input.mesh.findService(backendName);
  if (!service) return { ...refused(localResponse.badBackend(`service ${backendName} is not known`)), route };
  const { namespace, hostname } = target.service;
  const sameService = service.hostname === hostname && service.namespace === namespace;
  return forward(final.head, {
    tunnel,
    input,
    facts,
    route,
    backend: { service, port: backend.port, only: sameService ? target.managed.onlyWorkloads : undefined },
    filters: [...ruleFilters, ...backendFilters],
    version: upstreamVersion(backendProtocol(backend, target.port.protocol), downstream),
    requestTimeoutMs: rule.requestTimeoutMs,
    attemptTimeoutMs: rule.backendRequestTimeoutMs,
  });
}

/** `namespace/hostname` of backends, made once: a new string for each request would have to be hashed anew. */
const backendNames = new WeakMap<hairpinWaypoint.Backend, string>();

function nameOf(backend: hairpinWaypoint.Backend): string {
  let name = backendNames.get(backend);
  if (name === undefined) {
    name = formatNamespacedHostname(backend);
    backendNames.set(backend, name);
  }
  return name;
}

/** Filters are compiled once per rule or backend; control replaces the lists when they change. */
const compiledFilters = new WeakMap<readonly hairpinWaypoint.Filter[], readonly Filter[]>();

function filtersOf(filters: readonly hairpinWaypoint.Filter[]): readonly Filter[] {
  let compiled = compiledFilters.get(filters);
  if (!compiled) {
    compiled = compileFilters(filters);
    compiledFilters.set(filters, compiled);
  }
  return compiled;
}

interface ForwardDetails {
  readonly tunnel: TunnelContext;
  readonly input: PlanInput;
  /** As the request came, before any filter. */
  readonly facts: RequestFacts;
  readonly backend: {
    readonly service: Service;
    readonly port: number;
    readonly only: ReadonlySet<string> | undefined;
  };
  readonly version: UpstreamVersion;
  readonly route?: string;
  readonly filters?: readonly Filter[];
  readonly requestTimeoutMs?: number;
  readonly attemptTimeoutMs?: number;
}

function forward(head: RequestHead, details: ForwardDetails): RequestPlan {
  const { tunnel, input, backend, facts } = details;
  return {
    kind: "forward",
    head,
    route: details.route,
    responseFilters: details.filters ?? [],
    version: details.version,
    requestTimeoutMs: details.requestTimeoutMs ?? 0,
    attemptTimeoutMs: details.attemptTimeoutMs ?? 0,
    chooseEndpoint: (except) => drawEndpoint(backend, except, { tunnel, facts }, input),
  };
}

/** Pod-addressed: no routes, exactly that pod. */
function planWorkload(
  head: RequestHead,
  tunnel: TunnelContext,
  target: Extract<ManagedTarget, { kind: "workload" }>,
  downstream: Downstream,
  input: PlanInput,
): RequestPlan {
  return {
    kind: "forward",
    head,
    route: undefined,
    responseFilters: [],
    version: upstreamVersion(target.managed.protocolOf(target.address.port), downstream),
    requestTimeoutMs: 0,
    attemptTimeoutMs: 0,
    chooseEndpoint: () => podEndpoint(tunnel, target, input),
  };
}

/** Draws an endpoint of a service, and asks the endpoint's own L4 DENY policies and those of its other Services. */
export function drawEndpoint(
  backend: ForwardDetails["backend"],
  except: ReadonlySet<string>,
  { tunnel, facts }: Pick<ForwardDetails, "tunnel" | "facts">,
  input: PlanInput,
): EndpointDraw {
  const { mesh, self, random } = input;
  const { only } = backend;
  const mayUse = only && ((workload: Workload): boolean => only.has(workload.uid));
  const request = {
    service: backend.service,
    servicePort: backend.port,
    source: self,
    random,
    // Of a pod's addresses the one of the family that the client speaks.
    originalIp: tunnel.target.address.ip,
  };
  const isFresh = (workload: Workload): boolean => mayUse?.(workload) !== false && !except.has(workload.uid);
  const fresh = chooseEndpoint(mesh, { ...request, accept: except.size === 0 ? mayUse : isFresh });
  // Better the same endpoint again than none.
  const chosen = fresh.kind === "found" ? fresh : chooseEndpoint(mesh, { ...request, accept: mayUse });
  if (chosen.kind !== "found") {
    const reason =
      chosen.kind === "unavailable"
        ? `${chosen.reason}: ${chosen.detail}`
        : `endpoint ${chosen.hostname} has no address`;
    return { kind: "respond", response: localResponse.noHealthyUpstream(reason), policy: undefined, rule: undefined };
  }
  return (
    refusedByEndpoint(chosen, tunnel, facts, input) ?? {
      kind: "endpoint",
      endpoint: serviceEndpoint(chosen, backend.service),
    }
  );
}

/** An endpoint of a service; the same value as long as the choice and the service are, so that what is kept for it is found fast. */
function serviceEndpoint(chosen: ChosenEndpoint, service: Service): Endpoint {
  let endpoint = serviceEndpoints.get(chosen);
  if (endpoint?.service !== service) {
    const { workload, ip, port, identities } = chosen;
    endpoint = { workload, ip, port, identities, service, hairpinned: false };
    serviceEndpoints.set(chosen, endpoint);
  }
  return endpoint;
}

const serviceEndpoints = new WeakMap<ChosenEndpoint, Endpoint>();

/** The pod that was addressed. */
export function podEndpoint(
  tunnel: TunnelContext,
  target: Extract<ManagedTarget, { kind: "workload" }>,
  { denies }: PlanInput,
): EndpointDraw {
  const { workload, address } = target;
  const { ip, port } = address;
  return (
    denyAtEndpoint(workload, ip, port, tunnel, denies) ?? {
      kind: "endpoint",
      endpoint: {
        workload,
        ip,
        port,
        identities: endpointIdentities(workload, undefined),
        service: undefined,
        hairpinned: tunnel.source.hairpinned,
      },
    }
  );
}

type RefusedDraw = Extract<EndpointDraw, { readonly kind: "respond" }>;

/** What the endpoint of a call says against it: its L4 DENY policies, and the policies of its other Services. */
export function refusedByEndpoint(
  endpoint: Pick<Endpoint, "workload" | "ip" | "port">,
  tunnel: TunnelContext,
  facts: RequestFacts,
  { denies, config }: PlanInput,
): RefusedDraw | undefined {
  const { workload, ip, port } = endpoint;
  return denyAtEndpoint(workload, ip, port, tunnel, denies) ?? refusedByOtherServices(endpoint, tunnel, facts, config);
}

/**
 * A Service without policies of its own is no way round those of an enforced endpoint's other Services: its calls are decided
 * as if the pod had been addressed (docs/decisions/services-without-policies.md).
 */
function refusedByOtherServices(
  { workload, ip, port }: Pick<Endpoint, "workload" | "ip" | "port">,
  { target }: TunnelContext,
  facts: RequestFacts,
  config: WaypointConfig,
): RefusedDraw | undefined {
  if (target.kind !== "service" || target.managed.policies.length > 0 || !workload.enforcement) return undefined;
  const others = config.findWorkload(workload.uid)?.policiesOf(port);
  if (others === undefined || others.size === 0) return undefined;
  const sets = Array.from(others.values(), (policies) => config.policySet(policies));
  const decision = authorizeAll(sets, { ...facts, destinationIp: ip, destinationPort: port });
  if (decision.allowed) return undefined;
  const { reason, policy, rule } = decision;
  return { kind: "respond", response: localResponse.denied(reason), policy, rule };
}

function denyAtEndpoint(
  workload: Workload,
  ip: string,
  port: number,
  { source }: TunnelContext,
  denies: EndpointDenies,
): RefusedDraw | undefined {
  const refusal = denies.refusalOf(workload, {
    sourceIp: source.ip,
    destinationIp: ip,
    destinationPort: port,
    ...(source.identity ? { sourceIdentity: source.identity } : {}),
  });
  if (!refusal) return undefined;
  const { reason, policy, rule } = refusal;
  return { kind: "respond", response: localResponse.denied(reason), policy, rule };
}

/**
 * HTTP/2 where the port or backend says so; else as the client came, but plain HTTP/1.1 ports get HTTP/2 only for gRPC,
 * which cannot do without. Upgrades exist in HTTP/1.1 alone.
 */
function upstreamVersion(protocol: PortProtocol, downstream: Downstream): UpstreamVersion {
  if (downstream.isUpgrade) return "http1";
  if (protocol === "http2" || protocol === "grpc") return "http2";
  if (protocol === "http1") return downstream.isGrpc ? "http2" : "http1";
  return downstream.version;
}

const backendProtocols: Readonly<Partial<Record<hairpinWaypoint.Protocol, PortProtocol>>> = {
  [hairpinWaypoint.Protocol.HTTP1]: "http1",
  [hairpinWaypoint.Protocol.HTTP2]: "http2",
  [hairpinWaypoint.Protocol.GRPC]: "grpc",
};

function backendProtocol(backend: hairpinWaypoint.Backend, otherwise: PortProtocol): PortProtocol {
  return backendProtocols[backend.protocol] ?? otherwise;
}

function refused(response: LocalResponse, decision?: L7Decision): RefusedPlan {
  return {
    kind: "respond",
    response,
    route: undefined,
    policy: decision?.policy,
    rule: decision?.rule,
    destination: undefined,
  };
}
