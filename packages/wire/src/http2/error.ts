/** The error codes of RFC 9113 §7, as they travel in RST_STREAM and GOAWAY. */
export const ErrorCode = {
  NO_ERROR: 0x0,
  PROTOCOL_ERROR: 0x1,
  INTERNAL_ERROR: 0x2,
  FLOW_CONTROL_ERROR: 0x3,
  SETTINGS_TIMEOUT: 0x4,
  STREAM_CLOSED: 0x5,
  FRAME_SIZE_ERROR: 0x6,
  REFUSED_STREAM: 0x7,
  CANCEL: 0x8,
  COMPRESSION_ERROR: 0x9,
  CONNECT_ERROR: 0xa,
  ENHANCE_YOUR_CALM: 0xb,
  INADEQUATE_SECURITY: 0xc,
  HTTP_1_1_REQUIRED: 0xd,
} as const;
export type ErrorCode = (typeof ErrorCode)[keyof typeof ErrorCode];

const ERROR_NAMES: ReadonlyMap<number, string> = new Map(
  Object.entries(ErrorCode).map(([name, value]) => [value, name]),
);

/** `ENHANCE_YOUR_CALM` for 11, `0x2a` for a code no RFC names. */
export function formatErrorCode(errorCode: number): string {
  return ERROR_NAMES.get(errorCode) ?? `0x${errorCode.toString(16)}`;
}

/**
 * Everything that goes wrong in HTTP/2. `code` is stable:
 * - `HTTP2_<RFC NAME>` (`HTTP2_PROTOCOL_ERROR`, `HTTP2_ENHANCE_YOUR_CALM`, …): we found the fault and told the peer that code.
 * - `HTTP2_STREAM_RESET`: the peer sent RST_STREAM; `errorCode` is its reason.
 * - `HTTP2_GOAWAY`: the peer sent GOAWAY and will not process (or no longer processes) this stream or session.
 * - `HTTP2_SESSION_CLOSED`: the connection ended under the stream; `cause` says why when known.
 * - `HTTP2_SESSION_CLOSING`, `HTTP2_STREAM_LIMIT`: `request` cannot open a stream here.
 * - `HTTP2_INVALID_HEADERS`, `HTTP2_INVALID_STATE`, `HTTP2_INVALID_OPTION`: the caller's mistake; nothing was sent.
 */
export class Http2Error extends Error {
  override readonly name = "Http2Error";
  readonly code: string;
  /** The RFC 9113 §7 code that was sent or received. */
  readonly errorCode: number;
  /** True when the peer certainly did not process the request (REFUSED_STREAM, above GOAWAY's last id): safe to send again. */
  readonly retryable: boolean;

  constructor(message: string, details: { code: string; errorCode?: number; retryable?: boolean; cause?: unknown }) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = details.code;
    this.errorCode = details.errorCode ?? ErrorCode.NO_ERROR;
    this.retryable = details.retryable ?? false;
  }
}

/** A fault of the peer on one stream, with the code it is told in RST_STREAM. */
export function streamFault(errorCode: ErrorCode, message: string): Http2Error {
  return new Http2Error(message, { code: `HTTP2_${formatErrorCode(errorCode)}`, errorCode });
}

/** A fault of the peer (or a limit that bit) that ends the connection: thrown by parsers, caught where bytes come in. */
export class ConnectionFault extends Http2Error {
  override readonly errorCode: ErrorCode;

  constructor(errorCode: ErrorCode, message: string) {
    super(message, { code: `HTTP2_${formatErrorCode(errorCode)}`, errorCode });
    this.errorCode = errorCode;
  }
}
