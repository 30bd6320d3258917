import type { Clock, Timer } from "@hairpin/shared/process";

/** Waits this long after a change for more of the same burst. */
export const defaultQuietMs = 5;
/** A stream of changes cannot put the work off for longer than this. */
export const defaultMaxWaitMs = 20;

/**
 * Runs `work` soon after {@link Recomputation.request}, once for a burst of requests and never twice at the same time.
 * States: idle -request-> waiting -timer-> running -done-> idle; a request while running makes it wait again afterwards.
 */
export class Recomputation {
  readonly #clock: Clock;
  readonly #work: () => Promise<void>;
  readonly #options: { readonly quietMs: number; readonly maxWaitMs: number };
  #timer: Timer | undefined;
  #firstRequestAt = 0;
  #running: Promise<void> | undefined;
  #again = false;
  #stopped = false;

  /** `work` must not reject. */
  constructor(
    components: { readonly clock: Clock; readonly work: () => Promise<void> },
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
    const wait = Math.max(0, Math.min(this.#options.quietMs, latest - now));
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
    this.#running = this.#work().finally(() => {
      this.#running = undefined;
      if (!this.#again) return;
      this.#again = false;
      this.request();
    });
  }
}
