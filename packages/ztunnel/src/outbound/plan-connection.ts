import type { Identity, IpAddress, Service, SocketAddress, Workload } from "@hairpin/shared/model";
import { formatSocketAddress, isLoopback } from "@hairpin/shared/model";
import type {
  AddressTarget,
  ChosenEndpoint,
  ChosenHostname,
  ChosenWaypoint,
  CoveringWaypoint,
  MeshLookup,
  WaypointChoice,
} from "@hairpin/shared/discovery";
import {
  chooseEndpoint,
  endpointIdentities,
  isWaypointCaller,
  resolveWaypoint,
  waypointFor,
} from "@hairpin/shared/discovery";

/** The port that ztunnels and waypoints take tunnels on. */
const hbonePort = 15008;

/** One captured outbound connection, as far as the decision needs it. */
export interface OutboundInput {
  /** The pod that connects, found by what its node says of it, never by IP. */
  readonly source: Workload;
  /** The address it connects from. */
  readonly sourceIp: IpAddress;
  /** Where it wanted to go (SO_ORIGINAL_DST). */
  readonly destination: SocketAddress;
  /** Our own network. */
  readonly network: string;
  /** Ports that are ours in every pod: a call to them there would come back to us. */
  readonly illegalPorts: ReadonlySet<number>;
  /** 0 ≤ n < 1. */
  readonly random: () => number;
}

interface PlanLabels {
  /** The instance that is dialled (the waypoint's, if one is on the way). Undefined: nothing is known of the address. */
  readonly workload: Workload | undefined;
  /** The service that was addressed. */
  readonly service: Service | undefined;
}

export interface HbonePlan extends PlanLabels {
  readonly kind: "hbone";
  readonly via: "endpoint" | "waypoint";
  /** Where the TCP connection goes. */
  readonly address: SocketAddress;
  /** `:authority` of the CONNECT. */
  readonly authority: string;
  /** Whom the peer may prove to be. Never empty. */
  readonly expectedIdentities: readonly Identity[];
}

export interface TcpPlan extends PlanLabels {
  readonly kind: "tcp";
  readonly address: SocketAddress;
}

/** The endpoint is known by DNS name only: resolve it, then see {@link completeResolvedPlan}. */
export interface ResolvePlan extends PlanLabels {
  readonly kind: "resolve";
  readonly workload: Workload;
  readonly hostname: string;
  readonly port: number;
  readonly expectedIdentities: readonly Identity[];
}

export interface RejectPlan extends PlanLabels {
  readonly kind: "reject";
  /** As the access log says it. */
  readonly reason: string;
}

export type OutboundPlan = HbonePlan | TcpPlan | ResolvePlan | RejectPlan;

/**
 * Where an outbound connection goes: ztunnel's decision table (outbound.rs, `build_request`) without double HBONE. The
 * authority of a tunnel to a waypoint stays the address that was dialled.
 */
export function planOutbound(input: OutboundInput, mesh: MeshLookup): OutboundPlan {
  const { source, destination, network } = input;
  if (isCallToOurselves(input)) return reject("attempted recursive call to ourselves");
  const upstream = mesh.findUpstream(network, destination.ip, source.namespace);
  if (!upstream) return { kind: "tcp", address: destination, workload: undefined, service: undefined };
  if (upstream.kind === "workload") return planWorkload(upstream.workload, input, mesh);
  // A service that shares its address with a workload takes that workload's waypoint, as upstream (`fetch_address`).
  const addressed = mesh.findAddress(network, destination.ip, source.namespace);
  return planService(upstream.service, addressed?.kind === "service", input, mesh);
}

/** The plan for an endpoint of a {@link ResolvePlan}, once its address is known. */
export function completeResolvedPlan(plan: ResolvePlan, ip: IpAddress): HbonePlan | TcpPlan {
  return toEndpoint({ ip, port: plan.port }, plan.workload, plan.expectedIdentities, plan.service);
}

function isCallToOurselves({ source, destination, illegalPorts }: OutboundInput): boolean {
  const ours = isLoopback(destination.ip) || source.addresses.includes(destination.ip);
  return ours && illegalPorts.has(destination.port);
}

function planService(
  service: Service,
  serviceAddressed: boolean,
  input: OutboundInput,
  mesh: MeshLookup,
): OutboundPlan {
  const { destination, source, random } = input;
  const target: AddressTarget = { kind: "service", service };
  // The service's own waypoint comes first whatever endpoint is chosen: no need to choose one.
  const binding = service.waypointBinding;
  const ownFirst = serviceAddressed && (binding === undefined || binding.scope === "OBJECT");
  const own = ownFirst ? coveringWaypoint(target, input, mesh) : noWaypoint;
  if (own.kind !== "none") return planCovered(own, service, input, mesh);

  const passthrough = service.loadBalancing.mode === "PASSTHROUGH";
  const request = { service, servicePort: destination.port, source, random, originalIp: destination.ip };
  const choice = passthrough ? undefined : chooseEndpoint(mesh, request);
  const endpoint = choice === undefined || choice.kind === "unavailable" ? undefined : choice.workload;
  const covering = serviceAddressed
    ? coveringWaypoint(target, input, mesh, endpoint)
    : endpoint && coveringWaypoint({ kind: "workload", workload: endpoint }, input, mesh);
  if (covering && covering.kind !== "none") return planCovered(covering, service, input, mesh);
  if (!choice) return { kind: "tcp", address: destination, workload: undefined, service };
  if (choice.kind === "unavailable")
    return reject(`${choice.reason}: ${formatSocketAddress(destination)}${detail(choice.detail)}`, service);
  return planChosen(choice, service, input);
}

function planWorkload(workload: Workload, input: OutboundInput, mesh: MeshLookup): OutboundPlan {
  const covering = coveringWaypoint({ kind: "workload", workload }, input, mesh);
  if (covering.kind !== "none") return planCovered(covering, undefined, input, mesh);
  const identities = endpointIdentities(workload, undefined);
  return planChosen({ kind: "found", workload, ...input.destination, identities }, undefined, input);
}

const noWaypoint: CoveringWaypoint = { kind: "none" };

/** As {@link waypointFor}; a caller that is that waypoint itself needs none, or its calls would never end. */
function coveringWaypoint(
  target: AddressTarget,
  { source, sourceIp, random }: OutboundInput,
  mesh: MeshLookup,
  endpoint?: Workload,
): CoveringWaypoint {
  const covering = waypointFor(target, { random, endpoint });
  const caller = { identity: source, ip: sourceIp, namespace: source.namespace };
  return covering.kind === "through" && isWaypointCaller(mesh, covering.address, caller) ? noWaypoint : covering;
}

function planCovered(
  covering: Exclude<CoveringWaypoint, { readonly kind: "none" }>,
  service: Service | undefined,
  input: OutboundInput,
  mesh: MeshLookup,
): OutboundPlan {
  if (covering.kind === "refuse")
    return reject(`waypoint ${covering.waypoint} cannot be used: ${covering.reason}`, service);
  const { source, random, destination } = input;
  const choice = resolveWaypoint(mesh, covering.address, { source, random, originalIp: destination.ip });
  return planWaypoint(choice, input, service);
}

function planWaypoint(choice: WaypointChoice, input: OutboundInput, service: Service | undefined): OutboundPlan {
  if (choice.kind === "unavailable") return reject(`${choice.reason}${detail(choice.detail)}`, service);
  if (isRemote(choice, input)) return rejectRemote(choice.workload, service);
  return {
    kind: "hbone",
    via: "waypoint",
    address: { ip: choice.ip, port: choice.port },
    authority: formatSocketAddress(input.destination),
    expectedIdentities: choice.identities,
    workload: choice.workload,
    service,
  };
}

function planChosen(
  choice: ChosenEndpoint | ChosenHostname,
  service: Service | undefined,
  input: OutboundInput,
): OutboundPlan {
  const { workload, port, identities } = choice;
  if (isRemote(choice, input)) return rejectRemote(workload, service);
  if (choice.kind === "hostname")
    return { kind: "resolve", hostname: choice.hostname, port, expectedIdentities: identities, workload, service };
  return toEndpoint({ ip: choice.ip, port }, workload, identities, service);
}

function toEndpoint(
  address: SocketAddress,
  workload: Workload,
  expectedIdentities: readonly Identity[],
  service: Service | undefined,
): HbonePlan | TcpPlan {
  if (workload.tunnelProtocol !== "HBONE") return { kind: "tcp", address, workload, service };
  return {
    kind: "hbone",
    via: "endpoint",
    address: { ip: address.ip, port: hbonePort },
    authority: formatSocketAddress(address),
    expectedIdentities,
    workload,
    service,
  };
}

function isRemote(choice: ChosenEndpoint | ChosenHostname | ChosenWaypoint, input: OutboundInput): boolean {
  return choice.workload.network !== input.network;
}

function rejectRemote(workload: Workload, service: Service | undefined): RejectPlan {
  const network = JSON.stringify(workload.network);
  return { ...reject(`${workload.uid} is in network ${network}, which is not reachable yet`, service), workload };
}

function reject(reason: string, service?: Service): RejectPlan {
  return { kind: "reject", reason, workload: undefined, service };
}

function detail(text: string): string {
  return text === "" ? "" : ` (${text})`;
}
