import type { Http1Limits, Http1RequestHandler } from "./message.ts";

/**
 * Reads requests: bytes in, events out. Stops at the end of every message, so that bytes of a next request, or of an
 * upgraded protocol, stay with the caller until it says `next()`.
 */
export declare class Http1RequestParser {
  constructor(handler: Http1RequestHandler, limits?: Partial<Http1Limits>);
  /** Returns how many bytes were consumed: all, unless a message ended. Throws Http1Error; every later call throws it again. */
  push(chunk: Uint8Array): number;
  /** The connection ended. Throws `HTTP1_TRUNCATED` inside a message. */
  finish(): void;
  /** Begins the next message; allowed inside `onEnd`, then `push` goes on in the same chunk. */
  next(): void;
  /** The message ended and `next` was not called yet. */
  readonly complete: boolean;
  /** No byte of the current message was read yet: a connection may be closed here without harm. */
  readonly idle: boolean;
}
