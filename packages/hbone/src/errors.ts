import { MeshError, type MeshErrorOptions } from "@hairpin/shared/process";

/** Stable codes of what goes wrong with tunnels; a row each in README.md. */
export type HboneErrorCode =
  | "HBONE_CONNECT_REFUSED"
  | "HBONE_CONNECT_TIMEOUT"
  | "HBONE_DIAL_FAILED"
  | "HBONE_DIAL_TIMEOUT"
  | "HBONE_HANDSHAKE_FAILED"
  | "HBONE_HEADERS_TIMEOUT"
  | "HBONE_PEER_CERTIFICATE"
  | "HBONE_PEER_EXPIRED"
  | "HBONE_PEER_IDENTITY"
  | "HBONE_PING_TIMEOUT"
  | "HBONE_PREFACE_TIMEOUT"
  | "HBONE_SESSION_CLOSED"
  | "HBONE_SETTINGS_TIMEOUT"
  | "HBONE_STREAM_REFUSED"
  | "HBONE_STREAM_RESET";

/**
 * An error of a tunnel or its session. `details.status` holds the status of a refused CONNECT, `details.reason` why a peer was
 * refused, in one word of a closed set: the label of `hairpin_hbone_peers_refused_total`.
 */
export class HboneError extends MeshError {
  declare readonly code: HboneErrorCode;

  constructor(message: string, options: MeshErrorOptions & { readonly code: HboneErrorCode }) {
    super(message, options);
  }
}
