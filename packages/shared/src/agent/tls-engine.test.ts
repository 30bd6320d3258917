import { describe, expect, it } from "vitest";
import { ConfigError, ConfigReader } from "../process/index.ts";
import { createLogger, MetricRegistry, type RootLogger } from "../telemetry/index.ts";
import { readTlsEngine, startTlsEngine } from "./tls-engine.ts";

interface Told {
  readonly logger: RootLogger;
  readonly metrics: MetricRegistry;
  readonly lines: () => unknown[];
}

function told(): Told {
  const lines: string[] = [];
  const destination = { write: (line: string) => lines.push(line), flush() {} };
  const logger = createLogger({ level: "info", format: "json", destination });
  return {
    logger,
    metrics: new MetricRegistry(),
    lines() {
      logger.flush();
      return lines.map((line) => JSON.parse(line) as unknown);
    },
  };
}

const probe = (): void => {
  throw new Error("no symbol SSL_new");
};

describe("startTlsEngine", () => {
  it.each(["libssl", "node-tls"] as const)("tells operators that %s runs TLS", async (name) => {
    const { logger, metrics, lines } = told();
    const { engine, report } = startTlsEngine(name, { logger, metrics });
    expect([engine.name, report.name]).toEqual([name, name]);
    expect((await metrics.expose()).body).toContain(`hairpin_tls_engine{engine="${name}"} 1`);
    expect(lines()).toMatchObject([{ message: "tls engine chosen", engine: name, reason: report.reason }]);
  });

  it("warns of the fallback, with the reason", () => {
    const { logger, metrics, lines } = told();
    const { report } = startTlsEngine("auto", { logger, metrics, probe });
    expect(report).toEqual({ name: "node-tls", reason: "libssl does not work here: no symbol SSL_new" });
    expect(lines()).toMatchObject([
      { level: "warn", message: "tls engine is the slower fallback", reason: report.reason },
    ]);
  });

  it("lets no process start without the engine that is demanded", () => {
    const { logger, metrics } = told();
    expect(() => startTlsEngine("libssl", { logger, metrics, probe })).toThrow(
      /TLS_ENGINE="libssl" .*no symbol SSL_new/,
    );
    expect(() => startTlsEngine("libssl", { logger, metrics, probe })).toThrow(ConfigError);
  });
});

describe("readTlsEngine", () => {
  it("takes auto by default and refuses what it does not know", () => {
    expect(readTlsEngine(new ConfigReader({ environment: {} }))).toBe("auto");
    const reader = new ConfigReader({ environment: { TLS_ENGINE: "boringssl" } });
    readTlsEngine(reader);
    expect(() => reader.finish()).toThrow(/TLS_ENGINE="boringssl" .*auto, libssl, node-tls/);
  });
});
