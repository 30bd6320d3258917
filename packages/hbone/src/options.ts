import type { Http2Options } from "@hairpin/wire";
import type { FrameTimerOptions } from "./frame-timers.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** Sizes that both sides of a session use: windows and frames as ztunnel has them. */
const common: Http2Options = {
  initialWindowSize: 4 * MIB,
  connectionWindowSize: 16 * MIB,
  maxFrameSize: MIB,
  maxHeaderCount: 64,
  // Half a window: enough that a bulk transfer goes on in bursts, which costs least, and small enough to stay in the processor's cache.
  maxSendBufferBytes: 2 * MIB,
  maxSessionSendBufferBytes: 2 * MIB,
};

/** HTTP/2 settings of the side that accepts tunnels. */
export const inboundHttp2Options: Http2Options = {
  ...common,
  maxConcurrentStreams: 200,
  maxHeaderListBytes: 64 * KIB,
};

/** HTTP/2 settings of the side that dials tunnels. */
export const outboundHttp2Options: Http2Options = {
  ...common,
  maxHeaderListBytes: 16 * KIB,
};

/** What a session's peer may take its time for. */
export interface SessionWatchOptions extends FrameTimerOptions {
  /** A PING is sent this long after the last one was answered. */
  readonly pingIntervalMs: number;
  /** A session whose PING is not answered for this long is dead. */
  readonly pingTimeoutMs: number;
  /** A session of this age, or up to a tenth less, takes no new tunnels. */
  readonly maxAgeMs: number;
}

/** Of every HTTP/2 session, tunnels or not. */
export const defaultFrameTimerOptions: FrameTimerOptions = { settingsTimeoutMs: 5000, headersTimeoutMs: 5000 };

const watchOptions: SessionWatchOptions = {
  ...defaultFrameTimerOptions,
  pingIntervalMs: 10_000,
  pingTimeoutMs: 20_000,
  maxAgeMs: 12 * 3_600_000,
};

/** Settings of a {@link TunnelDialer}. */
export interface TunnelDialerOptions extends SessionWatchOptions {
  /** TCP connect, and then the TLS handshake: each may take this long. */
  readonly connectTimeoutMs: number;
  /** How long the answer to a CONNECT may take. The other side dials the application meanwhile, perhaps over another hop. */
  readonly responseTimeoutMs: number;
  /** Tunnels per session; the peer's own limit holds besides. */
  readonly maxTunnelsPerSession: number;
  /** How long a session without tunnels is kept. */
  readonly idleReleaseMs: number;
  readonly http2: Http2Options;
}

export const defaultTunnelDialerOptions: TunnelDialerOptions = {
  connectTimeoutMs: 10_000,
  responseTimeoutMs: 30_000,
  maxTunnelsPerSession: 100,
  idleReleaseMs: 5 * 60_000,
  ...watchOptions,
  http2: outboundHttp2Options,
};

/** Settings of accepted sessions. */
export interface TunnelListenerOptions extends SessionWatchOptions {
  /** How long TLS may take. */
  readonly handshakeTimeoutMs: number;
  readonly http2: Http2Options;
}

export const defaultTunnelListenerOptions: TunnelListenerOptions = {
  handshakeTimeoutMs: 5000,
  ...watchOptions,
  http2: inboundHttp2Options,
};
