import type { Clock, Timer } from "@hairpin/shared/process";

/** Waits this long after a change for more of the same burst. */
const defaultQuietMs = 5;
/** A stream of changes cannot put the work off for longer than this. */
const defaultMaxWaitMs = 20;
/** The longest rest between two runs. */
const maxRestMs = 1000;

/**
 * Runs `work` soon after {@link Recomputation.request}, once for a burst of requests and never twice at the same time. After a
 * run it rests as long as the run was busy (at most 1 s), so that a large mesh in turmoil leaves half of the processor to others.
 * States: idle -request-> waiting -timer-> running -done-> idle; a request while running makes it wait again afterwards.
 */
export class Recomputation {
  readonly #clock: Clock;
  readonly #work: () => Promise<number>;
  readonly #options: { readonly quietMs: number; readonly maxWaitMs: number };
  #timer: Timer | undefined;
  #firstRequestAt = 0;
  #notBefore = 0;
  #running: Promise<void> | undefined;
  #again = false;
  #stopped = false;

  /** `work` must not reject; it resolves with the milliseconds for which it kept the processor busy. */
  constructor(
    components: { readonly clock: Clock; readonly work: () => Promise<number> },
    options: { readonly quietMs?: number; readonly maxWaitMs?: number } = {},
  ) {
    this.#clock = components.clock;
    this.#work = components.work;
    this.#options = { quietMs: options.quietMs ?? defaultQuietMs, maxWaitMs: options.maxWaitMs ?? defaultMaxWaitMs };
  }

  request(): void {
    if (this.#stopped) return;
    if (this.#running !== undefined) {
      this.#again = true;
      return;
    }
    const now = this.#clock.now();
    if (this.#timer === undefined) this.#firstRequestAt = now;
    this.#timer?.cancel();
    const latest = this.#firstRequestAt + this.#options.maxWaitMs;
    const wait = Math.max(0, Math.min(this.#options.quietMs, latest - now), this.#notBefore - now);
    this.#timer = this.#clock.setTimer(wait, () => this.#run());
  }

  /** Nothing runs any more once this resolved. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#running;
  }

  #run(): void {
    this.#timer = undefined;
    this.#running = this.#finish();
  }

  async #finish(): Promise<void> {
    const busyMs = await this.#work();
    this.#notBefore = this.#clock.now() + Math.min(busyMs, maxRestMs);
    this.#running = undefined;
    if (!this.#again) return;
    this.#again = false;
    this.request();
  }
}
