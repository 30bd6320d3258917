// Entry of the mesh's init process. `hairpin up` starts it inside fresh namespaces; it is not meant to be run by hand.

import { errorMessage } from "@hairpin/shared/process";
import { createLogger } from "@hairpin/shared/telemetry";
import { startDaemon } from "./app.ts";
import { readDaemonConfig } from "./daemon-config.ts";
import { Lifeline } from "./lifeline.ts";

const config = readDaemonConfig(process.argv[2] ?? "");
const logger = createLogger({ level: config.logLevel, format: "plain", scope: "daemon" });
// As init of its PID namespace this process takes everything with it when it ends: that is the clean-up.
const lifeline = new Lifeline(() => process.exit(0));
process.on("SIGTERM", () => process.exit(0));
process.on("SIGINT", () => process.exit(0));
// The terminal that started it may go.
process.on("SIGHUP", () => {});

try {
  await startDaemon(config, lifeline, logger);
} catch (error) {
  logger.error("the mesh cannot start", { error: errorMessage(error) });
  lifeline.report({ type: "failed", reason: errorMessage(error) });
  await lifeline.flush();
  process.exit(1);
}
