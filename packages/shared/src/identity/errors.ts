import { MeshError } from "../process/mesh-error.ts";

/** Codes of this folder; explained in the package's README. */
export type IdentityErrorCode =
  | "CSR_INVALID"
  | "CERTIFICATE_INVALID"
  | "CERTIFICATE_TTL_TOO_LONG"
  | "ISSUER_EXPIRED"
  | "TRUST_BUNDLE_INVALID"
  | "CA_UNAVAILABLE"
  | "CA_REFUSED"
  | "CA_FAILED"
  | "CA_RESPONSE_INVALID"
  | "CA_CONFIG_INVALID"
  | "CERTIFICATE_FORGOTTEN"
  | "CERTIFICATE_STORE_FULL";

export class IdentityError extends MeshError {
  declare readonly code: IdentityErrorCode;

  constructor(
    code: IdentityErrorCode,
    message: string,
    options: {
      readonly cause?: unknown;
      readonly retryable?: boolean;
      readonly details?: Readonly<Record<string, unknown>>;
      readonly origin?: "downstream" | "upstream" | "internal";
    } = {},
  ) {
    super(message, { ...options, code, origin: options.origin ?? "internal" });
  }
}
