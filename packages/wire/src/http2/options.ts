import { Http2Error } from "./error.ts";

/** A token bucket: `burst` events at once, refilled by time and by useful DATA bytes in either direction. */
export interface BudgetOptions {
  readonly burst: number;
  readonly perSecond: number;
  /** One token back for so many DATA bytes received or sent; 0: bytes earn nothing. */
  readonly usefulBytesPerToken: number;
  /** Beyond the burst, events for each useful byte of the whole session, however slowly they come. Default: no limit. */
  readonly maxEventsPerUsefulByte?: number;
}

/** Kinds of cheap frames that cost the receiver more than the sender; each has a budget of its own. */
export interface FloodBudgetOptions {
  /** Streams the peer opened and reset, or made us reset (rapid reset, CVE-2023-44487, and MadeYouReset, CVE-2025-8671). Default 100, 20 a second. */
  readonly resets: BudgetOptions;
  /** PING, and acks nobody asked for. Default 200, 50 a second, one more per KiB of data (gRPC probes bandwidth with pings). */
  readonly pings: BudgetOptions;
  /** SETTINGS that are not acks. Default 32, 2 a second. */
  readonly settings: BudgetOptions;
  /** DATA without a byte of data and without END_STREAM. Default 500, 50 a second. */
  readonly emptyData: BudgetOptions;
  /** PRIORITY, unknown frame types, and frames for streams that are gone. Default 2000, 200 a second. */
  readonly ignoredFrames: BudgetOptions;
  /** WINDOW_UPDATE. Default 5000, 1000 a second, one more per 64 bytes of data, and never above 1000 for each byte (CVE-2019-9511). */
  readonly windowUpdates: BudgetOptions;
}

export type FloodKind = keyof FloodBudgetOptions;

/** Names under which {@link Http2SessionStats.limitHits} counts. */
export type Http2Limit =
  | FloodKind
  | "concurrentStreams"
  | "headerListBytes"
  | "headerCount"
  | "headerBlockBytes"
  | "continuationFrames"
  | "informationalHeads"
  | "controlFrameBytes"
  | "threadSendBuffer";

/** Every limit and size. Undefined fields take the default in the comment; `server | client` where they differ. */
export interface Http2Options {
  /** Receive window of a stream, bytes: what may lie held here while the stream is paused. Default 4 MiB. */
  readonly initialWindowSize?: number;
  /** Receive window of the connection, bytes: what may lie held here for all paused streams together. Default 16 MiB. */
  readonly connectionWindowSize?: number;
  /** Largest frame payload we accept, bytes, 16 KiB..16 MiB-1. Default 16 KiB; HBONE uses 1 MiB. */
  readonly maxFrameSize?: number;
  /**
   * Largest DATA payload that we put together from copies, bytes: smaller shares the connection more evenly. Default 64 KiB. A whole read
   * of a socket (128 KiB) goes as one frame, since it goes without a copy. The peer's limit holds for both.
   */
  readonly maxDataFrameBytes?: number;
  /** Streams the peer may have open at once; more are refused (safe to retry). Default 200. Client: 0 in effect, push is refused. */
  readonly maxConcurrentStreams?: number;
  /** Our streams open at once before the peer's SETTINGS arrived. Default 100 (RFC 9113 §6.5.2 recommends peers allow that). */
  readonly assumedPeerMaxStreams?: number;
  /** Decoded size of one header list, RFC 7541 §4.1 bytes (32 + name + value each). Default 16 KiB. */
  readonly maxHeaderListBytes?: number;
  /** Fields in one header list. Default 64; raise where browsers split cookies. */
  readonly maxHeaderCount?: number;
  /** Compressed size of one header block (HEADERS and its CONTINUATIONs), bytes. Default: `maxHeaderListBytes`. */
  readonly maxHeaderBlockBytes?: number;
  /** CONTINUATION frames of one header block. Default 8. */
  readonly maxContinuationFrames?: number;
  /** 1xx heads of one response. Default 16. */
  readonly maxInformationalHeads?: number;
  /** Dynamic table that peers may use towards us, bytes. Default 4096; 0 switches it off. */
  readonly headerTableSize?: number;
  /** Dynamic table that we use towards peers, bytes, if they allow as much. Default 4096. */
  readonly encoderTableSize?: number;
  /** Unsent bytes of one stream above which `write` returns false. Default 400 KiB | 4 MiB. */
  readonly maxSendBufferBytes?: number;
  /** Unsent bytes of all streams above which every `write` that had to queue returns false. Default 16 MiB. */
  readonly maxSessionSendBufferBytes?: number;
  /** Unsent bytes of all sessions of the thread above which the same holds. Default 256 MiB. */
  readonly maxThreadSendBufferBytes?: number;
  /** Serialised bytes waiting for a full channel above which we stop reading from it. Default 1 MiB. */
  readonly maxOutputBytes?: number;
  /** Streams we reset whose late frames are forgiven. Default 1024. */
  readonly rememberedResets?: number;
  /** PINGs of ours without an answer; more are refused by `ping`. Default 16. */
  readonly maxOutstandingPings?: number;
  /** A stream with this id or a higher one is the session's last: it goes away gracefully. Default 2^30; ids end at 2^31-1 (RFC 9113 §5.1.1). */
  readonly streamIdLimit?: number;
  /** Server: accept, and client: use, extended CONNECT (RFC 8441). Default false. */
  readonly extendedConnect?: boolean;
  /** Overrides of single flood budgets. */
  readonly budgets?: Partial<FloodBudgetOptions>;
}

export type Http2Role = "client" | "server";
export type ResolvedHttp2Options = Required<Omit<Http2Options, "budgets">> & { readonly budgets: FloodBudgetOptions };

const KIB = 1024;
const MIB = 1024 * KIB;
/** RFC 9113 §6.9.1: windows end at 2^31-1. */
const MAX_WINDOW = 0x7fffffff;

const DEFAULT_BUDGETS: FloodBudgetOptions = {
  resets: { burst: 100, perSecond: 20, usefulBytesPerToken: 0 },
  pings: { burst: 200, perSecond: 50, usefulBytesPerToken: KIB },
  settings: { burst: 32, perSecond: 2, usefulBytesPerToken: 0 },
  emptyData: { burst: 500, perSecond: 50, usefulBytesPerToken: 16 * KIB },
  ignoredFrames: { burst: 2000, perSecond: 200, usefulBytesPerToken: KIB },
  windowUpdates: { burst: 5000, perSecond: 1000, usefulBytesPerToken: 64, maxEventsPerUsefulByte: 1000 },
};

/** Fills in the defaults and refuses what the protocol cannot express (`HTTP2_INVALID_OPTION`, a programming mistake). */
export function resolveHttp2Options(role: Http2Role, options: Http2Options = {}): ResolvedHttp2Options {
  const maxHeaderListBytes = options.maxHeaderListBytes ?? 16 * KIB;
  const resolved: ResolvedHttp2Options = {
    initialWindowSize: options.initialWindowSize ?? 4 * MIB,
    connectionWindowSize: options.connectionWindowSize ?? 16 * MIB,
    maxFrameSize: options.maxFrameSize ?? 16 * KIB,
    maxDataFrameBytes: options.maxDataFrameBytes ?? 64 * KIB,
    maxConcurrentStreams: options.maxConcurrentStreams ?? 200,
    assumedPeerMaxStreams: options.assumedPeerMaxStreams ?? 100,
    maxHeaderListBytes,
    maxHeaderCount: options.maxHeaderCount ?? 64,
    maxHeaderBlockBytes: options.maxHeaderBlockBytes ?? maxHeaderListBytes,
    maxContinuationFrames: options.maxContinuationFrames ?? 8,
    maxInformationalHeads: options.maxInformationalHeads ?? 16,
    headerTableSize: options.headerTableSize ?? 4096,
    encoderTableSize: options.encoderTableSize ?? 4096,
    maxSendBufferBytes: options.maxSendBufferBytes ?? (role === "server" ? 400 * KIB : 4 * MIB),
    maxSessionSendBufferBytes: options.maxSessionSendBufferBytes ?? 16 * MIB,
    maxThreadSendBufferBytes: options.maxThreadSendBufferBytes ?? 256 * MIB,
    maxOutputBytes: options.maxOutputBytes ?? MIB,
    rememberedResets: options.rememberedResets ?? 1024,
    maxOutstandingPings: options.maxOutstandingPings ?? 16,
    streamIdLimit: options.streamIdLimit ?? 0x40000000,
    extendedConnect: options.extendedConnect ?? false,
    budgets: { ...DEFAULT_BUDGETS, ...options.budgets },
  };
  checkRange("initialWindowSize", resolved.initialWindowSize, 0, MAX_WINDOW);
  // The connection's window starts at 65,535 and can only grow (RFC 9113 §6.9.2).
  checkRange("connectionWindowSize", resolved.connectionWindowSize, 65_535, MAX_WINDOW);
  checkRange("maxFrameSize", resolved.maxFrameSize, 16_384, 0xffffff);
  checkRange("maxDataFrameBytes", resolved.maxDataFrameBytes, 1, 0xffffff);
  checkRange("maxConcurrentStreams", resolved.maxConcurrentStreams, 0, 0xffffffff);
  checkRange("headerTableSize", resolved.headerTableSize, 0, MIB);
  checkRange("encoderTableSize", resolved.encoderTableSize, 0, MIB);
  checkRange("maxHeaderListBytes", resolved.maxHeaderListBytes, 0, 0xffffffff);
  return resolved;
}

function checkRange(name: string, value: number, least: number, most: number): void {
  if (Number.isInteger(value) && value >= least && value <= most) return;
  throw new Http2Error(`${name} must be a whole number from ${least} to ${most}, not ${value}`, {
    code: "HTTP2_INVALID_OPTION",
  });
}
