import { type Clock, systemClock, type Timer } from "./clock.ts";

/** Takes back one unit of tracked work. Idempotent. */
export type Release = () => void;

/**
 * The end of a process's service: no new work, what runs may finish until the deadline.
 * Running → draining (`begin`) → empty (last release) or overdue (deadline); both end `whenEmpty`.
 */
export class Drain {
  readonly #clock: Clock;
  readonly #listeners = new Set<(deadlineMs: number) => void>();
  readonly #settled: PromiseWithResolvers<"empty" | "deadline"> = Promise.withResolvers();
  #tracked = 0;
  #idleWaiters: (() => void)[] = [];
  #draining = false;
  #timer: Timer | undefined;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  get draining(): boolean {
    return this.#draining;
  }

  /** Units of work not yet released. */
  get tracked(): number {
    return this.#tracked;
  }

  /** Starts draining; only the first call counts. Listeners run in the order in which they were added; what they throw reaches the caller after all ran. */
  begin(deadlineMs: number): void {
    if (this.#draining) return;
    this.#draining = true;
    this.#timer = this.#clock.setTimer(deadlineMs, () => this.#settled.resolve("deadline"));
    const errors: unknown[] = [];
    for (const listener of this.#listeners) {
      try {
        listener(deadlineMs);
      } catch (error) {
        errors.push(error);
      }
    }
    this.#settleIfEmpty();
    if (errors.length > 0) throw new AggregateError(errors, "A drain listener threw");
  }

  /** Calls back once when draining begins, at once if it has begun. Returns the way to stop listening. */
  onBegin(callback: (deadlineMs: number) => void): Release {
    if (this.#draining) callback(0);
    else this.#listeners.add(callback);
    return () => void this.#listeners.delete(callback);
  }

  /** Counts one unit of work (a connection, a stream) until the returned function is called. */
  track(): Release {
    this.#tracked++;
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.#tracked--;
      if (this.#tracked === 0) for (const wake of this.#idleWaiters.splice(0)) wake();
      this.#settleIfEmpty();
    };
  }

  /** Settles once draining has begun and all work was released (`empty`) or the deadline passed (`deadline`). */
  async whenEmpty(): Promise<"empty" | "deadline"> {
    return await this.#settled.promise;
  }

  /** Settles once nothing is tracked, draining or not. */
  async whenIdle(): Promise<void> {
    if (this.#tracked > 0) await new Promise<void>((resolve) => this.#idleWaiters.push(resolve));
  }

  #settleIfEmpty(): void {
    if (!this.#draining || this.#tracked > 0) return;
    this.#timer?.cancel();
    this.#settled.resolve("empty");
  }
}
