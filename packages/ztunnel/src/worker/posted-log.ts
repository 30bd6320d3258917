import type { Clock } from "@hairpin/shared/process";
import type { LogDestination } from "@hairpin/shared/telemetry";
import type { LogBatch } from "./messages.ts";

/** As the bound of main's own destination: about 10,000 access log lines. */
const defaultMaxWaitingChars = 4 * 1024 * 1024;

/** Each batch wakes main: one for each connection cost a quarter of a worker's CPU under churn. What a crash may lose. */
const batchMs = 20;

export interface PostedLogComponents {
  readonly clock: Clock;
  /** Settles when main took the batch. */
  readonly write: (batch: LogBatch) => Promise<void>;
}

/**
 * Where a worker's log lines go: to main, the only writer, so that lines stay whole. They go together every 20 ms. When main is
 * behind by more than `maxWaitingChars`, lines are dropped and counted, as in main.
 */
export function createPostedLog(
  { clock, write }: PostedLogComponents,
  maxWaitingChars: number = defaultMaxWaitingChars,
): LogDestination {
  let lines: string[] = [];
  let chars = 0;
  let waitingChars = 0;
  let dropped = 0;
  const flush = (): void => {
    if (lines.length === 0 && dropped === 0) return;
    const batch = { lines, dropped };
    const batchChars = chars;
    lines = [];
    chars = 0;
    dropped = 0;
    const taken = (): void => {
      waitingChars -= batchChars;
      if (dropped > 0) flush();
    };
    write(batch).then(taken, taken);
  };
  return {
    write(line) {
      if (waitingChars + line.length > maxWaitingChars) {
        dropped++;
        return;
      }
      if (lines.length === 0) clock.setTimer(batchMs, flush);
      lines.push(line);
      chars += line.length;
      waitingChars += line.length;
    },
    flush,
  };
}
