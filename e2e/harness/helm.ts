import { execFile } from "node:child_process";
import { promisify } from "node:util";
import type { ClusterConfig } from "./cluster-config.ts";
import { maxOutputBytes } from "./kubectl.ts";

const run = promisify(execFile);

/** helm, from PATH, for one cluster. */
export class Helm {
  readonly #kubeconfig: string;

  constructor({ kubeconfig }: ClusterConfig) {
    this.#kubeconfig = kubeconfig;
  }

  /** Its output. Rejects with what it wrote to standard error. */
  async text(args: readonly string[]): Promise<string> {
    return (await run("helm", ["--kubeconfig", this.#kubeconfig, ...args], { maxBuffer: maxOutputBytes })).stdout;
  }
}
