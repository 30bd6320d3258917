import type { AdminHandler, AdminRoutes, LogLevels } from "@hairpin/shared/telemetry";
import { loggingRoutes } from "@hairpin/shared/telemetry";

export interface AdminRoutesInput {
  readonly configDump: () => Promise<unknown>;
  readonly levels: LogLevels;
  /** Begins the end of the process: drain, then stop. */
  readonly quit: () => void;
}

/** The routes of port 15000. */
export function adminRoutes({ configDump, levels, quit }: AdminRoutesInput): AdminRoutes {
  return new Map<string, AdminHandler>([
    ["GET /", () => ({ contentType: "text/html; charset=utf-8", body: homePage })],
    [
      "GET /config_dump",
      async () => ({
        contentType: "application/json",
        body: `${JSON.stringify(await configDump(), undefined, 2)}\n`,
      }),
    ],
    [
      "POST /quitquitquit",
      () => {
        quit();
        return { body: "shutdown now\n" };
      },
    ],
    ...loggingRoutes(levels),
  ]);
}

const homePage = `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>ztunnel</title>
<h1>ztunnel</h1>
<ul>
<li><a href="config_dump">config_dump</a>: workloads, services, policies, certificates, pods and their connections
<li>POST <code>/logging?level=debug</code>: change the log level
<li>POST <code>/quitquitquit</code>: drain and stop
</ul>
</html>
`;
