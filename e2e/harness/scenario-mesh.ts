// A mesh as the scenarios use it, in namespaces of this machine or in a cluster: calls from pods, held connections, logs, metrics and dumps of the real processes.

import { type KubernetesObject, LocalMesh, startLocalMesh } from "@hairpin/cli";
import { eventually } from "@hairpin/testkit";
import { type AccessLogLine, parseAccessLog } from "./access-log.ts";
import { ToldProgram } from "./told-program.ts";
import { HeldConnection } from "./held-connection.ts";
import { type ClusterConfig, readClusterConfig } from "./cluster-config.ts";
import { ClusterMesh } from "./cluster-mesh.ts";
import type { KillOptions, ScenarioBackend } from "./scenario-backend.ts";
import { CallLoop, type CallOrder, type ToldCall } from "./call-loop.ts";

/** `namespace/pod`. */
export type PodName = `${string}/${string}`;

export interface Answer {
  /** 0: there was none. */
  readonly status: number;
  readonly body: string;
  readonly headers: Readonly<Record<string, readonly string[]>>;
  readonly curlExitCode: number;
  readonly redirectUrl: string;
}

export interface CurlOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly timeoutSeconds?: number;
  /** Further words for curl. */
  readonly args?: readonly string[];
}

const appsFolder = new URL("../apps", import.meta.url).pathname;
/** Undefined: the local mesh. */
export const cluster: ClusterConfig | undefined = readClusterConfig();
const readyTimeoutMs = 90_000;
/** A program that nobody stopped ends after this: longer than any scenario. */
const programTimeoutMs = 900_000;
const manifestsFolder = new URL("../manifests", import.meta.url).pathname;
/** Separates the body from what curl tells about the answer. */
const mark = "\n--curl--";

export class ScenarioMesh implements AsyncDisposable {
  readonly mesh: ScenarioBackend;
  readonly #programs = new Set<ToldProgram>();

  private constructor(mesh: ScenarioBackend) {
    this.mesh = mesh;
  }

  /** Starts a mesh from files of e2e/manifests and waits until everything in it is ready. */
  static async start(name: string, ...files: readonly string[]): Promise<ScenarioMesh> {
    const startedAt = performance.now();
    const manifests = files.map((file) => `${manifestsFolder}/${file}`);
    const mesh = cluster
      ? await ClusterMesh.start(cluster, manifests, readyTimeoutMs)
      : await startLocalMesh({ name, manifests, readyTimeoutMs });
    report(`mesh ${name} ready after ${Math.round(performance.now() - startedAt)} ms`);
    return new ScenarioMesh(mesh);
  }

  /** Scenarios on a mesh that is up already and ends with this. */
  static on(mesh: ScenarioBackend): ScenarioMesh {
    return new ScenarioMesh(mesh);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.#programs].map((program) => program.stop()));
    await this.mesh.stop();
  }

  /** Calls a URL once, on a connection of its own. */
  async curl(from: PodName, url: string, options: CurlOptions = {}): Promise<Answer> {
    const { method = "GET", headers = {}, body, timeoutSeconds = 5, args = [] } = options;
    const fields = Object.entries(headers).flatMap(([name, value]) => ["-H", `${name}: ${value}`]);
    const data = body === undefined ? [] : ["--data-binary", body];
    const told = `${mark}%{http_code} %{redirect_url}\n%{header_json}`;
    const argv = [
      "curl",
      "-sS",
      "-m",
      String(timeoutSeconds),
      "-X",
      method,
      ...fields,
      ...data,
      ...args,
      "-w",
      told,
      url,
    ];
    const { stdout, exitCode } = await this.exec(from, argv);
    const at = stdout.lastIndexOf(mark);
    const [first = "", ...rest] = stdout.slice(at + mark.length).split("\n");
    const [status = "0", redirectUrl = ""] = first.split(" ");
    return {
      status: Number(status),
      body: stdout.slice(0, Math.max(at, 0)),
      headers: JSON.parse(rest.join("\n") || "{}") as Answer["headers"],
      curlExitCode: exitCode,
      redirectUrl,
    };
  }

  get #appsFolder(): string {
    return this.mesh instanceof ClusterMesh ? this.mesh.appsFolder : appsFolder;
  }

  /** The local mesh, for what only it can do. Throws `Error` in a cluster. */
  get local(): LocalMesh {
    if (this.mesh instanceof LocalMesh) return this.mesh;
    throw new Error("This scenario needs the local mesh");
  }

  /** `ca-cert.pem` or `ca-key.pem` of the mesh's CA. */
  async authorityFile(file: string): Promise<string> {
    if (this.mesh instanceof ClusterMesh) return await this.mesh.secret("istio-ca-secret", file);
    const { stateDirectory } = this.local;
    const { stdout, exitCode, stderr } = await this.local.execInMesh(["cat", `${stateDirectory}/run/control/${file}`]);
    if (exitCode !== 0) throw new Error(stderr);
    return stdout;
  }

  async exec(
    pod: PodName,
    argv: readonly string[],
    stdin?: string,
  ): Promise<{ readonly exitCode: number; readonly stdout: string; readonly stderr: string }> {
    const { namespace, name } = splitName(pod);
    return await this.mesh.exec(name, argv, { namespace, ...(stdin === undefined ? {} : { stdin }) });
  }

  /** Runs a program of e2e/apps to its end and reads the JSON lines that it prints. */
  async runApp<T>(pod: PodName, app: string, args: readonly string[], stdin?: string): Promise<readonly T[]> {
    const { stdout, stderr, exitCode } = await this.exec(
      pod,
      ["node", `${this.#appsFolder}/${app}.ts`, ...args],
      stdin,
    );
    if (exitCode !== 0) throw new Error(`${app} in ${pod} ended with ${exitCode}: ${stderr.trim()}`);
    return stdout
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line) as T);
  }

  /** A number of HTTP calls, one after the other. */
  async calls(from: PodName, order: CallOrder & { readonly count: number }): Promise<readonly ToldCall[]> {
    return await this.runApp<ToldCall>(from, "calls", [JSON.stringify(order)]);
  }

  /** HTTP calls until told to stop. */
  async startCalls(from: PodName, order: CallOrder): Promise<CallLoop> {
    return new CallLoop(await this.#start(from, "calls", [JSON.stringify(order)]));
  }

  /** Opens a TCP connection in a pod and keeps it; resolves when it is open or has failed. */
  async hold(from: PodName, host: string, port: number): Promise<HeldConnection> {
    const held = new HeldConnection(await this.#start(from, "hold", [host, String(port)]));
    await held.settled();
    return held;
  }

  async #start(pod: PodName, app: string, args: readonly string[]): Promise<ToldProgram> {
    const { namespace, name } = splitName(pod);
    const argv = ["node", `${this.#appsFolder}/${app}.ts`, ...args];
    const program = new ToldProgram(await this.mesh.start(name, argv, { namespace, timeoutMs: programTimeoutMs }));
    this.#programs.add(program);
    return program;
  }

  async object(kind: string, name: PodName): Promise<KubernetesObject> {
    const { namespace, name: wanted } = splitName(name);
    const found = (await this.mesh.get(kind, namespace)).find((object) => object.metadata.name === wanted);
    if (!found) throw new Error(`There is no ${kind} ${name}`);
    return found;
  }

  /** Of a part of the mesh: `partIp("ztunnel/node2")`. */
  async partIp(part: string, namespace = "istio-system"): Promise<string> {
    if (this.mesh instanceof ClusterMesh) return await this.mesh.ip(part, namespace);
    return await this.podIp(`${namespace}/${part.replace("/", "-")}`);
  }

  async podIp(name: PodName): Promise<string> {
    const ip = ((await this.object("Pod", name)).status as { podIP?: string } | undefined)?.podIP;
    if (ip === undefined) throw new Error(`Pod ${name} has no address`);
    return ip;
  }

  /** Names of the pods with a label `app`. */
  async podsOf(namespace: string, app: string): Promise<readonly string[]> {
    const pods = await this.mesh.get("Pod", namespace);
    return pods.filter(({ metadata }) => metadata.labels?.["app"] === app).map(({ metadata }) => metadata.name);
  }

  /** The pods of a waypoint. */
  async waypointPods(namespace: string, gateway: string): Promise<readonly string[]> {
    const pods = await this.mesh.get("Pod", namespace);
    return pods
      .filter(({ metadata }) => metadata.labels?.["gateway.networking.k8s.io/gateway-name"] === gateway)
      .map(({ metadata }) => metadata.name);
  }

  async clusterIp(name: PodName): Promise<string> {
    const ip = ((await this.object("Service", name)).spec as { clusterIP?: string } | undefined)?.clusterIP;
    if (ip === undefined || ip === "None") throw new Error(`Service ${name} has no address`);
    return ip;
  }

  async logLines(part: string, namespace?: string): Promise<readonly string[]> {
    return (await this.mesh.logs(part, namespace)).split("\n").filter(Boolean);
  }

  /** Access log lines of one node's ztunnel, or of all. */
  async accessLog(...nodes: readonly string[]): Promise<readonly AccessLogLine[]> {
    const wanted = nodes.length > 0 ? nodes : ["node1", "node2"];
    const logs = await Promise.all(wanted.map((node) => this.logLines(`ztunnel/${node}`)));
    return logs.flatMap((lines) => lines.map(parseAccessLog)).filter((line) => line !== undefined);
  }

  /** Those of them that have these fields, oldest first. */
  async accessLines(
    fields: Readonly<Record<string, string | RegExp>>,
    ...nodes: readonly string[]
  ): Promise<readonly AccessLogLine[]> {
    return (await this.accessLog(...nodes)).filter((line) => matchesFields(line, fields));
  }

  /** The newest access log line with these fields; waits for it, because a line is written when its connection has ended. */
  async findAccess(
    fields: Readonly<Record<string, string | RegExp>>,
    ...nodes: readonly string[]
  ): Promise<AccessLogLine> {
    return await eventually(
      async () => {
        const lines = await this.accessLog(...nodes);
        const found = lines.findLast((line) => matchesFields(line, fields));
        if (!found)
          throw new Error(`No access log line has ${JSON.stringify(fields, printable)}; the last: ${last(lines)}`);
        return found;
      },
      { intervalMs: 50 },
    );
  }

  /** A page of a part's own ports: `part("ztunnel/node1", 15000, "/config_dump")`. */
  async page(
    part: string,
    port: number,
    path: string,
    namespace = "istio-system",
    args: readonly string[] = [],
  ): Promise<string> {
    if (this.mesh instanceof ClusterMesh) return await this.mesh.page(part, port, path, namespace, args);
    const argv = ["curl", "-sS", "-m", "5", ...args, `http://127.0.0.1:${port}${path}`];
    const { stdout, stderr, exitCode } = await this.mesh.exec(part, argv, { namespace });
    if (exitCode !== 0) throw new Error(`${part} does not answer on ${port}: ${stderr.trim()}`);
    return stdout;
  }

  async configDump(node: string): Promise<Readonly<Record<string, unknown>>> {
    return JSON.parse(await this.page(`ztunnel/${node}`, 15_000, "/config_dump")) as Readonly<Record<string, unknown>>;
  }

  /** Applies manifests; resolves with the time (ms since 1970) at which the mesh had taken them. */
  async apply(yaml: string): Promise<number> {
    await this.mesh.apply(yaml);
    return Date.now();
  }

  /** Kills a part of the mesh. Gives the time (ms since 1970) right before. */
  async kill(target: string, options: KillOptions = {}): Promise<number> {
    const calledAt = Date.now();
    const killedAt = await this.mesh.kill(target, { namespace: "istio-system", ...options });
    return typeof killedAt === "number" ? killedAt : calledAt;
  }

  async delete(yaml: string): Promise<number> {
    await this.mesh.delete(yaml);
    return Date.now();
  }
}

/** A figure for whoever reads the run. */
export function report(text: string): void {
  process.stdout.write(`[e2e] ${text}\n`);
}

function splitName(name: PodName): { readonly namespace: string; readonly name: string } {
  const [namespace = "", rest = ""] = name.split("/");
  return { namespace, name: rest };
}

function matchesFields(line: AccessLogLine, fields: Readonly<Record<string, string | RegExp>>): boolean {
  return Object.entries(fields).every(([name, wanted]) => {
    const value = line.fields[name] ?? "";
    return typeof wanted === "string" ? value === wanted : wanted.test(value);
  });
}

function printable(_key: string, value: unknown): unknown {
  return value instanceof RegExp ? String(value) : value;
}

function last(lines: readonly AccessLogLine[]): string {
  return lines
    .slice(-3)
    .map(({ text }) => text)
    .join("\n");
}
