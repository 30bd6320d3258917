// A local mesh as a library: what the commands and the end-to-end tests share.

import { setTimeout as delay } from "node:timers/promises";
import { defaultIpv4Ranges, defaultIpv6Ranges } from "./fabric/address-plan.ts";
import type { DaemonConfig } from "./daemon/daemon-config.ts";
import type { ProgressLine } from "./daemon/lifeline.ts";
import { enterArgv } from "./enter.ts";
import { Manifests } from "./manifests.ts";
import { MeshClient } from "./mesh-client.ts";
import type { KubernetesObject } from "./object/kubernetes-object.ts";
import { findFailing, findPending } from "./pending.ts";
import { MeshStartError, type StartedMesh, startMesh } from "./start-mesh.ts";
import type { MeshRecord } from "./state-directory.ts";
import { type ExecResult, type RunningProgram, runProgram } from "./running-program.ts";
import type { ApplyResult } from "./store/apply-objects.ts";

export interface LocalMeshOptions {
  /** Files and folders of manifests. */
  readonly manifests?: readonly string[];
  /** Manifests as text, applied together with the files. */
  readonly yaml?: string;
  /** Default `default`. */
  readonly name?: string;
  /** Default 2. */
  readonly nodes?: number;
  /** Default `cluster.local`. */
  readonly trustDomain?: string;
  /** Default `istio-system`. */
  readonly rootNamespace?: string;
  /** Give everything IPv6 addresses too. Default false. */
  readonly ipv6?: boolean;
  /** IPv4 ranges. Defaults 10.244.0.0/16 and 10.96.0.0/16. */
  readonly podRange?: string;
  readonly serviceRange?: string;
  /** Let pods write to the machine's file system. Default false. */
  readonly writableHost?: boolean;
  /** False: only network and pods, no mesh. Default true. */
  readonly meshParts?: boolean;
  /** Of the parts of the mesh. Default `info`. */
  readonly logLevel?: string;
  /** How long everything may take to be ready. Default 120 s. */
  readonly readyTimeoutMs?: number;
  readonly onProgress?: (line: ProgressLine) => void;
  /** Aborting ends the start and removes what was made. */
  readonly signal?: AbortSignal;
}

export interface ExecOptions {
  /** Default `default`. */
  readonly namespace?: string;
  readonly container?: string;
  readonly stdin?: string;
  /** Default 30 s; then the program is killed and the exit code is 124, as timeout(1) has it. */
  readonly timeoutMs?: number;
}

/** Exit code when the mesh, not the program, failed. */
export const meshFailedExitCode = 125;
const defaultReadyTimeoutMs = 120_000;
const pollMs = 50;

/** A running local mesh. `await using` ends it. */
export class LocalMesh implements AsyncDisposable {
  readonly client: MeshClient;
  readonly #started: StartedMesh;

  constructor(started: StartedMesh) {
    this.#started = started;
    this.client = new MeshClient(started.state.socketPath);
  }

  get record(): MeshRecord {
    return this.#started.record;
  }

  get stateDirectory(): string {
    return this.#started.state.path;
  }

  get ended(): Promise<void> {
    return this.#started.ended;
  }

  /** Runs a program in a pod (`POD` or `deploy/NAME`). Throws when there is no such pod or it does not run. */
  async exec(pod: string, argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    const { namespace = "default", container } = options;
    const join = await this.client.join({ namespace, target: pod, ...(container === undefined ? {} : { container }) });
    return await runProgram(enterArgv(this.record, [...join.argv, ...argv]), options).end(options.stdin);
  }

  /** As {@link exec}, for a program that goes on while the test does other things. */
  async start(pod: string, argv: readonly string[], options: Omit<ExecOptions, "stdin"> = {}): Promise<RunningProgram> {
    const { namespace = "default", container } = options;
    const join = await this.client.join({ namespace, target: pod, ...(container === undefined ? {} : { container }) });
    return runProgram(enterArgv(this.record, [...join.argv, ...argv]), options);
  }

  /** Sends a signal to the first process of a container, as if it had crashed; the mesh starts it again. */
  async kill(target: string, options: { namespace?: string; container?: string; signal?: string } = {}): Promise<void> {
    const { namespace = "default", container, signal = "KILL" } = options;
    const { pid } = await this.client.join({ namespace, target, ...(container === undefined ? {} : { container }) });
    await this.execInMesh(["sh", "-c", `kill -${signal} ${pid}`]);
  }

  /** Runs a program in the mesh's own namespaces, where the bridge between the nodes is. */
  async execInMesh(argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return await runProgram(enterArgv(this.record, argv), options).end(options.stdin);
  }

  /** Applies manifests given as text. Throws with every mistake; then nothing is changed. */
  async apply(yaml: string): Promise<readonly ApplyResult[]> {
    return await this.client.apply(Manifests.parse(yaml, "text").objects);
  }

  async delete(yaml: string): Promise<readonly ApplyResult[]> {
    return await this.client.delete(Manifests.parse(yaml, "text").objects);
  }

  /** Objects of a kind, with their status. */
  async get(kind: string, namespace?: string): Promise<readonly KubernetesObject[]> {
    return await this.client.list(kind, namespace);
  }

  /** The log of a pod or part: `POD`, `deploy/NAME`, `ztunnel/NODE`, `waypoint/NAME`, `control`. */
  async logs(part: string, namespace: string = "default"): Promise<string> {
    const chunks: Buffer[] = [];
    for await (const chunk of await this.client.logs({ namespace, target: part })) chunks.push(chunk);
    return Buffer.concat(chunks).toString("utf8");
  }

  /** Resolves when all pods, Deployments and waypoints are ready; throws {@link MeshStartError} with what is not. */
  async whenReady(
    timeoutMs: number = defaultReadyTimeoutMs,
    onPending?: (lines: readonly string[]) => void,
  ): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    for (;;) {
      const objects = await this.client.list();
      const pending = findPending(objects);
      if (pending.length === 0) return;
      onPending?.(pending);
      if (performance.now() > deadline) {
        const failing = findFailing(objects);
        const log =
          failing === undefined
            ? ""
            : await this.logs(failing.metadata.name, failing.metadata.namespace).catch(() => "");
        const tail = log.trim().split("\n").slice(-15).join("\n");
        throw new MeshStartError(`Not ready after ${timeoutMs / 1000} s:\n${pending.join("\n")}`, tail);
      }
      await delay(pollMs);
    }
  }

  async detach(): Promise<void> {
    await this.#started.detach();
  }

  /** Ends the mesh; nothing of it is left when this resolves. Idempotent. */
  async stop(): Promise<void> {
    await this.#started.stop();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}

/** Starts a mesh, applies the manifests and waits until everything is ready. When that fails nothing is left behind. */
export async function startLocalMesh(options: LocalMeshOptions = {}): Promise<LocalMesh> {
  const files = await Manifests.load(options.manifests ?? []);
  const manifests = options.yaml === undefined ? files : files.and(Manifests.parse(options.yaml, "text"));
  const { objects } = manifests;
  const started = await startMesh(daemonConfig(options), {
    ...(options.onProgress && { onProgress: options.onProgress }),
    ...(options.signal && { signal: options.signal }),
  });
  const mesh = new LocalMesh(started);
  const onAbort = (): void => void mesh.stop();
  options.signal?.addEventListener("abort", onAbort, { once: true });
  try {
    const report = (type: "step" | "warning", text: string): void => options.onProgress?.({ type, text });
    if (objects.length > 0) {
      report("step", `applying ${objects.length} objects`);
      for (const text of manifests.danglingReferences(await mesh.client.list())) report("warning", text);
      await mesh.client.apply(objects);
    }
    report("step", "waiting until everything is ready");
    await mesh.whenReady(
      options.readyTimeoutMs,
      pendingReporter((text) => report("step", text)),
    );
    return mesh;
  } catch (error) {
    await mesh.stop();
    options.signal?.throwIfAborted();
    throw error;
  } finally {
    options.signal?.removeEventListener("abort", onAbort);
  }
}

/** Tells what is missing when that takes long: the first of it, and anew when it changes. */
function pendingReporter(report: (text: string) => void): (lines: readonly string[]) => void {
  let reportedAtMs = performance.now();
  let last = "";
  return (lines) => {
    const [first = ""] = lines;
    if (performance.now() - reportedAtMs < patienceMs || first === last) return;
    reportedAtMs = performance.now();
    last = first;
    report(`waiting for ${first}${lines.length === 1 ? "" : ` and ${lines.length - 1} more`}`);
  };
}

const patienceMs = 3000;

function daemonConfig(options: LocalMeshOptions): Omit<DaemonConfig, "stateDirectory"> {
  const ipv4 = {
    ...defaultIpv4Ranges,
    ...(options.podRange === undefined ? {} : { pods: options.podRange }),
    ...(options.serviceRange === undefined ? {} : { services: options.serviceRange }),
  };
  return {
    name: options.name ?? "default",
    nodeCount: options.nodes ?? 2,
    ranges: options.ipv6 === true ? [ipv4, defaultIpv6Ranges] : [ipv4],
    trustDomain: options.trustDomain ?? "cluster.local",
    rootNamespace: options.rootNamespace ?? "istio-system",
    clusterDomain: "cluster.local",
    clusterId: "Kubernetes",
    writableHost: options.writableHost ?? false,
    meshParts: options.meshParts ?? true,
    logLevel: options.logLevel ?? "info",
  };
}
