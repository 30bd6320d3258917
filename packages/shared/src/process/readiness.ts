/** One thing that must be done before the process is ready. */
export interface ReadinessTask {
  /** Idempotent. */
  done(): void;
  /** Not ready (again). */
  pending(): void;
}

/** What still keeps this process from being ready; served at 15021 `/healthz/ready`. Without tasks it is ready. */
export class Readiness {
  readonly #pending = new Set<string>();
  readonly #names = new Set<string>();
  #waiters: (() => void)[] = [];

  /** Registers a task, pending. Throws when the name is taken. */
  task(name: string): ReadinessTask {
    if (this.#names.has(name)) throw new Error(`Readiness task ${JSON.stringify(name)} is registered twice`);
    this.#names.add(name);
    this.#pending.add(name);
    return {
      done: () => this.#done(name),
      pending: () => void this.#pending.add(name),
    };
  }

  /** In the order in which they became pending. */
  pendingTasks(): string[] {
    return [...this.#pending];
  }

  get ready(): boolean {
    return this.#pending.size === 0;
  }

  /** Resolves once nothing is pending (in a later microtask if that is so already). */
  async whenReady(): Promise<void> {
    while (!this.ready) await new Promise<void>((resolve) => this.#waiters.push(resolve));
  }

  #done(name: string): void {
    this.#pending.delete(name);
    if (!this.ready) return;
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const wake of waiters) wake();
  }
}
