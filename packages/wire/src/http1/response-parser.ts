import type { Http1Limits, Http1ResponseHandler } from "./message.ts";

/** Reads responses; as {@link Http1RequestParser}. Bytes before `next(method)` are `HTTP1_UNEXPECTED_RESPONSE`. */
export declare class Http1ResponseParser {
  constructor(handler: Http1ResponseHandler, limits?: Partial<Http1Limits>);
  push(chunk: Uint8Array): number;
  /** The connection ended: ends a body framed by the close, throws `HTTP1_TRUNCATED` in any other message. */
  finish(): void;
  /** Begins the response to a request with this method (it decides whether there is a body). */
  next(requestMethod: string): void;
  readonly complete: boolean;
  readonly idle: boolean;
}
