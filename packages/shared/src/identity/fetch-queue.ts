/** Lower runs first. As ztunnel's: traffic waits for `realtime`; `warmup` prepares for it; `background` renews in good time. */
export const fetchPriority = { realtime: 0, warmup: 1, background: 2 } as const;
export type FetchPriority = keyof typeof fetchPriority;

interface Job {
  readonly key: string;
  priority: FetchPriority;
  readonly run: () => Promise<void>;
}

/** Runs jobs, at most `concurrency` at once, the most urgent first and equals in order. A job never rejects: it settles its own outcome. */
export class FetchQueue {
  readonly #concurrency: number;
  #waiting: Job[] = [];
  #running = 0;

  constructor(concurrency: number) {
    this.#concurrency = concurrency;
  }

  /** Jobs that have not begun. */
  get waiting(): number {
    return this.#waiting.length;
  }

  push(key: string, priority: FetchPriority, run: () => Promise<void>): void {
    this.#waiting.push({ key, priority, run });
    this.#next();
  }

  /** Makes a waiting job at least this urgent. */
  raise(key: string, priority: FetchPriority): void {
    const job = this.#waiting.find((one) => one.key === key);
    if (job !== undefined && fetchPriority[priority] < fetchPriority[job.priority]) job.priority = priority;
  }

  /** Takes a waiting job back. */
  remove(key: string): void {
    this.#waiting = this.#waiting.filter((job) => job.key !== key);
  }

  #next(): void {
    while (this.#running < this.#concurrency) {
      const job = this.#takeMostUrgent();
      if (job === undefined) return;
      this.#running++;
      void job.run().finally(() => {
        this.#running--;
        this.#next();
      });
    }
  }

  #takeMostUrgent(): Job | undefined {
    let best = 0;
    for (const [index, job] of this.#waiting.entries()) {
      if (fetchPriority[job.priority] < fetchPriority[this.#waiting[best]?.priority ?? "background"]) best = index;
    }
    return this.#waiting.splice(best, 1)[0];
  }
}
