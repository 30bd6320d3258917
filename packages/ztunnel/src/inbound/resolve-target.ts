import type { ConnectAuthority } from "@hairpin/hbone";
import type { MeshLookup } from "@hairpin/shared/discovery";
import type { GatewayAddress, IpAddress, Service, SocketAddress, Workload } from "@hairpin/shared/model";
import { formatNamespacedHostname } from "@hairpin/shared/model";
import type { RefusePlan } from "./plan-connection.ts";

export interface InboundRequest {
  /** The workload whose listener took the connection. */
  readonly local: Workload;
  /** The address that the tunnel's TCP connection was addressed to. */
  readonly localIp: IpAddress;
  readonly authority: ConnectAuthority;
  /** Our own network. */
  readonly network: string;
  readonly illegalPorts: ReadonlySet<number>;
}

/** What a CONNECT leads to on the local workload. */
export interface InboundTarget {
  readonly kind: "found";
  /** The application: the pod's own address, whatever IP the authority named (as ztunnel). */
  readonly address: SocketAddress;
  /** The service, when the authority named one. */
  readonly service: Service | undefined;
  /** The address to announce in a PROXY protocol header; undefined: the application wants none. */
  readonly proxyDestination: SocketAddress | undefined;
}

/**
 * Checks that a CONNECT is meant for this workload and finds the port (ztunnel.md §3.2): authority IP equal to the
 * address we were reached at, or a host name of a service, or this workload is the waypoint of what was named.
 */
export function resolveInboundTarget(request: InboundRequest, mesh: MeshLookup): InboundTarget | RefusePlan {
  const { authority, local } = request;
  if (authority.kind === "address" && !isForUs(authority.address, request, mesh))
    return refuse(400, `ip mismatch: ${request.localIp} != ${authority.address.ip}`);
  const named =
    authority.kind === "hostname" ? mesh.findServiceByHostname(authority.hostname, local.namespace) : undefined;
  const port = authority.kind === "address" ? authority.address.port : hostnamePort(named, authority.port, local);
  if (port === undefined && authority.kind === "hostname")
    return refuse(503, `no healthy upstream: ${authority.hostname}:${authority.port} is not served by ${local.uid}`);
  const tunnel = local.applicationTunnel;
  const dialPort = tunnel && tunnel.port > 0 ? tunnel.port : (port ?? 0);
  if (request.illegalPorts.has(dialPort)) return refuse(503, `attempted recursive call to port ${dialPort}`);
  let proxyDestination: SocketAddress | undefined;
  if (tunnel?.protocol === "PROXY") {
    proxyDestination =
      authority.kind === "address" ? authority.address : serviceAddress(named, authority.port, request);
    if (!proxyDestination)
      return refuse(503, `${named?.hostname ?? "the service"} has no address for the PROXY header`);
  }
  return { kind: "found", address: { ip: request.localIp, port: dialPort }, service: named, proxyDestination };
}

function isForUs(address: SocketAddress, request: InboundRequest, mesh: MeshLookup): boolean {
  if (address.ip === request.localIp || request.local.applicationTunnel !== undefined) return true;
  const target = mesh.findAddress(request.network, address.ip, request.local.namespace);
  if (!target) return false;
  const waypoint = target.kind === "service" ? target.service.waypoint : target.workload.waypoint;
  return waypoint !== undefined && isWaypoint(request.local, waypoint, mesh);
}

/** Whether the workload is an instance of the waypoint (the "sandwich": a waypoint that is captured itself). */
function isWaypoint(workload: Workload, { destination }: GatewayAddress, mesh: MeshLookup): boolean {
  if (destination.kind === "hostname") return workload.services.has(formatNamespacedHostname(destination.hostname));
  const { network, ip } = destination.address;
  const target = mesh.findAddress(network, ip, workload.namespace);
  if (target?.kind === "workload") return target.workload.uid === workload.uid;
  return target !== undefined && workload.services.has(formatNamespacedHostname(target.service));
}

/**
 * The endpoint's own mapping of the service port, else the service's. Undefined: not served by this workload. Who takes tunnels for
 * others (an application tunnel) serves every service.
 */
function hostnamePort(service: Service | undefined, servicePort: number, local: Workload): number | undefined {
  if (!service) return undefined;
  const mappings = local.services.get(formatNamespacedHostname(service));
  if (mappings === undefined && local.applicationTunnel === undefined) return undefined;
  const mapped = mappings?.find((mapping) => mapping.servicePort === servicePort);
  if (mapped && mapped.targetPort > 0) return mapped.targetPort;
  const declared = service.ports.find((port) => port.servicePort === servicePort);
  return declared && declared.targetPort > 0 ? declared.targetPort : undefined;
}

/** The service's virtual address in our network, IPv4 first. */
function serviceAddress(
  service: Service | undefined,
  port: number,
  { network }: InboundRequest,
): SocketAddress | undefined {
  const vips = service?.vips.filter((vip) => vip.network === network).map((vip) => vip.ip) ?? [];
  const ip = vips.find((vip) => !vip.includes(":")) ?? vips[0];
  return ip === undefined ? undefined : { ip, port };
}

function refuse(status: 400 | 503, reason: string): RefusePlan {
  return { kind: "refuse", status, reason, flag: "CONNECT" };
}
