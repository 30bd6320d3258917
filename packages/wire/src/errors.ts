/** Codes of errors that this package raises itself; errors of the kernel keep Node's code (`ECONNRESET`, `EPIPE`, ...). */
export type WireErrorCode =
  | "TCP_CONNECT_TIMEOUT"
  | "SOCKET_NOT_RAW"
  | "WRITE_AFTER_END"
  | "TLS_ENGINE_UNAVAILABLE"
  | "TLS_BAD_MATERIAL"
  | "TLS_CONTEXT_CLOSED"
  | "TLS_HANDSHAKE_FAILED"
  | "TLS_HANDSHAKE_TIMEOUT"
  | "TLS_HANDSHAKE_QUEUE_FULL"
  | "TLS_NO_ALPN"
  | "TLS_NO_PEER_CERTIFICATE"
  | "TLS_PROTOCOL_ERROR"
  | "TLS_TRUNCATED"
  | "CERTIFICATE_MALFORMED"
  | "CERTIFICATE_TOO_LARGE";

/** An error of sockets, TLS or certificates. The code is stable; the message names the values. */
export class WireError extends Error {
  readonly code: WireErrorCode;

  constructor(code: WireErrorCode, message: string, options?: { readonly cause?: unknown }) {
    super(message, options);
    this.name = "WireError";
    this.code = code;
  }
}
