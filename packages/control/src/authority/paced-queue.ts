import { ControlError } from "../errors.ts";

/** How long jobs may keep the event loop before everything else gets its turn. One job takes 1 to 5 ms (RSA keys). */
const turnMs = 8;
/** A certificate request of every pod of a large mesh at once. */
const maxWaiting = 20_000;

/**
 * Runs short synchronous jobs one after another in turns of 8 ms, so that a thousand of them at once stall nothing else: pushes,
 * probes and new connections go on between them.
 */
export class PacedQueue {
  readonly #waiting: (() => void)[] = [];
  #isScheduled = false;

  /** Rejects with what the job threw, or with `CA_OVERLOADED` at once when 20,000 jobs wait already. */
  async run<T>(job: () => T): Promise<T> {
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
    setImmediate(() => this.#turn());
  }

  #turn(): void {
    this.#isScheduled = false;
    const end = performance.now() + turnMs;
    let done = 0;
    while (done < this.#waiting.length && (done === 0 || performance.now() < end)) this.#waiting[done++]?.();
    this.#waiting.splice(0, done);
    if (this.#waiting.length > 0) this.#schedule();
  }
}
