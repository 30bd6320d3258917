// What users of HTTP/2 hold: a session (one connection) and its streams. session.ts makes them.

import type { ByteChannel, ByteChannelHandler } from "../byte-channel.ts";
import type { HeaderList } from "./header-field.ts";
import type { Http2Limit, Http2Options, Http2Role } from "./options.ts";

export interface Http2SessionOptions extends Http2Options {
  /** Monotonic milliseconds, for the flood budgets. Default `performance.now`. */
  readonly now?: () => number;
  /** After a fatal error: how long GOAWAY may take to leave before the channel is destroyed, ms. Default 1000. */
  readonly lingerMs?: number;
  /** A reset budget shared by all sessions of one peer, so that reconnecting does not refill it. Default: one of its own. */
  readonly resetBudget?: Http2Budget;
}

/** Something that can be spent; {@link createHttp2Budget} makes one. */
export interface Http2Budget {
  /** False: exhausted, the peer is to be cut off. */
  spend(nowMs: number, usefulBytes: number): boolean;
}

/** The peer's SETTINGS, with the protocol's defaults where it sent none. */
export interface Http2PeerSettings {
  readonly headerTableSize: number;
  /** 0xffffffff: no limit. */
  readonly maxConcurrentStreams: number;
  readonly initialWindowSize: number;
  readonly maxFrameSize: number;
  /** 0xffffffff: no limit. */
  readonly maxHeaderListSize: number;
  readonly enableConnectProtocol: boolean;
}

export interface Http2Goaway {
  readonly errorCode: number;
  /** Streams of ours above this were not processed; they have been closed with a retryable error. */
  readonly lastStreamId: number;
  /** The peer's words, at most 256 bytes kept; borrowed. */
  readonly debugData: Uint8Array;
}

/** What a session tells its owner. Calls come from reads and microtasks, never from inside a call the owner makes. */
export interface Http2SessionHandler {
  /**
   * Server: a request. An error thrown before the handler is set ends the session. Set the stream's handler before returning, or `reset` it; a stream left without a handler is reset with
   * INTERNAL_ERROR. The body comes after `stream.resume()`. `endStream`: there is no body and there are no trailers.
   */
  onStream?(stream: Http2Stream, headers: HeaderList, endStream: boolean): void;
  /** The peer's SETTINGS arrived (first, or changed). */
  onSettings?(settings: Http2PeerSettings): void;
  /** The peer announced its end; it may come twice (the first with the highest id). No stream can be opened any more. */
  onGoaway?(goaway: Http2Goaway): void;
  /** One of our streams (client role) ended: `canOpenStream` may have become true. */
  onStreamClosed?(): void;
  /** A limit bit; the offender is reset, refused or cut besides. May come while a stream is read: only count. */
  onLimit?(limit: Http2Limit): void;
  /** We reset a stream since the peer broke a rule on it; beside `onLimit` where the rule is a limit. Only count, as there. */
  onStreamFault?(errorCode: number): void;
  /**
   * After a read: a header block is incomplete (`true`; again for a later one), or none is any more. The owner may time this out
   * against peers that dribble (slow CONTINUATIONs, CVE-2024-27983 and kin).
   */
  onHeaderBlock?(open: boolean): void;
  /** The last event, once, after every stream's `onClose`. Undefined after a graceful end. */
  onClose(error: Error | undefined): void;
}

/**
 * One HTTP/2 connection. Created over a connected {@link ByteChannel}, which it owns from then on: it sets its handler,
 * resumes it, and ends or destroys it.
 */
export interface Http2Session {
  readonly role: Http2Role;
  readonly stats: Http2SessionStats;
  readonly peerSettings: Http2PeerSettings;
  /** Client: true when `request` would succeed now: not closing, ids left, below the peer's stream limit. */
  readonly canOpenStream: boolean;
  /** True from GOAWAY (either way), `shutdown` or a failure on: never reuse such a session. */
  readonly closing: boolean;
  /** True once `onClose` was delivered. */
  readonly closed: boolean;
  /**
   * Client: opens a stream. Throws {@link Http2Error} `HTTP2_SESSION_CLOSING`, `HTTP2_STREAM_LIMIT`
   * or `HTTP2_INVALID_HEADERS`; nothing was sent then. Set the stream's handler in the same turn.
   */
  request(headers: HeaderList, options?: { readonly endStream?: boolean }): Http2Stream;
  /** Sends a PING; `onAck` is called when its answer comes (never when the session ends first). False: too many unanswered. */
  ping(onAck: () => void): boolean;
  /**
   * Graceful end: GOAWAY, streams that are open may finish, then the channel ends. A server does it in two steps (highest id and
   * PING, then the real last id), so that requests already on their way are served (RFC 9113 §6.8). Idempotent.
   */
  shutdown(): void;
  /**
   * Ends now: GOAWAY with `errorCode` (default NO_ERROR), every stream's `onClose(error)`, channel ended, destroyed when it
   * lingers. `error` undefined: streams get `HTTP2_SESSION_CLOSED`, the session's `onClose` gets undefined.
   */
  destroy(error?: Error, errorCode?: number): void;
  /** Hands what is serialised to the channel now instead of at the end of this turn. */
  flush(): void;
}

/** Live numbers; read them when needed, the object does not change identity. */
export interface Http2SessionStats {
  /** Open or half closed, both initiators. */
  readonly openStreams: number;
  /** All streams so far. */
  readonly streamsOpened: number;
  /** Highest stream id of the peer that was handed to `onStream`. */
  readonly lastPeerStreamId: number;
  /** 0xffffffff: no limit; `assumedPeerMaxStreams` before its SETTINGS. */
  readonly peerMaxConcurrentStreams: number;
  /** Every byte from and to the channel. */
  readonly wireBytesReceived: number;
  readonly wireBytesSent: number;
  /** DATA payload without padding. */
  readonly dataBytesReceived: number;
  readonly dataBytesSent: number;
  /** Received and not yet taken by paused streams. */
  readonly heldBytes: number;
  /** Written by streams and not yet serialised. */
  readonly queuedBytes: number;
  readonly resetsReceived: number;
  readonly resetsSent: number;
  readonly unansweredPings: number;
  readonly peerSettingsReceived: boolean;
  /** False: the peer has not acknowledged our SETTINGS (RFC 9113 §6.5.3 lets the owner time this out). */
  readonly settingsAcknowledged: boolean;
  /** HEADERS frames so far, as soon as the first byte of their payload is due. */
  readonly headerBlocksBegun: number;
  /** The last of them is not read to the end of its block. */
  readonly headerBlockOpen: boolean;
  /** How often each limit bit. */
  readonly limitHits: Readonly<Record<Http2Limit, number>>;
}

/** {@link ByteChannelHandler} plus what a stream has beyond bytes; a plain byte handler fits. Heads come even while paused. */
export interface Http2StreamHandler extends ByteChannelHandler {
  /** Client: a 1xx response head (never 101). */
  onInformational?(headers: HeaderList): void;
  /** Client: the final response head. `endStream`: no body follows; `onEnd` comes too. */
  onHeaders?(headers: HeaderList, endStream: boolean): void;
  /** Trailers, after the last `onData` and before `onEnd`. */
  onTrailers?(headers: HeaderList): void;
}

/**
 * One request and its response, or one tunnel; as a {@link ByteChannel} its bytes are the DATA of the stream. It begins paused.
 * A client may write at once, a server after `respond`. A write or end at the wrong time, and whatever the handler throws, resets this
 * stream with INTERNAL_ERROR and comes back in `onClose`; `respond`, `sendInformational` and `sendTrailers` throw `HTTP2_INVALID_STATE`.
 * `onClose(undefined)` after both sides ended or after our own `reset`; otherwise an {@link Http2Error}
 * (`HTTP2_STREAM_RESET` with the peer's code, `HTTP2_GOAWAY`, `HTTP2_SESSION_CLOSED`, or our finding).
 */
export interface Http2Stream extends ByteChannel {
  readonly id: number;
  readonly session: Http2Session;
  /** Server: the request's head. Client: the final response's head, undefined before it came. */
  readonly headers: HeaderList | undefined;
  setHandler(handler: Http2StreamHandler): void;
  /** Server: a 1xx head before `respond` (100, 103; not 101). */
  sendInformational(headers: HeaderList): void;
  /** Server: the final head, once. With `endStream` our direction is ended by it. */
  respond(headers: HeaderList, options?: { readonly endStream?: boolean }): void;
  /** Ends our direction with trailers, after what was written. */
  sendTrailers(headers: HeaderList): void;
  /**
   * RST_STREAM now; unsent and undelivered bytes are dropped. With NO_ERROR after `end`/`sendTrailers`: after what was written, which is
   * how a server says that it needs no more of the request (RFC 9113 §8.1). `destroy` is `reset(CANCEL)`.
   */
  reset(errorCode: number): void;
  /** Our direction has been ended (END_STREAM is queued or sent). */
  readonly localEnded: boolean;
  /** The peer's END_STREAM was received (perhaps not yet delivered). */
  readonly remoteEnded: boolean;
}
