import { join } from "node:path";
import type { Command } from "commander";
import type { Check, Outcome } from "../demo/check.ts";
import { quickstartChecks } from "../demo/quickstart.ts";
import { type LocalMesh, startLocalMesh } from "../local/local-mesh.ts";
import { CommandFailure } from "./failure.ts";
import { formatMeshTable } from "./mesh-summary.ts";
import { ProgressView } from "./progress.ts";

interface DemoOptions {
  readonly verbose?: boolean;
  readonly keep?: boolean;
}

const interruptedExitCode = 130;
const quickstart = join(import.meta.dirname, "../../../../examples/quickstart");

export function registerDemo(program: Command): void {
  program
    .command("demo")
    .description("bring up examples/quickstart, show what the mesh does with it, and remove it again")
    .option("--verbose", "show the log lines that prove each result")
    .option("--keep", "leave the mesh running (name: demo); end it with `hairpin down --name demo`")
    .action(async (options: DemoOptions) => {
      await demo(options);
    });
}

async function demo(options: DemoOptions): Promise<void> {
  const startedAt = performance.now();
  const interrupt = new AbortController();
  const onSignal = (): void =>
    interrupt.abort(new CommandFailure("interrupted; everything has been removed", interruptedExitCode));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.on(signal, onSignal);
  const mesh = await bringUp(interrupt.signal);
  let failed: readonly string[];
  try {
    console.log(`\n${formatMeshTable(await mesh.client.list())}\n`);
    failed = await runChecks(mesh, quickstartChecks({ quickstart }), interrupt.signal, options.verbose === true);
  } finally {
    if (options.keep === true && !interrupt.signal.aborted) await mesh.detach();
    else await mesh.stop();
  }
  console.log(
    `${options.keep === true ? "The mesh is still up: hairpin get pods -A --name demo" : "Everything has been removed"}. ${Math.round((performance.now() - startedAt) / 1000)} s in all.`,
  );
  if (failed.length > 0)
    throw new CommandFailure(`${failed.length} checks differed from what was expected: ${failed.join("; ")}`);
  process.exit(0);
}

async function bringUp(signal: AbortSignal): Promise<LocalMesh> {
  const view = new ProgressView(process.stdout);
  console.log("Bringing up examples/quickstart: 3 namespaces, 2 nodes, 2 waypoints");
  try {
    return await startLocalMesh({
      manifests: manifestFiles.map((file) => join(quickstart, file)),
      name: "demo",
      onProgress: (line) => view.show(line),
      signal,
    });
  } finally {
    view.finish();
  }
}

const manifestFiles = ["00-namespaces.yaml", "10-outside.yaml", "20-shop.yaml", "30-books.yaml"];

/** Runs the checks one after the other, tells of each, and gives back the titles of those that differed. */
async function runChecks(
  mesh: LocalMesh,
  checks: readonly Check[],
  signal: AbortSignal,
  verbose: boolean,
): Promise<string[]> {
  const failed: string[] = [];
  for (const [index, check] of checks.entries()) {
    signal.throwIfAborted();
    const outcome = await run(mesh, check);
    signal.throwIfAborted();
    if (!outcome.ok) failed.push(check.title);
    console.log(`${outcome.ok ? "ok    " : "DIFFERS"} ${index + 1}. ${check.title}`);
    console.log(`         ${check.command}`);
    console.log(`         expected: ${check.expected}`);
    console.log(`         happened: ${outcome.happened}`);
    if (verbose || !outcome.ok) for (const line of outcome.evidence ?? []) console.log(`         | ${line}`);
  }
  console.log(`\n${checks.length - failed.length} of ${checks.length} as expected.`);
  return failed;
}

async function run(mesh: LocalMesh, check: Check): Promise<Outcome> {
  try {
    return await check.run(mesh);
  } catch (error) {
    return { ok: false, happened: `failed: ${error instanceof Error ? error.message : String(error)}` };
  }
}
