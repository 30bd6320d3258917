import type { ByteChannel, HeaderList, Http1Writer, Http2StreamHandler } from "@hairpin/wire";

/** Of a final response head. */
export interface RespondOptions {
  /** The head is the whole response. */
  readonly endStream?: boolean;
  /** HTTP/1.1: say that the connection closes after this response, since the rest of the request will not be read. */
  readonly close?: boolean;
}

/**
 * One request and its response, whichever HTTP version carries it; wire's Http2Stream is one. As a {@link ByteChannel} its
 * bytes are the body. Heads are header lists with HTTP/2's pseudo-header fields; an HTTP/1.1 `Upgrade` request carries the
 * field {@link upgradeField} besides, and after a 101 the bytes of both directions are the other protocol's.
 */
export interface HttpStream extends ByteChannel {
  setHandler(handler: Http2StreamHandler): void;
  /** Server: a 1xx head before `respond`. */
  sendInformational(headers: HeaderList): void;
  /** Server: the final head, once. Throws, with nothing sent, when the head cannot be expressed. */
  respond(headers: HeaderList, options?: RespondOptions): void;
  /** Ends our direction with trailers. */
  sendTrailers(headers: HeaderList): void;
  /**
   * Ends the exchange now with an HTTP/2 error code; over HTTP/1.1 the connection is closed. With NO_ERROR after our end:
   * the rest of what the peer sends is not wanted, and what we sent still arrives.
   */
  reset(errorCode: number): void;
}

/** What a connection, as a server, hands out per request. */
export type OnHttpStream = (stream: HttpStream, headers: HeaderList, endStream: boolean) => void;

/** Pseudo-header field of this package for the protocol of an HTTP/1.1 upgrade (`websocket`). Never sent as such. */
export const upgradeField = ":upgrade";

/** Fields that belong to one hop (RFC 9110 §7.6.1); they never pass the proxy. `connection` may name more. */
export const hopByHopFields: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "te",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
]);

export type HttpStreamErrorCode =
  | "HTTP_STREAM_RESET"
  | "HTTP_STREAM_DESTROYED"
  | "HTTP_CONNECTION_CLOSED"
  | "HTTP_BAD_MESSAGE";

export class HttpStreamError extends Error {
  override readonly name = "HttpStreamError";
  readonly code: HttpStreamErrorCode;
  /**
   * True: the peer certainly saw no part of the request that it could act on. "idempotent": probably, so only what may be done
   * twice is worth another try (RFC 9110 §9.2.2).
   */
  readonly retryable: boolean | "idempotent";
  /** The status with which the peer was refused, when its message was bad and it was told. */
  readonly status: number | undefined;

  constructor(
    message: string,
    details: {
      readonly code: HttpStreamErrorCode;
      readonly retryable?: boolean | "idempotent";
      readonly status?: number;
      readonly cause?: unknown;
    },
  ) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = details.code;
    this.retryable = details.retryable ?? false;
    this.status = details.status;
  }
}

const thisTurn = Promise.resolve();

/** Sends a held head when what runs now has returned. (`queueMicrotask` makes an asynchronous resource for each call.) */
export function flushAfterTurn(writer: Http1Writer): void {
  void thisTurn.then(() => writer.flush());
}

/**
 * Writes a part of an HTTP/1.1 body. One that is not as long as its head announced cannot be mended: the connection is
 * destroyed, and undefined returned.
 */
export function writeBody<T>(channel: ByteChannel, message: "request" | "response", write: () => T): T | undefined {
  try {
    return write();
  } catch (cause) {
    const text = `The ${message}'s body is not what its head announced`;
    channel.destroy(new HttpStreamError(text, { code: "HTTP_BAD_MESSAGE", cause }));
    return undefined;
  }
}
