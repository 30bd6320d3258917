import type { Cidr, NetworkAddress } from "./address.ts";
import type { GatewayAddress, WaypointBinding } from "./waypoint.ts";

export type AppProtocol = "UNKNOWN" | "HTTP11" | "HTTP2" | "GRPC" | "TCP" | "TLS";

export interface ServicePort {
  readonly servicePort: number;
  /** 0: named, look at the endpoint. */
  readonly targetPort: number;
  readonly appProtocol: AppProtocol;
}

export type RoutingScope = "REGION" | "ZONE" | "SUBZONE" | "NODE" | "CLUSTER" | "NETWORK";

export interface LoadBalancing {
  readonly mode: "STANDARD" | "STRICT" | "FAILOVER" | "PASSTHROUGH";
  readonly routingPreferences: readonly RoutingScope[];
  readonly allowUnhealthy: boolean;
}

/** Host name, virtual addresses and ports (istio.workload.Service). */
export interface Service {
  readonly name: string;
  readonly namespace: string;
  readonly hostname: string;
  /** Single virtual IPs; empty for a headless service. */
  readonly vips: readonly NetworkAddress[];
  readonly cidrVips: readonly { readonly network: string; readonly cidr: Cidr }[];
  readonly ports: readonly ServicePort[];
  /** SPIFFE IDs that endpoints may prove besides their own. */
  readonly subjectAltNames: readonly string[];
  readonly waypoint: GatewayAddress | undefined;
  readonly weightedWaypoints: readonly { readonly destination: GatewayAddress; readonly weight: number }[];
  readonly loadBalancing: LoadBalancing;
  readonly ipFamilies: "AUTOMATIC" | "IPV4_ONLY" | "IPV6_ONLY" | "DUAL";
  readonly canonical: boolean;
  readonly visibility: "PUBLIC" | "NAMESPACE";
  /** Hairpin's extension. */
  readonly waypointBinding?: WaypointBinding | undefined;
}
