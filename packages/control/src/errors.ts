import { MeshError } from "@hairpin/shared/process";

/** Codes of this package; explained in the README. */
export type ControlErrorCode =
  | "CA_DIR_INVALID"
  | "CA_OVERLOADED"
  | "CA_SECRET_INVALID"
  | "TOKEN_REFUSED"
  | "TOKEN_REVIEW_FAILED"
  | "STORE_WATCH_FAILED"
  | "STORE_WRITE_FAILED"
  | "API_ALREADY_EXISTS"
  | "API_CONFLICT"
  | "API_EXPIRED"
  | "API_FORBIDDEN"
  | "API_INVALID"
  | "API_KIND_UNKNOWN"
  | "API_NOT_FOUND"
  | "API_OVERLOADED"
  | "API_UNAUTHORIZED"
  | "API_UNAVAILABLE";

export class ControlError extends MeshError {
  declare readonly code: ControlErrorCode;

  constructor(
    code: ControlErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly origin?: "downstream" | "upstream" | "internal" } = {},
  ) {
    super(message, { ...options, code, origin: options.origin ?? "internal" });
  }
}
