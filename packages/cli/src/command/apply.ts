import type { Command } from "commander";
import { Manifests } from "../local/manifests.ts";
import type { ApplyResult } from "../local/store/apply-objects.ts";
import { CommandFailure } from "./failure.ts";
import { findMesh, withMeshName } from "./running-mesh.ts";

export function registerApply(program: Command): void {
  withMeshName(program.command("apply"))
    .description("create or change objects of a running mesh, as kubectl apply does")
    .requiredOption(
      "-f, --filename <path>",
      "file or folder of manifests, - for standard input; may be repeated",
      collect,
      [],
    )
    .action(async ({ name, filename }: { name: string; filename: readonly string[] }) => {
      const { client } = findMesh(name);
      const manifests = await Manifests.load(filename);
      for (const warning of manifests.danglingReferences(await client.list())) console.error(warning);
      printResults(await client.apply(manifests.objects));
    });
}

/** For options that may be given several times. */
export function collect(value: string, before: readonly string[]): readonly string[] {
  return [...before, value];
}

/** One line for each object. Throws when one was not found. */
export function printResults(results: readonly ApplyResult[]): void {
  for (const { kind, name, namespace, outcome } of results) {
    const place = namespace === undefined ? "" : ` in ${namespace}`;
    console.log(`${kind.toLowerCase()}/${name}${place} ${outcome}`);
  }
  const missing = results.filter(({ outcome }) => outcome === "not found").length;
  if (missing > 0) throw new CommandFailure(`${missing} of ${results.length} objects did not exist`);
}
