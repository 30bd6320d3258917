import {
  equalIdentity,
  formatNamespacedHostname,
  formatNetworkAddress,
  type GatewayAddress,
  type Identity,
  type IpAddress,
  type Service,
  type WaypointBinding,
  type Workload,
} from "../model/index.ts";
import type { Unavailable, WaypointChoice } from "./choice.ts";
import { chooseEndpoint, endpointIdentities, pickIp, weightedPick } from "./choose-endpoint.ts";
import type { AddressTarget, MeshLookup } from "./mesh-lookup.ts";

export interface WaypointRequest {
  /** Who sends the connection. */
  readonly source: Workload;
  /** In [0, 1). */
  readonly random: () => number;
  /** The address the client dialled, for its family. */
  readonly originalIp?: IpAddress | undefined;
}

/** What covers a destination. `refuse`: its binding names a waypoint that cannot be used. */
export type CoveringWaypoint =
  | { readonly kind: "none" }
  | { readonly kind: "through"; readonly address: GatewayAddress }
  | { readonly kind: "refuse"; readonly reason: string; readonly waypoint: string };

/**
 * The waypoint that traffic to a target goes through. For a service: its own (scope OBJECT, and upstream's without the
 * binding extension); else that of the endpoint the caller chose, where that one's scope is OBJECT; else the service's from
 * its namespace. Of weighted waypoints one is drawn per call; when none can be drawn the plain `waypoint` counts.
 */
export function waypointFor(
  target: AddressTarget,
  options: { readonly random: () => number; readonly endpoint?: Workload | undefined },
): CoveringWaypoint {
  if (target.kind === "workload") return bound(target.workload.waypointBinding, target.workload.waypoint);
  const { service } = target;
  const drawn = weightedPick(service.weightedWaypoints, (candidate) => candidate.weight, options.random);
  const own = bound(service.waypointBinding, drawn?.destination ?? service.waypoint);
  if (service.waypointBinding === undefined && own.kind !== "none") return own;
  if (service.waypointBinding?.scope === "OBJECT") return own;
  const { endpoint } = options;
  const fromEndpoint =
    endpoint?.waypointBinding?.scope === "OBJECT" ? bound(endpoint.waypointBinding, endpoint.waypoint) : none;
  return fromEndpoint.kind === "none" ? own : fromEndpoint;
}

const none: CoveringWaypoint = { kind: "none" };

function bound(binding: WaypointBinding | undefined, address: GatewayAddress | undefined): CoveringWaypoint {
  if (binding !== undefined && binding.refuseReason !== "")
    return { kind: "refuse", reason: binding.refuseReason, waypoint: binding.waypoint };
  return address === undefined ? none : { kind: "through", address };
}

/** A running instance behind a waypoint reference. What does not resolve is unavailable, never bypassed (fail closed). */
export function resolveWaypoint(state: MeshLookup, address: GatewayAddress, request: WaypointRequest): WaypointChoice {
  const target = gatewayTarget(state, address, request.source.namespace);
  if (target === undefined) return unknownWaypoint(address);
  return target.kind === "service"
    ? chooseWaypointEndpoint(state, address, target.service, request)
    : waypointWorkload(address, target.workload, request.originalIp);
}

/** Who might be a waypoint. */
export interface WaypointCaller {
  readonly identity: Identity | undefined;
  readonly ip: IpAddress;
  readonly namespace: string;
}

/**
 * Whether a caller is one of the instances behind a waypoint reference: its identity is that workload's and its address
 * one of that workload's. Both, because replicas of other waypoints may share a service account.
 */
export function isWaypointCaller(state: MeshLookup, address: GatewayAddress, caller: WaypointCaller): boolean {
  if (caller.identity === undefined) return false;
  const target = gatewayTarget(state, address, caller.namespace);
  if (target === undefined) return false;
  const workloads =
    target.kind === "workload" ? [target.workload] : state.endpointsOf(target.service).map((e) => e.workload);
  return workloads.some((w) => equalIdentity(w, caller.identity) && w.addresses.includes(caller.ip));
}

/** {@link isWaypointCaller} for every waypoint that a target names, weighted ones included. */
export function isWaypointOf(state: MeshLookup, target: AddressTarget, caller: WaypointCaller): boolean {
  const addresses =
    target.kind === "workload"
      ? [target.workload.waypoint]
      : [target.service.waypoint, ...target.service.weightedWaypoints.map((weighted) => weighted.destination)];
  return addresses.some((address) => address !== undefined && isWaypointCaller(state, address, caller));
}

/** `namespace/hostname` or `network/ip`, as logs and /config_dump write it. */
export function formatGatewayDestination(address: GatewayAddress): string {
  const { destination } = address;
  return destination.kind === "hostname"
    ? formatNamespacedHostname(destination.hostname)
    : formatNetworkAddress(destination.address);
}

function gatewayTarget(
  state: MeshLookup,
  { destination }: GatewayAddress,
  clientNamespace: string,
): AddressTarget | undefined {
  if (destination.kind === "address")
    return state.findAddress(destination.address.network, destination.address.ip, clientNamespace);
  const service = state.findService(formatNamespacedHostname(destination.hostname));
  if (service) return { kind: "service", service };
  const workload = state.findWorkloadByHostname(destination.hostname);
  return workload && { kind: "workload", workload };
}

function chooseWaypointEndpoint(
  state: MeshLookup,
  address: GatewayAddress,
  service: Service,
  request: WaypointRequest,
): WaypointChoice {
  const choice = chooseEndpoint(state, {
    service,
    servicePort: address.hboneMtlsPort,
    source: request.source,
    random: request.random,
    originalIp: request.originalIp,
    purpose: "waypoint",
  });
  if (choice.kind === "found") return { ...choice, address, service };
  const detail = choice.kind === "unavailable" ? choice.detail : `${choice.workload.uid} is known by name only`;
  return {
    kind: "unavailable",
    reason: "no healthy waypoint",
    detail: `${formatGatewayDestination(address)}: ${detail}`,
  };
}

function waypointWorkload(
  address: GatewayAddress,
  workload: Workload,
  originalIp: IpAddress | undefined,
): WaypointChoice {
  const named = address.destination.kind === "address" ? address.destination.address.ip : undefined;
  const ip = named ?? pickIp(workload.addresses, "AUTOMATIC", originalIp);
  if (ip === undefined) return unknownWaypoint(address);
  return {
    kind: "found",
    workload,
    ip,
    port: address.hboneMtlsPort,
    identities: endpointIdentities(workload, undefined),
    address,
    service: undefined,
  };
}

function unknownWaypoint(address: GatewayAddress): Unavailable {
  const name = formatGatewayDestination(address);
  return { kind: "unavailable", reason: "unknown waypoint", detail: `waypoint ${name} is not known` };
}
