/** Lower runs first. As ztunnel's: traffic waits for `realtime`; `warmup` prepares for it; `background` renews in good time. */
export const fetchPriority = { realtime: 0, warmup: 1, background: 2 } as const;
export type FetchPriority = keyof typeof fetchPriority;

const mostUrgentFirst = ["realtime", "warmup", "background"] as const satisfies readonly FetchPriority[];

type Job = () => Promise<void>;

/**
 * Runs jobs, at most `concurrency` at once, the most urgent first and equals in order; a raised job comes last of its new
 * priority. A job never rejects: it settles its own outcome. A key waits once at most. Every operation is O(1).
 */
export class FetchQueue {
  readonly #concurrency: number;
  readonly #waiting: Readonly<Record<FetchPriority, Map<string, Job>>> = {
    realtime: new Map(),
    warmup: new Map(),
    background: new Map(),
  };
  #running = 0;

  constructor(concurrency: number) {
    this.#concurrency = concurrency;
  }

  push(key: string, priority: FetchPriority, job: Job): void {
    this.#waiting[priority].set(key, job);
    this.#next();
  }

  /** Makes a waiting job at least this urgent. */
  raise(key: string, priority: FetchPriority): void {
    const held = mostUrgentFirst.find((one) => this.#waiting[one].has(key));
    const job = held && this.#waiting[held].get(key);
    if (held === undefined || job === undefined || fetchPriority[priority] >= fetchPriority[held]) return;
    this.#waiting[held].delete(key);
    this.#waiting[priority].set(key, job);
  }

  /** Takes a waiting job back. */
  remove(key: string): void {
    for (const priority of mostUrgentFirst) this.#waiting[priority].delete(key);
  }

  #next(): void {
    while (this.#running < this.#concurrency) {
      const job = this.#takeMostUrgent();
      if (job === undefined) return;
      this.#running++;
      void job().finally(() => {
        this.#running--;
        this.#next();
      });
    }
  }

  #takeMostUrgent(): Job | undefined {
    for (const priority of mostUrgentFirst) {
      for (const [key, job] of this.#waiting[priority]) {
        this.#waiting[priority].delete(key);
        return job;
      }
    }
    return undefined;
  }
}
