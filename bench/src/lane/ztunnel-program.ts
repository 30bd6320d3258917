// The two ztunnels that a bench can run: ours from this project's sources, and Istio's program. Both get the same environment.
import { join } from "node:path";
import type { Arena, NodeAgent } from "../arena/arena.ts";
import { meshPod, rootNamespace, ztunnelAccount } from "../arena/manifests.ts";
import { inside, type Host } from "../arena/network.ts";
import { projectRoot } from "../arena/project.ts";
import type { Program } from "../arena/program.ts";
import { runCommand } from "../arena/run-command.ts";
import { waitUntil } from "../arena/wait-until.ts";
import { AbsentError } from "./lane.ts";

export type TlsEngineName = "libssl" | "node-tls";

/** How a part of this project is started. */
export interface HairpinRuntime {
  readonly engine: TlsEngineName;
  /** Write a CPU profile into this folder at the end. */
  readonly profileDirectory?: string;
}

/** The command of a ztunnel, and what its environment needs besides. */
export interface ZtunnelProgram {
  readonly command: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
}

export interface ZtunnelNode {
  readonly name: string;
  readonly host: Host;
  readonly agent: NodeAgent;
  readonly ztunnel: Program;
}

const startTimeoutMs = 30_000;

/** How a part of this project is started: from its bundle, as in the image; for a profile from its sources, whose files it shall name. */
export async function partCommand(
  arena: Arena,
  part: "ztunnel" | "waypoint",
  { profileDirectory }: HairpinRuntime,
): Promise<readonly string[]> {
  if (profileDirectory === undefined) return [process.execPath, join(await arena.bundles(), `${part}.mjs`)];
  const profile = ["--cpu-prof", `--cpu-prof-dir=${profileDirectory}`];
  return [process.execPath, ...profile, join(projectRoot, "packages", part, "src/main.ts")];
}

export async function hairpinZtunnel(arena: Arena, runtime: HairpinRuntime): Promise<ZtunnelProgram> {
  return { command: await partCommand(arena, "ztunnel", runtime), environment: { TLS_ENGINE: runtime.engine } };
}

/** Starts the ztunnel of a node of its own, which takes pods from its agent. */
export async function startZtunnel(
  arena: Arena,
  name: string,
  host: Host,
  { command, environment }: ZtunnelProgram,
): Promise<ZtunnelNode> {
  const control = await arena.control();
  const pod = meshPod({
    namespace: rootNamespace,
    name: `ztunnel-${name}`,
    serviceAccount: ztunnelAccount,
    node: name,
    host,
  });
  const agent = arena.nodeAgent(name);
  const settings = { ...(await control.environmentOf(pod)), ...environment, INPOD_UDS: agent.socketPath };
  const ztunnel = arena.start({ name: `ztunnel ${name}`, host, command, environment: settings });
  return { name, host, agent, ztunnel };
}

/** Waits until a part says that it is ready. */
export async function whenReady(host: Host, program: Program): Promise<void> {
  await waitUntil(`${program.name} is not ready`, startTimeoutMs, async () => {
    program.check();
    await runCommand([...inside(host), "curl", "-fsS", "-m", "2", "http://127.0.0.1:15021/healthz/ready"]);
  });
}

/** Throws {@link AbsentError} when a part of this project uses another TLS engine than wanted, as its admin page says. */
export async function checkEngine(host: Host, wanted: TlsEngineName): Promise<void> {
  const url = "http://127.0.0.1:15000/config_dump";
  const dump = JSON.parse(await runCommand([...inside(host), "curl", "-fsS", "-m", "5", url])) as EngineDump;
  const { name, reason } = dump.version.tlsEngine;
  if (name !== wanted) throw new AbsentError(`${host.name} uses the TLS engine ${name}, not ${wanted}: ${reason}`);
}

interface EngineDump {
  readonly version: { readonly tlsEngine: { readonly name: string; readonly reason: string } };
}
