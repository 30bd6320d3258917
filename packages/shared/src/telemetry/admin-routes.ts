// The routes that every daemon serves; each daemon adds its own to the map.
import type { Readiness } from "../process/readiness.ts";
import type { AdminHandler, AdminResponse } from "./admin-server.ts";
import type { LogLevels } from "./log-levels.ts";
import { logLevels } from "./log-levels.ts";
import type { MetricRegistry } from "./metrics.ts";

/** `/metrics` and `/stats/prometheus`, for 15020. */
export function metricsRoutes(registry: MetricRegistry): Map<string, AdminHandler> {
  const handler: AdminHandler = async (request) => await registry.expose(String(request.headers["accept"] ?? ""));
  return new Map([
    ["GET /metrics", handler],
    ["GET /stats/prometheus", handler],
  ]);
}

/** `/healthz/ready`, for 15021: 200 `ready`, or 500 with what is pending. */
export function readinessRoutes(readiness: Readiness): Map<string, AdminHandler> {
  return new Map<string, AdminHandler>([
    [
      "GET /healthz/ready",
      () => {
        const pending = readiness.pendingTasks();
        if (pending.length === 0) return { body: "ready\n" };
        return { status: 500, body: `not ready, pending: ${pending.join(", ")}\n` };
      },
    ],
  ]);
}

/** `POST /logging`, for 15000: `?level=debug`, `?level=xds=debug,access=off`, `?xds=debug`, `?reset`; without any: tells the level. */
export function loggingRoutes(levels: LogLevels): Map<string, AdminHandler> {
  return new Map<string, AdminHandler>([["POST /logging", ({ query }) => changeLogLevels(levels, query)]]);
}

function changeLogLevels(levels: LogLevels, query: URLSearchParams): AdminResponse {
  try {
    if (query.has("reset")) levels.reset();
    for (const [name, value] of query) {
      if (name === "reset") continue;
      levels.set(name === "level" ? value : `${name}=${value}`);
    }
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    return { status: 400, body: `${reason}\n${loggingUsage}` };
  }
  return { body: `current log level is ${levels.toString()}\n` };
}

const loggingUsage = `usage: POST /logging\t\t\t\t\t\t(To list current level)
usage: POST /logging?level=<level>\t\t\t\t(To change global levels)
usage: POST /logging?level={scope1}=<level1>,{scope2}=<level2>\t(To change specific scopes' logging level)
usage: POST /logging?reset\t\t\t\t\t(To go back to the level of the start)
levels: ${logLevels.join(", ")}
`;
