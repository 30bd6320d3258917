/** Codes of {@link OpensslError}. */
export type OpensslErrorCode =
  /** A symbol is missing, or the FFI does not load: use another TLS implementation. */
  | "OPENSSL_UNAVAILABLE"
  /** Key, certificates or roots cannot be used. */
  | "OPENSSL_BAD_MATERIAL"
  /** The object was closed before. */
  | "OPENSSL_CLOSED"
  /** OpenSSL refused or broke off the connection; `reason` tells why. */
  | "OPENSSL_FAILED";

/** What OpenSSL's error queue said, or a mistake in the use of this package. */
export class OpensslError extends Error {
  readonly code: OpensslErrorCode;
  /** SSL_R_*: the reason of the first error in the queue, see {@link SslReason}; 0 when there was none. */
  readonly reason: number;

  constructor(
    code: OpensslErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly reason?: number } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "OpensslError";
    this.code = code;
    this.reason = options.reason ?? 0;
  }
}
