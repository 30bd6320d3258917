import { describe, expect, it } from "vitest";
import { ConfigReader } from "../process/index.ts";
import { createLogger, MetricRegistry } from "../telemetry/index.ts";
import { readTlsEngine, startTlsEngine } from "./tls-engine.ts";

describe("startTlsEngine", () => {
  it.each(["libssl", "node-tls"] as const)("tells operators that %s runs TLS", async (name) => {
    const lines: string[] = [];
    const logger = createLogger({
      level: "info",
      format: "json",
      destination: { write: (line) => lines.push(line), flush() {} },
    });
    const metrics = new MetricRegistry();
    const { engine, report } = startTlsEngine(name, { logger, metrics });
    logger.flush();
    expect([engine.name, report.name]).toEqual([name, name]);
    expect((await metrics.expose()).body).toContain(`hairpin_tls_engine{engine="${name}"} 1`);
    expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([
      { message: "tls engine chosen", engine: name, reason: report.reason },
    ]);
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
