import type { MeshLookup } from "@hairpin/shared/discovery";
import { formatNamespacedHostname, type Service, type SocketAddress, type Workload } from "@hairpin/shared/model";
import { parseConnectAuthority } from "@hairpin/hbone";
import type { ManagedPort, ManagedService, ManagedWorkload, WaypointConfig } from "../waypoint-config.ts";

/** What an address means to this waypoint, by the configuration of this moment. */
export type Target =
  | {
      readonly kind: "service";
      readonly address: SocketAddress;
      readonly service: Service;
      readonly managed: ManagedService;
      readonly port: ManagedPort;
    }
  | {
      readonly kind: "workload";
      readonly address: SocketAddress;
      readonly workload: Workload;
      readonly managed: ManagedWorkload;
    }
  /** Not ours, or not readable: the stream is closed. */
  | { readonly kind: "refused"; readonly reason: string };

/** What a target is resolved by. */
export interface TargetResolver {
  readonly mesh: MeshLookup;
  readonly config: WaypointConfig;
  /** The waypoint's own network and namespace. */
  readonly network: string;
  readonly namespace: string;
}

/**
 * Resolves the authority of a CONNECT: the virtual IP and port of a service that this waypoint manages, or the address of
 * a pod that it manages. Host names are not accepted (as Envoy waypoints in a single network). Anything else is refused.
 */
export function resolveAuthority(authority: string, resolver: TargetResolver): Target {
  const parsed = parseConnectAuthority(authority);
  if (!parsed) return { kind: "refused", reason: `authority ${JSON.stringify(authority)} is not ip:port` };
  if (parsed.kind === "hostname")
    return { kind: "refused", reason: `authority ${authority} is a host name; a waypoint takes addresses` };
  return resolveTarget(parsed.address, resolver);
}

/** As {@link resolveAuthority}; asked again for every request, since connections outlive configurations. O(1). */
export function resolveTarget(address: SocketAddress, resolver: TargetResolver): Target {
  const { mesh, config, network, namespace } = resolver;
  if (!config.gateway) return { kind: "refused", reason: "this waypoint's configuration was not received" };
  const found = mesh.findUpstream(network, address.ip, namespace);
  if (found?.kind === "service") return resolveService(address, found.service, config);
  if (found?.kind === "workload") return resolveWorkload(address, found.workload, config);
  return { kind: "refused", reason: `${address.ip} belongs to no service or pod of the mesh` };
}

function resolveService(address: SocketAddress, service: Service, config: WaypointConfig): Target {
  const key = formatNamespacedHostname(service);
  const managed = config.findService(key);
  if (!managed) return { kind: "refused", reason: `service ${key} is not managed by this waypoint` };
  const port = managed.ports.get(address.port);
  if (!port) return { kind: "refused", reason: `service ${key} has no port ${address.port}` };
  return { kind: "service", address, service, managed, port };
}

function resolveWorkload(address: SocketAddress, workload: Workload, config: WaypointConfig): Target {
  const managed = config.findWorkload(workload.uid);
  if (!managed)
    return { kind: "refused", reason: `pod ${workload.namespace}/${workload.name} is not managed by this waypoint` };
  return { kind: "workload", address, workload, managed };
}
