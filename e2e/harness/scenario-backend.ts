// Where scenarios run: the local mesh, or a cluster. Both are used through this.

import type { ExecOptions, ExecResult, KubernetesObject, RunningProgram } from "@hairpin/cli";

export interface KillOptions {
  readonly namespace?: string;
  /** Default KILL. */
  readonly signal?: string;
}

/** What a scenario needs of its mesh; LocalMesh has it. Targets are `POD`, `deploy/NAME`, `ztunnel/NODE`, `waypoint/NAME` and `control`. */
export interface ScenarioBackend {
  exec(target: string, argv: readonly string[], options?: ExecOptions): Promise<ExecResult>;
  start(target: string, argv: readonly string[], options?: Omit<ExecOptions, "stdin">): Promise<RunningProgram>;
  apply(yaml: string): Promise<unknown>;
  delete(yaml: string): Promise<unknown>;
  get(kind: string, namespace?: string): Promise<readonly KubernetesObject[]>;
  logs(target: string, namespace?: string): Promise<string>;
  /** Signals the processes of a pod or part; what runs them starts them anew. */
  kill(target: string, options?: KillOptions): Promise<unknown>;
  /** Rejects with what is not ready. */
  whenReady(timeoutMs?: number): Promise<void>;
  stop(): Promise<void>;
}
