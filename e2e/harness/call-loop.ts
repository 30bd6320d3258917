import { eventually } from "@hairpin/testkit";
import type { ToldProgram } from "./told-program.ts";

export interface CallOrder {
  readonly url: string;
  readonly intervalMs?: number;
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** One connection for all. Default: one each. */
  readonly keepAlive?: boolean;
}

/** One call as apps/calls.ts tells it. Times are ms since 1970. */
export interface ToldCall {
  readonly startedAt: number;
  readonly at: number;
  /** 0: no answer. */
  readonly status: number;
  readonly body?: string;
  readonly error?: string;
}

/** Calls that go on until they are stopped. */
export class CallLoop {
  readonly #program: ToldProgram;

  constructor(program: ToldProgram) {
    this.#program = program;
  }

  get calls(): readonly ToldCall[] {
    return this.#program.told as readonly ToldCall[];
  }

  /** The first call that was begun at or after `since` and ended like this. */
  async first(since: number, matches: (call: ToldCall) => boolean, timeoutMs = 10_000): Promise<ToldCall> {
    return await eventually(
      () => {
        const found = this.calls.find((call) => call.startedAt >= since && matches(call));
        if (found) return found;
        throw new Error(`No such call among ${this.calls.length}; the last: ${JSON.stringify(this.calls.slice(-3))}`);
      },
      { timeoutMs },
    );
  }

  /** Waits until `count` more calls have been made. */
  async more(count: number): Promise<void> {
    const wanted = this.calls.length + count;
    await eventually(
      () => {
        if (this.calls.length < wanted) throw new Error(`Only ${this.calls.length} of ${wanted} calls were made`);
      },
      { timeoutMs: 20_000 },
    );
  }

  /** Ends the loop; every call that was made. */
  async stop(): Promise<readonly ToldCall[]> {
    await this.#program.stop();
    return this.calls;
  }
}

/** How often each value occurs. */
export function countBy<T>(items: readonly T[], keyOf: (item: T) => string): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const item of items) counts[keyOf(item)] = (counts[keyOf(item)] ?? 0) + 1;
  return counts;
}

/** What apps/echo.ts says about a call. */
export interface Seen {
  readonly pod: string;
  readonly version: string;
  readonly method: string;
  readonly path: string;
  readonly caller: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly bodyBytes: number;
}

export function seenBy(answer: { readonly body?: string }): Seen {
  return JSON.parse(answer.body ?? "") as Seen;
}
