import { once } from "node:events";
import { type Command, InvalidArgumentError } from "commander";
import { type LocalMesh, type LocalMeshOptions, startLocalMesh } from "../local/local-mesh.ts";
import { collect } from "./apply.ts";
import { CommandFailure } from "./failure.ts";
import { formatMeshTable } from "./mesh-summary.ts";
import { ProgressView } from "./progress.ts";
import { withMeshName } from "./running-mesh.ts";

interface UpOptions {
  readonly name: string;
  readonly filename: readonly string[];
  readonly nodes: number;
  readonly detach?: boolean;
  readonly trustDomain: string;
  readonly rootNamespace: string;
  readonly ipv6?: boolean;
  readonly podRange?: string;
  readonly serviceRange?: string;
  readonly writableHost?: boolean;
  readonly timeout: number;
  readonly logLevel: string;
}

const interruptedExitCode = 130;

export function registerUp(program: Command): void {
  withMeshName(program.command("up"))
    .description("build a mesh on this machine; Ctrl-C ends it")
    .option("-f, --filename <path>", "file or folder of manifests, - for standard input; may be repeated", collect, [])
    .option("--nodes <count>", "how many nodes", parseCount, 2)
    .option("--detach", "leave the mesh running once everything is ready; end it with `hairpin down`")
    .option("--trust-domain <domain>", "trust domain of all identities", "cluster.local")
    .option("--root-namespace <namespace>", "namespace of the mesh itself and of mesh-wide policies", "istio-system")
    .option("--ipv6", "give pods and Services IPv6 addresses too")
    .option("--pod-range <cidr>", "IPv4 range of pods (default: 10.244.0.0/16)")
    .option("--service-range <cidr>", "IPv4 range of Services (default: 10.96.0.0/16)")
    .option("--writable-host", "let pods write to this machine's file system")
    .option("--timeout <seconds>", "how long everything may take to be ready", parseCount, 120)
    .option("--log-level <level>", "of the parts of the mesh: error, warn, info or debug", "info")
    .action(async (options: UpOptions) => {
      await up(options);
    });
}

async function up(options: UpOptions): Promise<void> {
  const view = new ProgressView(process.stdout);
  const interrupt = new AbortController();
  const onSignal = (): void => interrupt.abort();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal);
  let mesh: LocalMesh;
  try {
    mesh = await startLocalMesh({
      ...meshOptions(options),
      onProgress: (line) => view.show(line),
      signal: interrupt.signal,
    });
  } catch (error) {
    if (!interrupt.signal.aborted) throw error;
    throw new CommandFailure("interrupted; everything has been removed", interruptedExitCode);
  } finally {
    view.finish();
  }
  console.log(`\n${formatMeshTable(await mesh.client.list())}\n`);
  const nameOption = options.name === "default" ? "" : ` --name ${options.name}`;
  if (options.detach === true) {
    await mesh.detach();
    console.log(`The mesh is up. End it with: hairpin down${nameOption}`);
    process.exit(0);
  }
  console.log("The mesh is up. Ctrl-C ends it.");
  await waitForEnd(mesh, interrupt.signal);
}

async function waitForEnd(mesh: LocalMesh, interrupt: AbortSignal): Promise<void> {
  if (!interrupt.aborted) await Promise.race([mesh.ended, once(interrupt, "abort")]);
  if (!interrupt.aborted) console.log("The mesh was ended from elsewhere.");
  await mesh.stop();
  process.exit(0);
}

function meshOptions(options: UpOptions): LocalMeshOptions {
  const { name, nodes, trustDomain, rootNamespace, ipv6, podRange, serviceRange, writableHost, logLevel } = options;
  return {
    manifests: options.filename,
    name,
    nodes,
    trustDomain,
    rootNamespace,
    logLevel,
    ipv6: ipv6 === true,
    writableHost: writableHost === true,
    readyTimeoutMs: options.timeout * 1000,
    ...(podRange === undefined ? {} : { podRange }),
    ...(serviceRange === undefined ? {} : { serviceRange }),
  };
}

function parseCount(text: string): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < 1 || value > 100_000)
    throw new InvalidArgumentError("use a whole number from 1");
  return value;
}
