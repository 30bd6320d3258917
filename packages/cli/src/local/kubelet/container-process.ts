// One running container: the chain nsenter → unshare → sh → program, and what it says and how it ends.

import { type ChildProcess, spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import type { Readable } from "node:stream";

export interface ContainerExit {
  readonly exitCode: number;
  readonly signal?: string;
}

export interface ContainerProcessOptions {
  /** A process that holds the sandbox's mount namespace. */
  readonly sandboxPid: number;
  readonly netnsPath: string;
  /** Path of the container's script (container-script.ts). */
  readonly scriptPath: string;
  readonly onOutput: (chunk: Buffer) => void;
}

/** A container whose program runs. */
export interface ContainerProcess {
  /** Of the container's first process, as seen by the mesh's init. */
  readonly pid: number;
  readonly exited: Promise<ContainerExit>;
  /** Resolves when it has ended: SIGTERM, then SIGKILL after the grace period. */
  stop(graceMs: number): Promise<void>;
}

/** The container could not be made; the message says why. */
class ContainerStartError extends Error {}

/** Starts a container; resolves when its program is about to run. Throws {@link ContainerStartError}. */
export async function startContainer(options: ContainerProcessOptions): Promise<ContainerProcess> {
  const child = spawn(
    "nsenter",
    [
      `--mount=/proc/${options.sandboxPid}/ns/mnt`,
      `--net=${options.netnsPath}`,
      "unshare",
      "--mount",
      "--pid",
      "--uts",
      "--ipc",
      "--fork",
      "--kill-child",
      "sh",
      options.scriptPath,
    ],
    { stdio: ["ignore", "pipe", "pipe", "pipe"], env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" } },
  );
  const exited = exitOf(child);
  let isRunning = false;
  let complaint = "";
  const onOutput = (chunk: Buffer): void => {
    if (!isRunning && complaint.length < maxComplaintLength) complaint += chunk.toString("utf8");
    options.onOutput(chunk);
  };
  child.stdout?.on("data", onOutput);
  child.stderr?.on("data", onOutput);
  const outcome = await Promise.race([readStartReport(child.stdio[3] as Readable), exited]);
  if (typeof outcome !== "number") {
    const { exitCode, signal } = await exited;
    throw new ContainerStartError(complaint.trim() || `the container's set-up ended with ${signal ?? exitCode}`);
  }
  isRunning = true;
  return { pid: outcome, exited, stop: (graceMs) => stopProcess(outcome, exited, graceMs) };
}

const maxComplaintLength = 2000;

/** The pid once the script is done; undefined when the pipe closes before. */
async function readStartReport(pipe: Readable): Promise<number | undefined> {
  const { promise, resolve } = Promise.withResolvers<number | undefined>();
  let text = "";
  pipe.on("data", (chunk: Buffer) => {
    text += chunk.toString("utf8");
    const pid = /^pid (\d+)$/m.exec(text)?.[1];
    if (pid !== undefined && /^ready$/m.test(text)) resolve(Number(pid));
  });
  pipe.once("error", () => resolve(undefined));
  pipe.once("close", () => resolve(undefined));
  return await promise;
}

async function exitOf(child: ChildProcess): Promise<ContainerExit> {
  const { promise, resolve } = Promise.withResolvers<ContainerExit>();
  child.once("error", (error) => resolve({ exitCode: 128, signal: error.message }));
  child.once("close", (code, signal) => resolve(signal === null ? { exitCode: code ?? 0 } : { exitCode: 137, signal }));
  return await promise;
}

async function stopProcess(pid: number, exited: Promise<ContainerExit>, graceMs: number): Promise<void> {
  // The first process itself: changing its user undid unshare's --kill-child. All others of the container go with it.
  const kill = (): void => sendSignal(pid, "SIGKILL");
  const killUnlessHandled = (): void => {
    if (!handlesSigterm(pid)) kill();
  };
  // The first process of a PID namespace ignores SIGTERM unless it handles it: waiting for it would be in vain. So would it
  // be for Node, whose own handler takes itself away and raises the signal again.
  if (graceMs <= 0) kill();
  else killUnlessHandled();
  sendSignal(pid, "SIGTERM");
  const timer = setTimeout(kill, graceMs);
  const poll = setInterval(killUnlessHandled, handlerPollMs);
  await exited;
  clearTimeout(timer);
  clearInterval(poll);
}

const handlerPollMs = 50;

function sendSignal(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // It has ended in the meantime.
  }
}

function handlesSigterm(pid: number): boolean {
  try {
    const caught = /^SigCgt:\s*([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? "0";
    return (BigInt(`0x${caught}`) & (1n << 14n)) !== 0n;
  } catch {
    return false;
  }
}
