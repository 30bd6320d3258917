/** Codes of everything that this engine refuses to read or to write. */
export type Http1ErrorCode =
  | "HTTP1_BAD_REQUEST_LINE"
  | "HTTP1_BAD_STATUS_LINE"
  | "HTTP1_BAD_METHOD"
  | "HTTP1_BAD_TARGET"
  | "HTTP1_BAD_VERSION"
  | "HTTP1_BAD_LINE_END"
  | "HTTP1_BAD_HEADER_NAME"
  | "HTTP1_BAD_HEADER_VALUE"
  | "HTTP1_FOLDED_HEADER"
  | "HTTP1_SPACE_BEFORE_COLON"
  | "HTTP1_AMBIGUOUS_HEADER_NAME"
  | "HTTP1_BAD_HOST"
  | "HTTP1_HOST_MISMATCH"
  | "HTTP1_MISSING_HOST"
  | "HTTP1_DUPLICATE_HOST"
  | "HTTP1_BAD_CONTENT_LENGTH"
  | "HTTP1_DUPLICATE_CONTENT_LENGTH"
  | "HTTP1_BAD_TRANSFER_ENCODING"
  | "HTTP1_LENGTH_AND_TRANSFER_ENCODING"
  | "HTTP1_BODY_NOT_ALLOWED"
  | "HTTP1_BAD_CONNECTION"
  | "HTTP1_BAD_EXPECT"
  | "HTTP1_BAD_CHUNK"
  | "HTTP1_CHUNK_LINE_TOO_LARGE"
  | "HTTP1_FORBIDDEN_TRAILER"
  | "HTTP1_TRAILERS_TOO_LARGE"
  | "HTTP1_HEAD_TOO_LARGE"
  | "HTTP1_TOO_MANY_HEADERS"
  | "HTTP1_TOO_MANY_INFORMATIONAL"
  | "HTTP1_UNEXPECTED_RESPONSE"
  | "HTTP1_TRUNCATED"
  | "HTTP1_BODY_LENGTH_MISMATCH"
  | "HTTP1_WRITER_STATE";

/**
 * A message that is not unambiguously valid, or a limit. After it nothing that follows on the connection can be
 * trusted: answer with `status` if a request was read, then close.
 */
export class Http1Error extends Error {
  readonly code: Http1ErrorCode;
  /** What a server answers: 400, 417, 431, 501 or 505. A proxy answers 502 when the bad message was a response. */
  readonly status: number;

  constructor(code: Http1ErrorCode, message: string, status: number = 400) {
    super(message);
    this.name = "Http1Error";
    this.code = code;
    this.status = status;
  }
}
