import { ConfigError, configExitCode } from "@hairpin/shared/process";
import { runCapture } from "./app.ts";
import { readConfig } from "./config.ts";

try {
  await runCapture(readConfig(process.env));
} catch (error) {
  console.error(error instanceof ConfigError ? error.message : error);
  process.exit(error instanceof ConfigError ? configExitCode : 1);
}
