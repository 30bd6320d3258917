import { execFile } from "node:child_process";
import { promisify } from "node:util";
import {
  type ExecOptions,
  type ExecResult,
  type KubernetesObject,
  Manifests,
  type RunningProgram,
  findPending,
  runProgram,
} from "@hairpin/cli";
import { eventually } from "@hairpin/testkit";
import type { ClusterConfig } from "./cluster-config.ts";
import { type ClusterPlaces, toClusterObjects } from "./cluster-manifests.ts";
import { findName, findPods } from "./cluster-target.ts";
import { Installation, Part, rootNamespace } from "./installation.ts";
import { Kubectl, maxOutputBytes } from "./kubectl.ts";
import { NodeInspector } from "./node-inspector.ts";
import type { KillOptions, ScenarioBackend } from "./scenario-backend.ts";

const run = promisify(execFile);
/** Where e2e/image/Dockerfile puts the programs. */
const home = "/hairpin";

/** A cluster that has the chart installed. Everything goes through kubectl, as its users would. */
export class ClusterMesh implements ScenarioBackend {
  readonly #config: ClusterConfig;
  readonly #kubectl: Kubectl;
  readonly #places: ClusterPlaces;
  /** To be deleted at the end. */
  readonly #namespaces = new Set<string>();
  /** To be restarted at the end. */
  readonly #killed = new Set<Part>();
  #inspector: NodeInspector | undefined;

  private constructor(config: ClusterConfig, nodes: readonly string[]) {
    this.#config = config;
    this.#kubectl = new Kubectl(config);
    this.#places = { image: config.appsImage, home, nodes };
  }

  /** Applies manifests and waits until all is ready. When that fails nothing is left behind. */
  static async start(
    cluster: ClusterConfig,
    manifests: readonly string[],
    readyTimeoutMs: number,
  ): Promise<ClusterMesh> {
    const mesh = new ClusterMesh(cluster, await new Installation(cluster).nodes());
    try {
      await mesh.#applyObjects((await Manifests.load(manifests)).objects.map(({ object }) => object));
      await mesh.whenReady(readyTimeoutMs);
      return mesh;
    } catch (error) {
      await mesh.stop();
      throw error;
    }
  }

  /** Where its pods have the programs of e2e/apps. */
  get appsFolder(): string {
    return `${home}/e2e/apps`;
  }

  async exec(target: string, argv: readonly string[], options: ExecOptions = {}): Promise<ExecResult> {
    return await runProgram(await this.#execArgv(target, argv, options), options).end(options.stdin);
  }

  async start(
    target: string,
    argv: readonly string[],
    options: Omit<ExecOptions, "stdin"> = {},
  ): Promise<RunningProgram> {
    return runProgram(await this.#execArgv(target, argv, options), options);
  }

  async apply(yaml: string): Promise<void> {
    await this.#applyObjects(Manifests.parse(yaml, "text").objects.map(({ object }) => object));
  }

  /** Resolves when the API server has taken it; what runs may take its time to end. */
  async delete(yaml: string): Promise<void> {
    const objects = Manifests.parse(yaml, "text").objects.map(({ object }) => object);
    await this.#send(["delete", "--ignore-not-found", "--wait=false"], objects);
  }

  async get(kind: string, namespace?: string): Promise<readonly KubernetesObject[]> {
    const where = namespace === undefined ? ["-A"] : ["-n", namespace];
    return await this.#kubectl.list([kind, ...where]);
  }

  async logs(target: string, namespace: string = "default"): Promise<string> {
    const pod = await this.#pod(target, namespace);
    return await this.#kubectl.text(["logs", "-n", pod.namespace, pod.name, "--all-containers"]);
  }

  /** Signals every process of a pod, or of all replicas of a part, by a privileged pod on their nodes. Gives the time right before. */
  async kill(target: string, { namespace = "default", signal = "KILL" }: KillOptions = {}): Promise<number> {
    const { nodes } = this.#places;
    this.#inspector ??= await NodeInspector.start(this.#kubectl, this.#config.image, nodes);
    const inspector = this.#inspector;
    const pods = await findPods(this.#kubectl, target, { namespace, nodes });
    const found = await Promise.all(
      pods.map(async ({ metadata, spec }) => {
        const { nodeName: node = "" } = spec as { readonly nodeName?: string };
        return { node, processes: await inspector.processes(node, metadata.uid ?? "") };
      }),
    );
    if (target === "control") this.#killed.add(Part.control);
    if (target.startsWith("ztunnel/")) this.#killed.add(Part.ztunnel);
    const at = Date.now();
    await Promise.all(
      found.map(async ({ node, processes }) => await inspector.run(node, `kill -${signal} ${processes.join(" ")}`)),
    );
    return at;
  }

  /** The address of a pod or part. */
  async ip(target: string, namespace: string): Promise<string> {
    const [pod] = await findPods(this.#kubectl, target, { namespace, nodes: this.#places.nodes });
    const ip = (pod.status as { podIP?: string } | undefined)?.podIP;
    if (ip === undefined) throw new Error(`${target} has no address`);
    return ip;
  }

  /** One file of a Secret of the mesh's namespace. */
  async secret(name: string, file: string): Promise<string> {
    const [, found] =
      (await this.#kubectl.list(["secrets", "-n", rootNamespace]))
        .filter(({ metadata }) => metadata.name === name)
        .flatMap((object) => Object.entries((object as { data?: Record<string, string> }).data ?? {}))
        .find(([key]) => key === file) ?? [];
    if (found === undefined) throw new Error(`Secret ${name} has no ${file}`);
    return Buffer.from(found, "base64").toString("utf8");
  }

  /** A page of a pod's own port, loopback too: through the API server's port forwarding. */
  async page(target: string, port: number, path: string, namespace: string, args: readonly string[]): Promise<string> {
    const pod = await this.#pod(target, namespace);
    const forward = runProgram(
      this.#kubectl.argv(["port-forward", "-n", pod.namespace, `pod/${pod.name}`, `:${port}`]),
    );
    try {
      const local = await eventually(() => {
        const found = /127\.0\.0\.1:(\d+)/.exec(forward.stdout)?.[1];
        if (found === undefined) throw new Error(`Port ${port} of ${target} is not forwarded: ${forward.stdout}`);
        return found;
      });
      const { stdout } = await run("curl", ["-sS", "-m", "10", ...args, `http://127.0.0.1:${local}${path}`], {
        maxBuffer: maxOutputBytes,
      });
      return stdout;
    } finally {
      forward.kill();
    }
  }

  async whenReady(timeoutMs: number = 120_000): Promise<void> {
    await eventually(
      async () => {
        const found = await Promise.all(
          [...this.#namespaces].flatMap((namespace) =>
            ["pods", "deployments", "gateways"].map((kind) => this.get(kind, namespace)),
          ),
        );
        const pending = findPending(found.flat());
        if (pending.length > 0) throw new Error(`Not ready:\n${pending.join("\n")}`);
      },
      { timeoutMs, intervalMs: 250 },
    );
  }

  /** Takes away the namespaces that were made. The chart stays; what was killed of it starts afresh, without the kubelet's growing delay. */
  async stop(): Promise<void> {
    await this.#inspector?.[Symbol.asyncDispose]();
    for (const part of this.#killed) await new Installation(this.#config).restart(part);
    this.#killed.clear();
    if (this.#namespaces.size === 0) return;
    await this.#kubectl.text(["delete", "namespace", ...this.#namespaces, "--ignore-not-found", "--wait=true"]);
    this.#namespaces.clear();
  }

  /** Namespaces first: a pod is refused while its namespace has no service account `default`. */
  async #applyObjects(objects: readonly KubernetesObject[]): Promise<void> {
    const placed = toClusterObjects(objects, this.#places);
    const namespaces = placed.filter(({ kind }) => kind === "Namespace");
    const first = placed.filter(({ kind }) => kind === "ServiceAccount");
    const rest = placed.filter(({ kind }) => kind !== "Namespace" && kind !== "ServiceAccount");
    await this.#send(["apply", "--server-side", "--force-conflicts"], namespaces);
    for (const { metadata } of namespaces) this.#namespaces.add(metadata.name);
    for (const { metadata } of namespaces) {
      await eventually(async () => await this.#kubectl.text(["get", "serviceaccount", "-n", metadata.name, "default"]));
    }
    await this.#send(["apply", "--server-side", "--force-conflicts"], first);
    await this.#send(["apply", "--server-side", "--force-conflicts"], rest);
  }

  async #send(command: readonly string[], objects: readonly KubernetesObject[]): Promise<void> {
    if (objects.length === 0) return;
    const list = { apiVersion: "v1", kind: "List", items: objects };
    const { exitCode, stderr } = await runProgram(this.#kubectl.argv([...command, "-f", "-"]), {
      timeoutMs: 120_000,
    }).end(JSON.stringify(list));
    if (exitCode !== 0) throw new Error(`kubectl ${command[0] ?? ""}: ${stderr.trim()}`);
  }

  async #execArgv(
    target: string,
    argv: readonly string[],
    { namespace = "default", container }: ExecOptions,
  ): Promise<readonly string[]> {
    const pod = await this.#pod(target, namespace);
    const where = ["-n", pod.namespace, pod.name, ...(container === undefined ? [] : ["-c", container])];
    return this.#kubectl.argv(["exec", "-i", ...where, "--", ...argv]);
  }

  async #pod(target: string, namespace: string): Promise<{ readonly namespace: string; readonly name: string }> {
    return await findName(this.#kubectl, target, { namespace, nodes: this.#places.nodes });
  }
}
