// The `hairpin` command.

import { Command, CommanderError } from "commander";
import { CommandFailure } from "./command/failure.ts";
import { registerApply } from "./command/apply.ts";
import { registerDemo } from "./command/demo.ts";
import { registerDelete } from "./command/delete.ts";
import { registerDown } from "./command/down.ts";
import { registerExec } from "./command/exec.ts";
import { registerGet } from "./command/get.ts";
import { registerLogs } from "./command/logs.ts";
import { registerStatus } from "./command/status.ts";
import { registerUp } from "./command/up.ts";
import { ManifestError } from "./local/manifests.ts";
import { MeshRequestError } from "./local/mesh-client.ts";
import { MeshStartError } from "./local/start-mesh.ts";
import { StateError } from "./local/state-directory.ts";

const program = new Command("hairpin")
  .description("An Istio-compatible ambient mesh, on this machine, from Kubernetes manifests")
  .exitOverride()
  .enablePositionalOptions();
for (const register of [
  registerUp,
  registerApply,
  registerDelete,
  registerGet,
  registerExec,
  registerLogs,
  registerStatus,
  registerDown,
  registerDemo,
])
  register(program);

// A reader that stops early, such as `head`, is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(error.code === "EPIPE" ? 0 : 1));

try {
  await program.parseAsync();
} catch (error) {
  process.exitCode = report(error);
}

/** Tells what went wrong, for people; returns the exit code. Faults of our own keep their stack. */
function report(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode;
  if (error instanceof CommandFailure) {
    if (error.message !== "") console.error(`error: ${error.message}`);
    return error.exitCode;
  }
  if (error instanceof MeshStartError) {
    console.error(`error: ${error.message}`);
    if (error.log !== "") console.error(`\nlast lines of its log:\n${error.log}`);
    return 1;
  }
  if (error instanceof ManifestError || error instanceof MeshRequestError || error instanceof StateError) {
    console.error(error.message.replaceAll(/^/gm, "error: "));
    return 1;
  }
  console.error(error);
  return 1;
}
