// Our parts as the image runs them.
import { symlink } from "node:fs/promises";
import { join } from "node:path";
import { projectRoot } from "./project.ts";
import { runCommand } from "./run-command.ts";

/** Bundles what lanes start, into a new folder, which is returned. Koffi, the one library with native code, is linked beside. */
export async function buildBundles(folder: string): Promise<string> {
  const script = join(projectRoot, "scripts/build-bundle.ts");
  await runCommand([process.execPath, script, folder, "ztunnel.mjs", "ztunnel-worker.mjs", "waypoint.mjs"]);
  await symlink(join(projectRoot, "packages/native/node_modules"), join(folder, "node_modules"));
  return folder;
}
