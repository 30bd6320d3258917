import { ConnectionFault, ErrorCode } from "./error.ts";
import { createHttp2Budget } from "./flood-budget.ts";
import type { FloodBudgetOptions, FloodKind, Http2Limit } from "./options.ts";
import type { SessionStats } from "./session-stats.ts";
import type { Http2Budget } from "./types.ts";

/** Counts what a peer costs, and ends the connection when a budget is exhausted. */
export class LimitGuard {
  /** Monotonic ms of the bytes that are being read. */
  now = 0;
  readonly #stats: SessionStats;
  readonly #onLimit: (limit: Http2Limit) => void;
  readonly #budgets: Readonly<Record<FloodKind, Http2Budget>>;

  /** `resetBudget` replaces the one of `options`: shared with other sessions of the peer. */
  constructor(
    stats: SessionStats,
    options: FloodBudgetOptions,
    resetBudget: Http2Budget | undefined,
    onLimit: (limit: Http2Limit) => void,
  ) {
    this.#stats = stats;
    this.#onLimit = onLimit;
    this.#budgets = {
      resets: resetBudget ?? createHttp2Budget(options.resets),
      pings: createHttp2Budget(options.pings),
      settings: createHttp2Budget(options.settings),
      emptyData: createHttp2Budget(options.emptyData),
      ignoredFrames: createHttp2Budget(options.ignoredFrames),
      windowUpdates: createHttp2Budget(options.windowUpdates),
    };
  }

  /** One event of a kind; throws ENHANCE_YOUR_CALM when it is one too many. */
  spend(kind: FloodKind): void {
    const { dataBytesReceived, dataBytesSent, streamsOpened } = this.#stats;
    // A stream is worth a byte: exchanges without a body are useful too.
    const useful = dataBytesReceived + dataBytesSent + streamsOpened;
    if (this.#budgets[kind].spend(this.now, useful)) return;
    this.hit(kind);
    throw new ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, `Too many frames that cost and do not serve: ${kind}`);
  }

  hit(limit: Http2Limit): void {
    this.#stats.limitHits[limit]++;
    this.#onLimit(limit);
  }
}
