import type { Identity, IpAddress } from "@hairpin/shared/model";

/** What policies look at. The same value decides, is logged and is explained. */
export interface RequestFacts {
  /** Of the caller; undefined for a plaintext caller that was hairpinned. */
  readonly sourceIdentity: Identity | undefined;
  readonly sourceIp: IpAddress;
  /** The address that the client addressed: the service's or the pod's. */
  readonly destinationIp: IpAddress;
  readonly destinationPort: number;
  /** Undefined for traffic that is not HTTP. */
  readonly http: HttpFacts | undefined;
}

export interface HttpFacts {
  readonly method: string;
  /** Canonical, without the query. */
  readonly path: string;
  /** Host with port, as sent. */
  readonly authority: string;
  /** Values of a header by its lower-cased name, one per line; empty when it is not there. */
  headerValues(name: string): readonly string[];
}
