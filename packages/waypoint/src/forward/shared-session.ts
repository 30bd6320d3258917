import type { SessionMetrics } from "@hairpin/hbone";
import type { Clock, Timer } from "@hairpin/shared/process";
import {
  createHttp2Session,
  type ByteChannel,
  type HeaderList,
  type Http2Options,
  type Http2Session,
} from "@hairpin/wire";
import type { HttpStream } from "../http/http-stream.ts";

/** How long an HTTP/2 connection without requests is kept. */
const http2IdleMs = 60_000;
/** Requests that may wait for one connection to be made: as many streams as a peer is taken to allow before it said. */
const maxWaiting = 100;

/** Applications' requests, not tunnels: less is held of each, larger heads are allowed. */
const sessionOptions: Http2Options = {
  initialWindowSize: 1024 * 1024,
  connectionWindowSize: 4 * 1024 * 1024,
  maxHeaderListBytes: 64 * 1024,
  maxHeaderCount: 256,
  maxSendBufferBytes: 256 * 1024,
  assumedPeerMaxStreams: maxWaiting,
};

/**
 * One HTTP/2 connection to an application, shared by its requests; closed after a while without any.
 * States: connecting → open → retired (GOAWAY, or idle for long: takes no further request) → gone.
 */
export class SharedSession {
  readonly #connected: Promise<Http2Session>;
  readonly #clock: Clock;
  readonly #metrics: SessionMetrics;
  readonly #onGone: () => void;
  #session: Http2Session | undefined;
  #waiting = 0;
  #idleTimer: Timer | undefined;
  #retired = false;
  #destroyed = false;

  constructor(
    components: { readonly channel: Promise<ByteChannel>; readonly clock: Clock; readonly metrics: SessionMetrics },
    /** Called once, when the connection is gone or could not be made. */
    onGone: () => void,
  ) {
    this.#clock = components.clock;
    this.#metrics = components.metrics;
    this.#onGone = onGone;
    this.#connected = components.channel.then(
      (channel) => this.#start(channel),
      (error: unknown) => {
        this.#retired = true;
        this.#onGone();
        throw error;
      },
    );
  }

  get hasRoom(): boolean {
    if (this.#retired) return false;
    return this.#session ? this.#session.canOpenStream : this.#waiting < maxWaiting;
  }

  /** Rejects, for everybody who waits, when the connection could not be made. */
  async whenConnected(): Promise<Http2Session> {
    if (this.#session) return this.#session;
    this.#waiting++;
    try {
      return await this.#connected;
    } finally {
      this.#waiting--;
    }
  }

  /** Throws Http2Error; nothing was sent then. */
  request(session: Http2Session, headers: HeaderList, endStream: boolean): HttpStream {
    this.#idleTimer?.cancel();
    try {
      return session.request(headers, { endStream });
    } catch (error) {
      this.#watchIdle(session);
      throw error;
    }
  }

  /** Takes no further requests; those under way go on. */
  retire(): void {
    if (this.#retired) return;
    this.#retired = true;
    this.#idleTimer?.cancel();
    this.#session?.shutdown();
  }

  destroy(): void {
    this.#destroyed = true;
    this.#retired = true;
    this.#idleTimer?.cancel();
    this.#session?.destroy();
  }

  #start(channel: ByteChannel): Http2Session {
    const session = createHttp2Session({
      role: "client",
      channel,
      options: sessionOptions,
      handler: {
        onGoaway: () => this.retire(),
        ...this.#metrics.sessionHandler("upstream", "requests"),
        onStreamClosed: () => this.#watchIdle(session),
        onClose: () => {
          this.#retired = true;
          this.#idleTimer?.cancel();
          this.#onGone();
        },
      },
    });
    this.#session = session;
    if (this.#destroyed) session.destroy();
    else this.#watchIdle(session);
    return session;
  }

  #watchIdle(session: Http2Session): void {
    this.#idleTimer?.cancel();
    if (session.stats.openStreams === 0 && !this.#retired)
      this.#idleTimer = this.#clock.setTimer(http2IdleMs, () => this.retire(), { background: true });
  }
}
