import { type Clock, delay } from "@hairpin/shared/process";

/** A bucket of `burst` tokens that fills with `perSecond`. Callers are served in the order in which they came. */
export class RateLimiter {
  readonly #clock: Clock;
  readonly #perSecond: number;
  readonly #burst: number;
  /** Below 0: promised to those who wait. */
  #tokens: number;
  #filledAt: number;

  constructor(clock: Clock, limits: { readonly perSecond: number; readonly burst: number }) {
    this.#clock = clock;
    this.#perSecond = limits.perSecond;
    this.#burst = limits.burst;
    this.#tokens = limits.burst;
    this.#filledAt = clock.now();
  }

  /** Resolves when the caller may go on. */
  async take(): Promise<void> {
    const now = this.#clock.now();
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#filledAt) / 1000) * this.#perSecond);
    this.#filledAt = now;
    this.#tokens--;
    if (this.#tokens < 0) await delay(this.#clock, (-this.#tokens / this.#perSecond) * 1000);
  }
}
