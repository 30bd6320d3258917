import { MeshError } from "@hairpin/shared/process";

export type DnsErrorCode =
  | "DNS_CLIENT_UNKNOWN"
  | "DNS_LIMITED"
  | "DNS_NO_NAME_SERVER"
  | "DNS_UPSTREAM_FAILED"
  | "DNS_UPSTREAM_TIMEOUT";

/** Why a query gets SERVFAIL; told in the debug log only. */
export class DnsError extends MeshError {
  declare readonly code: DnsErrorCode;

  constructor(code: DnsErrorCode, message: string, cause?: unknown) {
    super(message, { code, origin: code.startsWith("DNS_UPSTREAM") ? "upstream" : "internal", cause });
  }
}
