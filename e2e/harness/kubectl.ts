import { execFile } from "node:child_process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import type { KubernetesObject } from "@hairpin/cli";
import type { ClusterConfig } from "./cluster-config.ts";

const run = promisify(execFile);
/** Not the home folder: programs are run without one, and kubectl would take the current folder for it. */
const cacheFolder = join(tmpdir(), "hairpin-e2e-kubectl");
export const maxOutputBytes: number = 64 * 1024 * 1024;

/** kubectl for one cluster. */
export class Kubectl {
  readonly #config: ClusterConfig;

  constructor(config: ClusterConfig) {
    this.#config = config;
  }

  /** The words of a call, to be run by somebody else. */
  argv(args: readonly string[]): readonly string[] {
    return [this.#config.kubectl, "--kubeconfig", this.#config.kubeconfig, "--cache-dir", cacheFolder, ...args];
  }

  /** Its output. Rejects with what it wrote to standard error. */
  async text(args: readonly string[]): Promise<string> {
    const [program = "", ...words] = this.argv(args);
    return (await run(program, words, { maxBuffer: maxOutputBytes })).stdout;
  }

  /** `list(["pods", "-n", "shop"])` */
  async list(what: readonly string[]): Promise<readonly KubernetesObject[]> {
    const list = JSON.parse(await this.text(["get", ...what, "-o", "json"])) as { items: readonly KubernetesObject[] };
    return list.items;
  }
}
