import { formatSocketAddress, type SocketAddress } from "@hairpin/shared/model";
import { errorCode, errorMessage, MeshError } from "@hairpin/shared/process";
import type { ResponseFlag } from "@hairpin/shared/telemetry";

export type ZtunnelErrorCode =
  | "CERTIFICATE_UNAVAILABLE"
  | "CONNECT_FAILED"
  | "CONNECT_TIMEOUT"
  | "CONNECTION_DENIED"
  | "CONNECTION_DRAINED"
  | "CONNECTION_POLICY_CHANGED"
  | "CONNECTION_REFUSED"
  | "CONNECTION_WORKER_FAILED"
  | "OUTBOUND_REJECTED"
  | "POD_LISTENER_FAILED"
  | "POD_REMOVED"
  | "WORKER_GONE";

interface ZtunnelErrorOptions {
  readonly code: ZtunnelErrorCode;
  readonly origin: "downstream" | "upstream" | "internal";
  readonly cause?: unknown;
}

/** An error of this package; its codes are in the README. */
export class ZtunnelError extends MeshError {
  declare readonly code: ZtunnelErrorCode;

  // Narrows the codes.
  // oxlint-disable-next-line no-useless-constructor
  constructor(message: string, options: ZtunnelErrorOptions) {
    super(message, options);
  }
}

/** How an error is told to the outside. */
export interface ConnectionFailure {
  readonly flag: ResponseFlag;
  /** The access log's `error`. */
  readonly text: string;
}

const flags: Readonly<Record<string, ResponseFlag>> = {
  HBONE_CONNECT_REFUSED: "CONNECT",
  HBONE_CONNECT_TIMEOUT: "CONNECT",
  HBONE_DIAL_FAILED: "CONNECT",
  HBONE_DIAL_TIMEOUT: "NETWORK_POLICY",
  HBONE_HANDSHAKE_FAILED: "TLS_FAILURE",
  HBONE_HEADERS_TIMEOUT: "CONNECT",
  HBONE_PEER_CERTIFICATE: "TLS_FAILURE",
  HBONE_PEER_EXPIRED: "CONNECT",
  HBONE_PEER_IDENTITY: "TLS_FAILURE",
  HBONE_PREFACE_TIMEOUT: "H2_HANDSHAKE_FAILURE",
  HBONE_SETTINGS_TIMEOUT: "H2_HANDSHAKE_FAILURE",
  HBONE_PING_TIMEOUT: "CONNECT",
  HBONE_SESSION_CLOSED: "CONNECT",
  HBONE_STREAM_REFUSED: "CONNECT",
  HBONE_STREAM_RESET: "CONNECT",
  CERTIFICATE_UNAVAILABLE: "IDENTITY_ERROR",
  CONNECT_FAILED: "CONNECT",
  CONNECT_TIMEOUT: "CONNECT",
  CONNECTION_DENIED: "DENY",
  CONNECTION_POLICY_CHANGED: "DENY",
  OUTBOUND_REJECTED: "CONNECT",
};

/** The one place that turns errors into response flags and the access log's words (ztunnel.md §10.1, §10.2). */
export function describeFailure(error: unknown): ConnectionFailure {
  const flag = flags[errorCode(error)] ?? "-";
  return { flag, text: error instanceof ZtunnelError ? error.message : errorMessage(error) };
}

/** A TCP connection to an application or to an uncaptured address that could not be made. */
export function connectFailed(address: SocketAddress, cause: unknown): ZtunnelError {
  const where = formatSocketAddress(address);
  if (errorCode(cause) === "TCP_CONNECT_TIMEOUT")
    return new ZtunnelError(`connection timed out: ${where}`, { code: "CONNECT_TIMEOUT", origin: "upstream", cause });
  const message = `connection failed: ${where}: ${errorMessage(cause)}`;
  return new ZtunnelError(message, { code: "CONNECT_FAILED", origin: "upstream", cause });
}
