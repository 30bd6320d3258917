import type { IpAddress } from "./address.ts";
import type { Locality } from "./locality.ts";
import type { Enforcement, GatewayAddress, WaypointBinding } from "./waypoint.ts";

/** A service port and the port that this workload serves it on. */
export interface PortMapping {
  readonly servicePort: number;
  readonly targetPort: number;
}

/** One running instance: a pod, a VM, or an endpoint without a pod (istio.workload.Workload). */
export interface Workload {
  /** `<cluster>//Pod/<namespace>/<name>` for pods. */
  readonly uid: string;
  readonly name: string;
  readonly namespace: string;
  readonly addresses: readonly IpAddress[];
  /** Set instead of addresses for endpoints known by DNS name. */
  readonly hostname: string;
  readonly network: string;
  readonly tunnelProtocol: "NONE" | "HBONE";
  /** Never empty: the wire's "" is the default trust domain. */
  readonly trustDomain: string;
  readonly serviceAccount: string;
  readonly waypoint: GatewayAddress | undefined;
  readonly networkGateway: GatewayAddress | undefined;
  readonly node: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
  readonly workloadType: "DEPLOYMENT" | "CRONJOB" | "POD" | "JOB";
  readonly workloadName: string;
  readonly nativeTunnel: boolean;
  readonly applicationTunnel: { readonly protocol: "NONE" | "PROXY"; readonly port: number } | undefined;
  /** By `namespace/hostname` of the service. */
  readonly services: ReadonlyMap<string, readonly PortMapping[]>;
  /** Keys `namespace/name` of policies with selector scope. */
  readonly authorizationPolicies: readonly string[];
  readonly healthy: boolean;
  readonly clusterId: string;
  readonly locality: Locality;
  /** Host-network workloads share IPs and are never found by IP. */
  readonly hostNetwork: boolean;
  /** Load-balancing weight; 1 when unset. */
  readonly capacity: number;
  /** Hairpin's extension; undefined: nothing is enforced. */
  readonly enforcement: Enforcement | undefined;
  /** Hairpin's extension. */
  readonly waypointBinding?: WaypointBinding | undefined;
}
