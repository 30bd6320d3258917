import { type BoundedDestination, createBoundedDestination, type LogDestination } from "./log-destination.ts";
import { formatJsonLine, formatPlainLine, timestamp } from "./log-format.ts";
import { type LogLevel, LogLevels } from "./log-levels.ts";

export const logFormats = ["plain", "json"] as const;
export type LogFormat = (typeof logFormats)[number];

/** Message = constant phrase, facts = fields. Fields that are undefined or null are left out. No call throws or blocks. */
export interface Logger {
  debug(message: string, fields?: Record<string, unknown>): void;
  info(message: string, fields?: Record<string, unknown>): void;
  warn(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
  /** A logger for a part: scope `<scope>` below the root, `<parent>::<scope>` below another child. */
  child(scope: string): Logger;
}

/** The logger that main makes: its levels can be changed, and it must be flushed before the process exits. */
export interface RootLogger extends Logger {
  readonly levels: LogLevels;
  /** Writes a line that another thread's logger finished, with its newline, as it is. */
  writeLine(line: string): void;
  flush(): void;
}

export interface LoggerOptions {
  /** As RUST_LOG: `info`, `warn,xds=debug`. Default info. */
  readonly level?: string;
  readonly format?: LogFormat;
  /** Scope of lines written by the root itself. Default `app`. */
  readonly scope?: string;
  /** Default: stdout, see {@link createBoundedDestination}. */
  readonly destination?: LogDestination;
}

/** A logger in ztunnel's format. Throws `Error` when `level` is not understood. */
export function createLogger(options: LoggerOptions = {}): RootLogger {
  const levels = new LogLevels(options.level);
  const format = options.format === "json" ? formatJsonLine : formatPlainLine;
  const scope = options.scope ?? "app";
  const destination = options.destination ?? createStdoutDestination(format);
  const sink: Sink = { levels, format, destination };
  const root = createScopedLogger(sink, scope, "");
  const writeLine = (line: string): void => destination.write(line);
  return Object.assign(root, { levels, writeLine, flush: () => destination.flush() });
}

/** Writes nothing. */
export const noLogger: Logger = {
  debug() {},
  info() {},
  warn() {},
  error() {},
  child: () => noLogger,
};

interface Sink {
  readonly levels: LogLevels;
  readonly format: typeof formatPlainLine;
  readonly destination: LogDestination;
}

function createStdoutDestination(format: Sink["format"]): BoundedDestination {
  return createBoundedDestination({
    onRecovered: (lines) =>
      format(timestamp(), { level: "warn", scope: "log", message: "log lines dropped", fields: { lines } }),
  });
}

function createScopedLogger(sink: Sink, scope: string, prefix: string): Logger {
  // The level of this scope is kept until the levels change: a disabled debug call costs two comparisons.
  let generation = -1;
  let enabled = { debug: false, info: false, warn: false, error: false };
  const write = (
    level: Exclude<LogLevel, "trace" | "off">,
    message: string,
    fields?: Record<string, unknown>,
  ): void => {
    if (generation !== sink.levels.generation) {
      const isEnabled = (one: LogLevel): boolean => sink.levels.isEnabled(one, scope);
      enabled = {
        debug: isEnabled("debug"),
        info: isEnabled("info"),
        warn: isEnabled("warn"),
        error: isEnabled("error"),
      };
      generation = sink.levels.generation;
    }
    if (enabled[level]) sink.destination.write(sink.format(timestamp(), { level, scope, message, fields }));
  };
  return {
    debug: (message, fields) => write("debug", message, fields),
    info: (message, fields) => write("info", message, fields),
    warn: (message, fields) => write("warn", message, fields),
    error: (message, fields) => write("error", message, fields),
    child: (name) => createScopedLogger(sink, `${prefix}${name}`, `${prefix}${name}::`),
  };
}
