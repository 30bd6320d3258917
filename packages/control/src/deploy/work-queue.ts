import { type Clock, type Timer, backoffMs, errorMessage } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";

const retryBounds = { firstMs: 250, maxMs: 30_000 };

export interface WorkQueueOptions {
  /** Brings what the key names into its wanted state. Called again when it rejects, and when the key came again meanwhile. */
  readonly work: (key: string) => Promise<void>;
  /** Keys at once. */
  readonly concurrency: number;
}

/**
 * Works on each key until that succeeded with the newest state of things: never twice at once, a failed one again after a growing
 * wait, one that is added meanwhile once more.
 */
export class WorkQueue {
  readonly #components: { readonly clock: Clock; readonly logger: Logger };
  readonly #options: WorkQueueOptions;
  readonly #waiting = new Set<string>();
  readonly #active = new Map<string, Promise<void>>();
  readonly #retries = new Map<string, { readonly failures: number; readonly timer: Timer }>();
  #stopped = false;

  constructor(components: { readonly clock: Clock; readonly logger: Logger }, options: WorkQueueOptions) {
    this.#components = components;
    this.#options = options;
  }

  add(key: string): void {
    if (this.#stopped) return;
    this.#waiting.add(key);
    this.#startWork();
  }

  /** Resolves when what is under way has ended; nothing new begins. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#waiting.clear();
    for (const { timer } of this.#retries.values()) timer.cancel();
    await Promise.all(this.#active.values());
  }

  #startWork(): void {
    for (const key of this.#waiting) {
      if (this.#active.size >= this.#options.concurrency) return;
      if (this.#active.has(key)) continue;
      this.#waiting.delete(key);
      this.#active.set(key, this.#workOn(key));
    }
  }

  async #workOn(key: string): Promise<void> {
    const retry = this.#retries.get(key);
    retry?.timer.cancel();
    try {
      await this.#options.work(key);
      this.#retries.delete(key);
    } catch (error) {
      this.#retryLater(key, (retry?.failures ?? 0) + 1, error);
    } finally {
      this.#active.delete(key);
      this.#startWork();
    }
  }

  #retryLater(key: string, failures: number, error: unknown): void {
    if (this.#stopped) return;
    const { clock, logger } = this.#components;
    const waitMs = backoffMs(failures, retryBounds, Math.random);
    logger.warn("not done yet", { key, failures, retry_ms: Math.round(waitMs), error: errorMessage(error) });
    const timer = clock.setTimer(waitMs, () => this.add(key), { background: true });
    this.#retries.set(key, { failures, timer });
  }
}
