// Manifests as the commands read them: files, folders, standard input or text.

import {
  checkReferences,
  formatProblem,
  type ManifestObject,
  type ManifestSet,
  parseManifest,
  type PlainObject,
  readManifests,
} from "@hairpin/control/manifest";
import type { KubernetesObject } from "./object/kubernetes-object.ts";
import type { AppliedObject } from "./store/apply-objects.ts";

/** Manifests that are wrong; the message has one line for each mistake. */
export class ManifestError extends Error {
  readonly code = "LOCAL_MANIFEST";
}

/** Manifests that are well-formed, each with its place. */
export class Manifests {
  readonly #manifests: readonly ManifestObject[];

  constructor(manifests: readonly ManifestObject[]) {
    this.#manifests = manifests;
  }

  /** Files and folders; `-` is standard input. Throws {@link ManifestError} with every mistake. */
  static async load(paths: readonly string[]): Promise<Manifests> {
    return Manifests.#from(await readManifests(paths, readStandardInput));
  }

  /** A text. Throws {@link ManifestError} with every mistake. */
  static parse(text: string, file: string): Manifests {
    return Manifests.#from(parseManifest(text, file));
  }

  static #from(set: ManifestSet): Manifests {
    const errors = set.problems.filter(({ severity }) => severity === "error");
    if (errors.length > 0) throw new ManifestError(errors.map((problem) => formatProblem(problem)).join("\n"));
    return new Manifests(set.objects);
  }

  and(others: Manifests): Manifests {
    return new Manifests([...this.#manifests, ...others.#manifests]);
  }

  get objects(): readonly AppliedObject[] {
    return this.#manifests.map(({ object, file, line }) => ({
      object: object as unknown as KubernetesObject,
      origin: { file, line },
    }));
  }

  /** References that lead nowhere, neither to each other nor to objects that exist: allowed, as in a cluster, but told. */
  danglingReferences(existing: readonly KubernetesObject[]): readonly string[] {
    const known = existing.map((object) => object as unknown as PlainObject);
    return checkReferences(this.#manifests, known).map((problem) => formatProblem(problem));
  }
}

async function readStandardInput(): Promise<string> {
  let text = "";
  process.stdin.setEncoding("utf8");
  for await (const chunk of process.stdin as AsyncIterable<string>) text += chunk;
  return text;
}
