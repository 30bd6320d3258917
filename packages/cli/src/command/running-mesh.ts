// How commands find the mesh they act on.

import type { Command } from "commander";
import { MeshClient } from "../local/mesh-client.ts";
import { type MeshRecord, StateDirectory } from "../local/state-directory.ts";
import { CommandFailure } from "./failure.ts";

export interface RunningMesh {
  readonly record: MeshRecord;
  readonly client: MeshClient;
}

/** Adds `--name`. */
export function withMeshName(command: Command): Command {
  return command.option("--name <name>", "which local mesh", "default");
}

/** Throws {@link CommandFailure} with what to do when no mesh of that name runs. */
export function findMesh(name: string, exitCode?: number): RunningMesh {
  const state = new StateDirectory(name);
  const record = state.findRunning();
  if (record === undefined) {
    const option = name === "default" ? "" : ` --name ${name}`;
    throw new CommandFailure(`no mesh named ${name} is running; start one with \`hairpin up${option}\``, exitCode);
  }
  return { record, client: new MeshClient(state.socketPath) };
}
