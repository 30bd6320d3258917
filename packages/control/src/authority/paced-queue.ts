import { ControlError } from "../errors.ts";

/** How long jobs and what they set off may keep the event loop before everything else gets its turn. One job takes 1 to 5 ms (RSA keys). */
const turnMs = 8;
/** A certificate request of every pod of a large mesh at once. */
const maxWaiting = 20_000;

/**
 * Begins short jobs one after another in turns of 8 ms, so that a thousand of them at once stall nothing else: pushes, probes and
 * new connections go on between them. What a job leaves to microtasks counts for its turn.
 */
export class PacedQueue {
  readonly #waiting: (() => void)[] = [];
  #isScheduled = false;

  /** Rejects with what the job threw, or with `CA_OVERLOADED` at once when 20,000 jobs wait already. */
  async run<T>(job: () => T | Promise<T>): Promise<T> {
    if (this.#waiting.length >= maxWaiting)
      throw new ControlError("CA_OVERLOADED", `${this.#waiting.length} certificate requests wait already`);
    const { promise, resolve, reject } = Promise.withResolvers<T>();
    this.#waiting.push(() => {
      try {
        resolve(job());
      } catch (error) {
        reject(error);
      }
    });
    this.#schedule();
    return await promise;
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => void this.#turn());
  }

  /** Never rejects: a job's error is its caller's. */
  async #turn(): Promise<void> {
    const end = performance.now() + turnMs;
    let done = 0;
    do {
      this.#waiting[done++]?.();
      await Promise.resolve();
    } while (done < this.#waiting.length && performance.now() < end);
    this.#waiting.splice(0, done);
    this.#isScheduled = false;
    if (this.#waiting.length > 0) this.#schedule();
  }
}
