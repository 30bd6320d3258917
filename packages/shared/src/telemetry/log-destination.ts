import { writeSync } from "node:fs";
import { pino } from "pino";

/** Where finished lines go. */
export interface LogDestination {
  /** Takes one line with its newline. Never blocks and never throws. */
  write(line: string): void;
  /** Writes out what waits, blocking: for the end of the process only. */
  flush(): void;
}

/** A destination that counts what it had to drop. */
export interface BoundedDestination extends LogDestination {
  /** Lines dropped since the start because the reader of the log is too slow or gone. */
  readonly droppedLines: number;
  close(): Promise<void>;
}

let droppedByProcess = 0;

/** Adds lines that were lost on their way from another thread. */
export function countDroppedLogLines(lines: number): void {
  droppedByProcess += lines;
}

/** Lines that all destinations of this process dropped: `hairpin_log_lines_dropped_total`. */
export function droppedLogLines(): number {
  return droppedByProcess;
}

export interface BoundedDestinationOptions {
  /** File descriptor; default 1 (stdout). */
  readonly fd?: number;
  /** Bytes that may wait before lines are dropped. Default 4 MiB (about 10,000 access log lines, as ztunnel's queue). */
  readonly maxWaitingBytes?: number;
  /** Called once when lines were dropped and the descriptor takes bytes again; the line it returns is written. */
  readonly onRecovered?: (dropped: number) => string;
}

/**
 * After a write lines are collected for this long, or until so many characters wait: a write for each costs more than a
 * request. The first line after a pause is written at once; `flush` writes what waits.
 */
const collectMs = 20;
const collectCharacters = 32 * 1024;

/**
 * Lines to a descriptor in the background. A reader that does not keep up costs lines, never the event loop: those lines
 * are counted, and told in the log itself once it flows again (ztunnel blocks instead; a stalled loop would stall every tunnel).
 */
export function createBoundedDestination(options: BoundedDestinationOptions = {}): BoundedDestination {
  const { fd = 1 } = options;
  const stream = pino.destination({
    fd,
    sync: false,
    minLength: 0,
    maxLength: options.maxWaitingBytes ?? 4 * 1024 * 1024,
  });
  let collected: string[] = [];
  let collectedLength = 0;
  /** Lines given to pino since it had written everything. */
  let passedOn = 0;
  let timer: NodeJS.Timeout | undefined;
  let passedOnAtMs = -Infinity;
  let dropped = 0;
  let reported = 0;
  let gone = false;
  const countDrops = (lines: number): void => {
    dropped += lines;
    droppedByProcess += lines;
  };
  const takeCollected = (): string[] => {
    clearTimeout(timer);
    timer = undefined;
    const lines = collected;
    collected = [];
    collectedLength = 0;
    return lines;
  };
  const passOn = (): void => {
    const lines = takeCollected();
    passedOnAtMs = performance.now();
    if (gone) {
      countDrops(lines.length);
    } else if (lines.length > 0) {
      passedOn += lines.length;
      stream.write(lines.join(""));
    }
  };
  const write = (line: string): void => {
    collected.push(line);
    collectedLength += line.length;
    if (collectedLength >= collectCharacters) passOn();
    else timer ??= setTimeout(passOn, performance.now() - passedOnAtMs < collectMs ? collectMs : 0);
  };
  stream.on("drop", (lines: string) => {
    passedOn -= countLines(lines);
    countDrops(countLines(lines));
  });
  // A full disk: the line in question is lost. A pipe without a reader (EPIPE): pino writes nothing any more, without a word.
  let told: Error | undefined;
  stream.on("error", (error: NodeJS.ErrnoException) => {
    gone ||= error.code === "EPIPE";
    // pino's own listener tells the first error a second time.
    if (error !== told) countDrops(gone ? passedOn : 1);
    told = error;
  });
  stream.on("drain", () => {
    passedOn = 0;
    if (dropped === reported || options.onRecovered === undefined) return;
    const missing = dropped - reported;
    reported = dropped;
    write(options.onRecovered(missing));
  });
  return {
    write,
    flush: () => {
      const lines = takeCollected();
      try {
        stream.flushSync();
        writeBlocking(fd, lines.join(""));
      } catch {
        // Gone: nothing more can be written.
        countDrops(lines.length);
      }
    },
    get droppedLines() {
      return dropped;
    },
    close: async () => {
      passOn();
      // pino's close would never come.
      if (gone) return;
      const closed = Promise.withResolvers<void>();
      stream.once("close", closed.resolve);
      stream.end();
      await closed.promise;
    },
  };
}

function writeBlocking(fd: number, lines: string): void {
  let rest = Buffer.from(lines);
  while (rest.length > 0) {
    try {
      rest = rest.subarray(writeSync(fd, rest));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
    }
  }
}

function countLines(text: string): number {
  let lines = 0;
  for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) lines++;
  return lines;
}
