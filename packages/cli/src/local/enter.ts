// The way into a mesh from outside its namespaces.

import type { MeshRecord } from "./state-directory.ts";

/** The command that runs a program inside the mesh, from anywhere on the machine. */
export function enterArgv(record: MeshRecord, argv: readonly string[]): readonly string[] {
  const user = record.rootless ? ["--user", "--preserve-credentials"] : [];
  return ["nsenter", `--target=${record.initPid}`, ...user, "--mount", "--net", "--pid", "--", ...argv];
}

/** Processes between the command that `enterArgv` names and the program in a pod: both `nsenter` fork once. */
export const enterDepth = 2;
