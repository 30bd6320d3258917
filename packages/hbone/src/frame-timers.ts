import type { Clock, Timer } from "@hairpin/shared/process";
import { ErrorCode, type Http2Session, type Http2SessionHandler } from "@hairpin/wire";

export interface FrameTimerOptions {
  /** How long the peer's first SETTINGS may take, and then its ack of ours. */
  readonly settingsTimeoutMs: number;
  /** How long a header block may take from its first byte to its last. */
  readonly headersTimeoutMs: number;
}

/** What the peer did not finish in time. */
export interface LateFrame {
  readonly kind: "preface" | "settings" | "headers";
  readonly message: string;
  /** What it is told. */
  readonly errorCode: number;
}

/**
 * The time that the HTTP/2 engine, which has no clock, leaves to its owner: the first SETTINGS, the ack of ours (RFC 9113 §6.5.3), and
 * the end of a header block (CVE-2024-27983 and kin: CONTINUATION without end). `onLate` is to end the session. Give the handlers to
 * the session, and `stop` when it closed.
 */
export class FrameTimers implements Pick<Http2SessionHandler, "onSettings" | "onHeaderBlock"> {
  readonly #session: Pick<Http2Session, "stats">;
  readonly #clock: Clock;
  readonly #options: FrameTimerOptions;
  readonly #onLate: (late: LateFrame) => void;
  #opened = false;
  #opening: Timer;
  #headers: Timer | undefined;

  constructor(
    session: Pick<Http2Session, "stats">,
    clock: Clock,
    options: FrameTimerOptions,
    onLate: (late: LateFrame) => void,
  ) {
    this.#session = session;
    this.#clock = clock;
    this.#options = options;
    this.#onLate = onLate;
    this.#opening = clock.setTimer(options.settingsTimeoutMs, () => {
      const message = `The peer sent no HTTP/2 settings within ${options.settingsTimeoutMs} ms`;
      onLate({ kind: "preface", message, errorCode: ErrorCode.NO_ERROR });
    });
  }

  onSettings(): void {
    if (this.#opened) return;
    this.#opened = true;
    this.#opening.cancel();
    const { settingsTimeoutMs } = this.#options;
    this.#opening = this.#clock.setTimer(settingsTimeoutMs, () => {
      if (this.#session.stats.settingsAcknowledged) return;
      const message = `The peer did not acknowledge our settings within ${settingsTimeoutMs} ms`;
      this.#onLate({ kind: "settings", message, errorCode: ErrorCode.SETTINGS_TIMEOUT });
    });
  }

  onHeaderBlock(open: boolean): void {
    this.#headers?.cancel();
    if (!open) return;
    const { headersTimeoutMs } = this.#options;
    this.#headers = this.#clock.setTimer(headersTimeoutMs, () => {
      const message = `The peer did not end a header block within ${headersTimeoutMs} ms`;
      this.#onLate({ kind: "headers", message, errorCode: ErrorCode.ENHANCE_YOUR_CALM });
    });
  }

  stop(): void {
    this.#opening.cancel();
    this.#headers?.cancel();
  }
}
