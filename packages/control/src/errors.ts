import { MeshError } from "@hairpin/shared/process";

/** Codes of this package; explained in the README. */
export type ControlErrorCode =
  | "CA_DIR_INVALID"
  | "CA_OVERLOADED"
  | "CA_SECRET_INVALID"
  | "TOKEN_REFUSED"
  | "TOKEN_REVIEW_FAILED"
  | "STORE_WATCH_FAILED"
  | "STORE_WRITE_FAILED";

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
