import { setTimeout as delay } from "node:timers/promises";
import { errorMessage } from "@hairpin/shared/process";

const pollMs = 50;

/** Tries again until it no longer throws; throws its last error, with `what`, after `timeoutMs`. */
export async function waitUntil<T>(what: string, timeoutMs: number, attempt: () => Promise<T> | T): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await attempt();
    } catch (error) {
      if (performance.now() > deadline) throw new Error(`${what}: ${errorMessage(error)}`, { cause: error });
    }
    await delay(pollMs);
  }
}
