import type { Command } from "commander";
import { findPending } from "../local/pending.ts";
import { CommandFailure } from "./failure.ts";
import { formatMeshTable } from "./mesh-summary.ts";
import { findMesh, withMeshName } from "./running-mesh.ts";

export function registerStatus(program: Command): void {
  withMeshName(program.command("status"))
    .description("show all pods and what is not ready; fails when something is not")
    .action(async ({ name }: { name: string }) => {
      const objects = await findMesh(name).client.list();
      console.log(formatMeshTable(objects));
      const pending = findPending(objects);
      if (pending.length > 0) throw new CommandFailure(`not ready:\n${pending.join("\n")}`);
    });
}
