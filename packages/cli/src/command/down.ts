import type { Command } from "commander";
import { stopMesh } from "../local/start-mesh.ts";
import { StateDirectory } from "../local/state-directory.ts";
import { withMeshName } from "./running-mesh.ts";

export function registerDown(program: Command): void {
  withMeshName(program.command("down"))
    .description("end a mesh and remove everything of it")
    .action(async ({ name }: { name: string }) => {
      const state = new StateDirectory(name);
      const wasRunning = await stopMesh(state);
      // Remains of a mesh that was killed.
      if (!wasRunning && !state.isBeingStarted()) state.remove();
      console.log(wasRunning ? `mesh ${name} is gone` : `no mesh named ${name} was running`);
    });
}
