import type { BudgetOptions } from "./options.ts";
import type { Http2Budget } from "./types.ts";

/**
 * Events that a peer may cause before it is cut off: refilled by time and by useful bytes, so that a busy honest session is never
 * short and an idle-looking flood is. Costs a few additions an event.
 */
export function createHttp2Budget(options: BudgetOptions): Http2Budget {
  return new TokenBucket(options);
}

class TokenBucket implements Http2Budget {
  readonly #options: BudgetOptions;
  #tokens: number;
  #refilledAt: number | undefined;
  #usefulBytes = 0;
  #events = 0;

  constructor(options: BudgetOptions) {
    this.#options = options;
    this.#tokens = options.burst;
  }

  spend(nowMs: number, usefulBytes: number): boolean {
    const { burst, perSecond, usefulBytesPerToken, maxEventsPerUsefulByte } = this.#options;
    this.#events++;
    let earned = ((nowMs - (this.#refilledAt ?? nowMs)) / 1000) * perSecond;
    // Sessions that share a budget count their bytes apart; a smaller count earns nothing.
    const useful = Math.max(0, usefulBytes - this.#usefulBytes);
    if (usefulBytesPerToken > 0) earned += useful / usefulBytesPerToken;
    this.#refilledAt = nowMs;
    this.#usefulBytes = usefulBytes;
    this.#tokens = Math.min(burst, this.#tokens + Math.max(0, earned)) - 1;
    const most =
      maxEventsPerUsefulByte === undefined ? Infinity : Math.max(burst, maxEventsPerUsefulByte * usefulBytes);
    return this.#tokens >= 0 && this.#events <= most;
  }
}
