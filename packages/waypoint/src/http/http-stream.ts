import type { ByteChannel, HeaderList, Http2StreamHandler } from "@hairpin/wire";

/**
 * One request and its response, whichever HTTP version carries it; wire's Http2Stream is one. As a {@link ByteChannel} its
 * bytes are the body. Heads are header lists with HTTP/2's pseudo-header fields; an HTTP/1.1 `Upgrade` request carries the
 * field {@link upgradeField} besides, and after a 101 the bytes of both directions are the other protocol's.
 */
export interface HttpStream extends ByteChannel {
  setHandler(handler: Http2StreamHandler): void;
  /** Server: a 1xx head before `respond`. */
  sendInformational(headers: HeaderList): void;
  /** Server: the final head, once. */
  respond(headers: HeaderList, options?: { readonly endStream?: boolean }): void;
  /** Ends our direction with trailers. */
  sendTrailers(headers: HeaderList): void;
  /** Ends the exchange now with an HTTP/2 error code; over HTTP/1.1 the connection is closed. */
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
  "proxy-authenticate",
  "proxy-authorization",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "http2-settings",
]);

export class HttpStreamError extends Error {
  override readonly name = "HttpStreamError";
  readonly code: "HTTP_STREAM_RESET" | "HTTP_STREAM_DESTROYED" | "HTTP_CONNECTION_CLOSED" | "HTTP_BAD_MESSAGE";
  /** True when the peer certainly saw no part of the request that it could act on. */
  readonly retryable: boolean;

  constructor(message: string, details: { code: HttpStreamError["code"]; retryable?: boolean; cause?: unknown }) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = details.code;
    this.retryable = details.retryable ?? false;
  }
}
