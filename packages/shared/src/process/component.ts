import { errorMessage } from "./mesh-error.ts";

/** A part of a process with a life of its own. */
export interface Component {
  readonly name: string;
  /** Resolves when it works (listening, first attempt under way). Rejects when it cannot; then it holds nothing. */
  start(): Promise<void>;
  /** Resolves when everything it held is released. Must work after a failed or partial start. Idempotent. */
  stop(): Promise<void>;
}

/** The part of a logger that this folder needs (rows of shared: process comes before telemetry). */
export interface ProcessLogger {
  info(message: string, fields?: Record<string, unknown>): void;
  error(message: string, fields?: Record<string, unknown>): void;
}

/** Where SIGTERM and SIGINT come from; `process` fits. */
export interface SignalSource {
  on(signal: "SIGTERM" | "SIGINT", listener: () => void): unknown;
  off(signal: "SIGTERM" | "SIGINT", listener: () => void): unknown;
}

export interface RunOptions {
  readonly logger: ProcessLogger;
  /** Default: `process`. */
  readonly signals?: SignalSource;
  /** Runs between the signal and the stops: the place to drain. */
  readonly onShutdown?: (signal: string) => Promise<void>;
}

/** Components that have been started. */
export interface RunningComponents {
  /** Stops them in reverse order; a component that fails to stop is logged and does not keep the others running. Idempotent. */
  stop(reason?: string): Promise<void>;
  /** Resolves with the reason after the last component has stopped. */
  readonly stopped: Promise<string>;
}

/**
 * Starts the components in order. When one fails, those before it are stopped in reverse and its error is thrown. After that
 * the first SIGTERM or SIGINT stops them in reverse; the process ends by itself when nothing is left.
 */
export async function runComponents(components: readonly Component[], options: RunOptions): Promise<RunningComponents> {
  const { logger } = options;
  const signals = options.signals ?? process;
  const started: Component[] = [];
  const finished = Promise.withResolvers<string>();
  let stopping: Promise<void> | undefined;

  const stopAll = async (reason: string): Promise<void> => {
    if (reason.startsWith("SIG")) await runShutdownHook(options, reason);
    for (const component of started.toReversed()) await stopOne(component, logger);
    signals.off("SIGTERM", onTerm);
    signals.off("SIGINT", onInt);
    finished.resolve(reason);
  };
  const stop = async (reason = "stop"): Promise<void> => {
    stopping ??= stopAll(reason);
    await stopping;
  };
  // stop() never rejects: every failure inside it is logged.
  const onTerm = (): void => void stop("SIGTERM");
  const onInt = (): void => void stop("SIGINT");
  signals.on("SIGTERM", onTerm);
  signals.on("SIGINT", onInt);

  for (const component of components) {
    if (stopping !== undefined) break;
    started.push(component);
    try {
      await component.start();
      logger.info("component started", { component: component.name });
    } catch (error) {
      await stop(`${component.name} failed to start`);
      throw error;
    }
  }
  return { stop, stopped: finished.promise };
}

async function runShutdownHook(options: RunOptions, reason: string): Promise<void> {
  options.logger.info("shutdown begins", { reason });
  try {
    await options.onShutdown?.(reason);
  } catch (error) {
    options.logger.error("shutdown hook failed", { error: errorMessage(error) });
  }
}

async function stopOne(component: Component, logger: ProcessLogger): Promise<void> {
  try {
    await component.stop();
    logger.info("component stopped", { component: component.name });
  } catch (error) {
    logger.error("component failed to stop", { component: component.name, error: errorMessage(error) });
  }
}
