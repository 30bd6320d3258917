// Manifests as the commands read them: files, folders, standard input or text.

import { formatProblem, type ManifestSet, parseManifest, readManifests } from "@hairpin/control/manifest";
import type { KubernetesObject } from "./object/kubernetes-object.ts";
import type { AppliedObject } from "./store/apply-objects.ts";

/** Manifests that are wrong; the message has one line for each mistake. */
export class ManifestError extends Error {
  readonly code = "LOCAL_MANIFEST";
}

/** Objects of files and folders; `-` is standard input. Throws {@link ManifestError} with every mistake. */
export async function loadManifests(paths: readonly string[]): Promise<readonly AppliedObject[]> {
  return toApplied(await readManifests(paths, readStandardInput));
}

/** Objects of a text. Throws {@link ManifestError} with every mistake. */
export function parseManifests(text: string, file: string): readonly AppliedObject[] {
  return toApplied(parseManifest(text, file));
}

function toApplied(set: ManifestSet): readonly AppliedObject[] {
  const errors = set.problems.filter(({ severity }) => severity === "error");
  if (errors.length > 0) throw new ManifestError(errors.map((problem) => formatProblem(problem)).join("\n"));
  return set.objects.map(({ object, file, line }) => ({
    object: object as unknown as KubernetesObject,
    origin: { file, line },
  }));
}

async function readStandardInput(): Promise<string> {
  let text = "";
  process.stdin.setEncoding("utf8");
  for await (const chunk of process.stdin as AsyncIterable<string>) text += chunk;
  return text;
}
