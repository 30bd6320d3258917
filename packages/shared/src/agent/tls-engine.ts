import { chooseTlsEngine, type TlsEngine, type TlsEngineChoice, type TlsEnginePreference } from "@hairpin/wire";
import { ConfigError, type ConfigReader, errorCode, errorMessage } from "../process/index.ts";
import type { Logger, MetricRegistry } from "../telemetry/index.ts";

/** What runs TLS on the data path, as `/config_dump` shows it. */
export interface TlsEngineReport {
  readonly name: TlsEngine["name"];
  readonly reason: string;
}

export interface TlsEngineComponents {
  readonly logger: Logger;
  readonly metrics: MetricRegistry;
  /** Throws why libssl cannot be used. Default: a handshake in memory. */
  readonly probe?: () => void;
}

/** TLS_ENGINE; default `auto`. */
export function readTlsEngine(reader: ConfigReader): TlsEnginePreference {
  return reader.oneOf("TLS_ENGINE", ["auto", "libssl", "node-tls"], "auto");
}

/**
 * Chooses this thread's engine and tells operators: a log line, and the metric. Throws `ConfigError` when the one that is
 * demanded does not work: the process must not start with another.
 */
export function startTlsEngine(
  preference: TlsEnginePreference,
  { logger, metrics, probe }: TlsEngineComponents,
): { readonly engine: TlsEngine; readonly report: TlsEngineReport } {
  const { engine, reason, isFallback } = choose(preference, probe);
  const chosen = metrics.gauge({
    name: "hairpin_tls_engine",
    help: "1 for the engine that runs TLS on the data path.",
    labels: ["engine"],
  });
  chosen.handle({ engine: engine.name }).set(1);
  if (isFallback) logger.warn("tls engine is the slower fallback", { engine: engine.name, reason });
  else logger.info("tls engine chosen", { engine: engine.name, reason });
  return { engine, report: { name: engine.name, reason } };
}

function choose(preference: TlsEnginePreference, probe: (() => void) | undefined): TlsEngineChoice {
  try {
    return chooseTlsEngine(preference, probe);
  } catch (error) {
    if (errorCode(error) !== "TLS_ENGINE_UNAVAILABLE") throw error;
    const problem = `cannot be had: ${errorMessage(error)}; auto would fall back to node-tls`;
    throw new ConfigError([{ variable: "TLS_ENGINE", value: preference, problem }]);
  }
}
