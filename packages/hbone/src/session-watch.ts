import type { Clock, Timer } from "@hairpin/shared/process";
import { ErrorCode, type Http2Session, type Http2SessionHandler } from "@hairpin/wire";
import { HboneError, type HboneErrorCode } from "./errors.ts";
import { FrameTimers, type LateFrame } from "./frame-timers.ts";
import type { SessionWatchOptions } from "./options.ts";
import type { SessionSide } from "./session-metrics.ts";

/** A session takes no new tunnels in the last part of its peer's certificate, so that few are open when it ends. */
const lastPartOfCertificate = 0.1;
/** Sessions that began together do not end together: up to this part of the age is cut off. */
const ageJitter = 0.1;

const lateCodes: Readonly<Record<LateFrame["kind"], HboneErrorCode>> = {
  preface: "HBONE_PREFACE_TIMEOUT",
  settings: "HBONE_SETTINGS_TIMEOUT",
  headers: "HBONE_HEADERS_TIMEOUT",
};

/** What the watch is told about the session besides its frames. */
export interface WatchedSession {
  readonly session: Http2Session;
  readonly side: SessionSide;
  /** When the peer's certificate, or one above it, ends. */
  readonly expiresAt: Date;
  /** Takes no further tunnels; those that are open go on. */
  drain(): void;
}

/**
 * Ends a tunnel session by time: when the peer dawdles ({@link FrameTimers}), when it answers no PING (a node that lost power would
 * hold its tunnels for ever), and when its certificate has ended. Moves on from sessions that are old. Give its handlers to the
 * session, and `stop` it when that closed.
 *
 * A beat comes `pingIntervalMs` after the last PING was answered. The certificate is looked at in each, by the date, which may jump:
 * a session is closed `pingIntervalMs + pingTimeoutMs` after its end at the latest.
 */
export class SessionWatch implements Pick<Http2SessionHandler, "onSettings" | "onHeaderBlock"> {
  readonly #watched: WatchedSession;
  readonly #clock: Clock;
  readonly #options: SessionWatchOptions;
  readonly #frames: FrameTimers;
  readonly #drainAt: number;
  readonly #drainDate: number;
  #draining = false;
  #beat: Timer;

  constructor(watched: WatchedSession, clock: Clock, options: SessionWatchOptions) {
    this.#watched = watched;
    this.#clock = clock;
    this.#options = options;
    const onLate = ({ kind, message, errorCode }: LateFrame): void => this.#end(lateCodes[kind], message, errorCode);
    this.#frames = new FrameTimers(watched.session, clock, options, onLate);
    const date = clock.wallTime().getTime();
    this.#drainAt = clock.now() + options.maxAgeMs * (1 - ageJitter * Math.random());
    this.#drainDate = date + (watched.expiresAt.getTime() - date) * (1 - lastPartOfCertificate);
    this.#beat = clock.setTimer(options.pingIntervalMs, () => this.#onBeat());
  }

  onSettings(): void {
    this.#frames.onSettings();
  }

  onHeaderBlock(open: boolean): void {
    this.#frames.onHeaderBlock(open);
  }

  stop(): void {
    this.#frames.stop();
    this.#beat.cancel();
  }

  #onBeat(): void {
    const { expiresAt, session } = this.#watched;
    const date = this.#clock.wallTime().getTime();
    if (date >= expiresAt.getTime()) {
      this.#end("HBONE_PEER_EXPIRED", `The peer's certificate ended at ${expiresAt.toISOString()}`);
      return;
    }
    if (!this.#draining && (this.#clock.now() >= this.#drainAt || date >= this.#drainDate)) {
      this.#draining = true;
      this.#watched.drain();
    }
    if (!session.ping(() => this.#onPong())) return;
    const { pingTimeoutMs } = this.#options;
    this.#beat = this.#clock.setTimer(pingTimeoutMs, () =>
      this.#end("HBONE_PING_TIMEOUT", `The peer did not answer a PING within ${pingTimeoutMs} ms`),
    );
  }

  #onPong(): void {
    this.#beat.cancel();
    if (this.#watched.session.closed) return;
    this.#beat = this.#clock.setTimer(this.#options.pingIntervalMs, () => this.#onBeat());
  }

  #end(code: HboneErrorCode, message: string, errorCode: number = ErrorCode.NO_ERROR): void {
    this.#watched.session.destroy(new HboneError(message, { code, origin: this.#watched.side }), errorCode);
  }
}
