import type { GatewayAddress, Identity, IpAddress, Service, Workload } from "../model/index.ts";

/** Where one connection goes. */
export interface ChosenEndpoint {
  readonly kind: "found";
  readonly workload: Workload;
  readonly ip: IpAddress;
  /** The target port on the workload. */
  readonly port: number;
  /** Whom the TLS peer may prove to be: the workload, and the service's subject alternative names. */
  readonly identities: readonly Identity[];
}

/** An endpoint known by DNS name only: the caller resolves `hostname`. */
export interface ChosenHostname {
  readonly kind: "hostname";
  readonly workload: Workload;
  readonly hostname: string;
  readonly port: number;
  readonly identities: readonly Identity[];
}

/** No endpoint; `reason` is a constant phrase (`no healthy upstream`, `unknown waypoint`…), `detail` says more. */
export interface Unavailable {
  readonly kind: "unavailable";
  readonly reason: string;
  readonly detail: string;
}

export type EndpointChoice = ChosenEndpoint | ChosenHostname | Unavailable;

/** The waypoint instance that one connection goes through. */
export interface ChosenWaypoint extends ChosenEndpoint {
  readonly address: GatewayAddress;
  /** The waypoint's Service, when it was named by one. */
  readonly service: Service | undefined;
}

export type WaypointChoice = ChosenWaypoint | Unavailable;
