import { setTimeout as wait } from "node:timers/promises";

export interface EventuallyOptions {
  /** Default 5 s. */
  readonly timeoutMs?: number;
  /** Between attempts. Default 10 ms. */
  readonly intervalMs?: number;
}

/** Calls `attempt` until it neither throws nor rejects, and gives its value; after the deadline it throws the last error. */
export async function eventually<T>(attempt: () => T | Promise<T>, options: EventuallyOptions = {}): Promise<T> {
  const { timeoutMs = 5_000, intervalMs = 10 } = options;
  const end = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() >= end) throw error;
    }
    await wait(intervalMs);
  }
}
