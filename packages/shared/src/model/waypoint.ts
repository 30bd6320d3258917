import type { NetworkAddress } from "./address.ts";
import type { NamespacedHostname } from "./hostname.ts";
import type { Identity } from "./identity.ts";

/** How a waypoint or network gateway is named in WDS: by service host name, or by address. */
export interface GatewayAddress {
  readonly destination:
    | { readonly kind: "hostname"; readonly hostname: NamespacedHostname }
    | { readonly kind: "address"; readonly address: NetworkAddress };
  /** 15008. */
  readonly hboneMtlsPort: number;
}

/** What the destination ztunnel does with connections that did not pass the workload's waypoint (hairpin.mesh/enforcement). */
export type Enforcement =
  | {
      readonly mode: "hairpin";
      readonly acceptedIdentities: readonly Identity[];
      readonly hairpinTo: GatewayAddress;
      /** Who may answer behind `hairpinTo`. */
      readonly hairpinIdentities: readonly Identity[];
      /** `namespace/name` of the Gateway. */
      readonly waypoint: string;
    }
  | {
      readonly mode: "refuse";
      readonly acceptedIdentities: readonly Identity[];
      readonly waypoint: string;
      readonly reason: string;
    };

/** Why a workload or service has the waypoint that its `waypoint` names (hairpin.mesh/binding). Absent: as upstream. */
export interface WaypointBinding {
  /** OBJECT: by its own label, or (workloads) a waypoint for its service account. NAMESPACE: from its namespace. */
  readonly scope: "NONE" | "OBJECT" | "NAMESPACE";
  /** Not empty: the binding names a waypoint that cannot be used, and calls are refused for this reason. */
  readonly refuseReason: string;
  /** `namespace/name` of the Gateway. */
  readonly waypoint: string;
}
