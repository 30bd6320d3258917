import { type ChildProcess, spawn } from "node:child_process";
import { constants } from "node:os";
import type { Command } from "commander";
import { enterArgv, enterDepth } from "../local/enter.ts";
import { meshFailedExitCode } from "../local/local-mesh.ts";
import { systemPath } from "../local/namespace-support.ts";
import { descendant } from "../local/process-tree.ts";
import { CommandFailure } from "./failure.ts";
import { findMesh, type RunningMesh, withMeshName } from "./running-mesh.ts";

interface ExecOptions {
  readonly name: string;
  readonly namespace: string;
  readonly container?: string;
}

/** Signals that are passed on to the program. */
const forwardedSignals = ["SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2"] as const;
const signalExitBase = 128;

export function registerExec(program: Command): void {
  withMeshName(program.command("exec"))
    .description("run a command in a pod; its exit code is ours, 125 means that the mesh failed")
    .argument("<pod>", "POD or deploy/NAME")
    .argument("<command...>", "after --")
    .option("-n, --namespace <namespace>", "of the pod", "default")
    .option("-c, --container <name>", "default: the first one")
    // kubectl's habits; both happen by themselves.
    .option("-i, --stdin", "pass standard input on (always so)")
    .option("-t, --tty", "use a terminal (always so when there is one)")
    .action(async (target: string, command: readonly string[], options: ExecOptions) => {
      const argv = await planArgv(target, command, options);
      process.exitCode = await runAttached(argv, process.stdin.isTTY);
    });
}

async function planArgv(target: string, command: readonly string[], options: ExecOptions): Promise<readonly string[]> {
  const { namespace, container } = options;
  let mesh: RunningMesh;
  try {
    mesh = findMesh(options.name, meshFailedExitCode);
    const join = await mesh.client.join({ namespace, target, ...(container === undefined ? {} : { container }) });
    return enterArgv(mesh.record, [...join.argv, ...command]);
  } catch (error) {
    if (error instanceof CommandFailure) throw error;
    throw new CommandFailure(error instanceof Error ? error.message : String(error), meshFailedExitCode);
  }
}

/**
 * With a terminal the program shares our process group, so that it can be stopped and interrupted from the keyboard, and the
 * programs in between look away; without one it gets a group of its own and we pass signals on.
 */
async function runAttached(argv: readonly string[], hasTerminal: boolean): Promise<number> {
  const wrapped = hasTerminal ? ["sh", "-c", 'trap "" INT QUIT; exec "$@"', "sh", ...argv] : argv;
  const [program = "", ...args] = wrapped;
  const child = spawn(program, args, { stdio: "inherit", detached: !hasTerminal, env: { PATH: systemPath } });
  let interrupted = false;
  const handlers = forwardedSignals.map((signal) => {
    const handler = (): void => {
      interrupted = true;
      if (!(hasTerminal && (signal === "SIGINT" || signal === "SIGQUIT"))) forward(child, signal);
    };
    process.on(signal, handler);
    return { signal, handler };
  });
  try {
    const { code, signal } = await exitOf(child);
    if (signal !== null) return signalExitBase + (constants.signals[signal] ?? 0);
    // The programs in between ignore an interrupt, so they cannot die of it as the program did.
    if (hasTerminal && interrupted && code === 1) return signalExitBase + constants.signals.SIGINT;
    return code ?? meshFailedExitCode;
  } finally {
    for (const { signal, handler } of handlers) process.off(signal, handler);
  }
}

function forward(child: ChildProcess, signal: NodeJS.Signals): void {
  const pid = descendant(child.pid ?? 0, enterDepth);
  try {
    if (pid === undefined) child.kill(signal);
    else process.kill(pid, signal);
  } catch {
    // It has ended in the meantime.
  }
}

async function exitOf(child: ChildProcess): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ code: number | null; signal: NodeJS.Signals | null }>();
  child.once("error", (error) => reject(new CommandFailure(error.message, meshFailedExitCode)));
  child.once("exit", (code, signal) => resolve({ code, signal }));
  return await promise;
}
