// Starts a mesh's daemon in namespaces of its own, and ends it.

import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync, writeFileSync } from "node:fs";
import type { Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import type { DaemonConfig } from "./daemon/daemon-config.ts";
import { detachWord, type ProgressLine } from "./daemon/lifeline.ts";
import { findObstacle, namespaceOptions, systemPath } from "./namespace-support.ts";
import { descendant } from "./process-tree.ts";
import { type MeshRecord, processStartTicks, StateDirectory, StateError } from "./state-directory.ts";

export interface StartedMesh {
  readonly state: StateDirectory;
  readonly record: MeshRecord;
  /** Lets the mesh live on when this process ends. */
  detach(): Promise<void>;
  /** Ends the mesh and removes everything of it. Idempotent. */
  stop(): Promise<void>;
  /** Resolves when the mesh has ended, for whatever reason. */
  readonly ended: Promise<void>;
}

/** The mesh could not be started. */
export class MeshStartError extends Error {
  readonly code = "LOCAL_MESH_START";
  /** The last lines of the log of the part that failed. */
  readonly log: string;

  constructor(message: string, log: string = "") {
    super(message);
    this.log = log;
  }
}

export interface StartOptions {
  readonly onProgress?: (line: ProgressLine) => void;
  /** Aborting ends the start and removes what was made so far. */
  readonly signal?: AbortSignal;
}

const daemonPath = new URL("daemon/main.ts", import.meta.url).pathname;
/** Heap of the daemon in MiB. */
const daemonHeapMib = 256;
const stopTimeoutMs = 5000;

/** Throws {@link MeshStartError}, or StateError when the name is taken. */
export async function startMesh(
  options: Omit<DaemonConfig, "stateDirectory">,
  { onProgress, signal }: StartOptions = {},
): Promise<StartedMesh> {
  const rootless = process.getuid?.() !== 0;
  const state = claim(options.name);
  try {
    const obstacle = findObstacle(rootless);
    if (obstacle !== undefined) throw new MeshStartError(obstacle);
    signal?.throwIfAborted();
    writeFileSync(state.configPath, JSON.stringify({ ...options, stateDirectory: state.path }), { mode: 0o600 });
    return await launch(state, rootless, { ...(onProgress && { onProgress }), ...(signal && { signal }) });
  } catch (error) {
    state.remove();
    throw error;
  }
}

/** Takes the name for a new mesh; remains of one that has ended are removed. */
function claim(name: string): StateDirectory {
  const state = new StateDirectory(name);
  for (;;) {
    if (state.create()) {
      state.markStarter();
      return state;
    }
    const running = state.findRunning();
    if (running !== undefined)
      throw new StateError(
        `A mesh named ${name} runs already (process ${running.initPid}); end it with \`hairpin down --name ${name}\`, or choose another --name`,
      );
    if (state.isBeingStarted())
      throw new StateError(`A mesh named ${name} is being started at this moment; wait, or choose another --name`);
    state.remove();
  }
}

async function launch(state: StateDirectory, rootless: boolean, options: StartOptions): Promise<StartedMesh> {
  const logFd = openSync(state.logPath, "a", 0o600);
  const readFd = openSync(state.logPath, "r");
  const node = [process.execPath, `--max-old-space-size=${daemonHeapMib}`, daemonPath, state.configPath];
  // The shell outlives the mesh by the one step of removing its directory; a process group of its own, so that Ctrl-C at the
  // terminal reaches only the command, which then ends the mesh in order.
  const child = spawn(
    "sh",
    ["-c", 'unshare "$@"; rm -rf "$STATE"', "hairpin", ...namespaceOptions(rootless), ...node],
    {
      detached: true,
      stdio: ["ignore", logFd, logFd, "pipe"],
      cwd: "/",
      env: { PATH: systemPath, STATE: state.path, LANG: "C" },
    },
  );
  closeSync(logFd);
  const ended = endOf(child);
  const lifeline = child.stdio[3] as Socket;
  const stop = async (): Promise<void> => {
    lifeline.destroy();
    const inTime = await Promise.race([ended.then(() => true), delay(stopTimeoutMs, false, { ref: false })]);
    const unshare = descendant(child.pid ?? 0, 1);
    if (!inTime && unshare !== undefined) process.kill(unshare, "SIGKILL");
    await ended;
    state.remove();
  };
  const onAbort = (): void => void lifeline.destroy();
  options.signal?.addEventListener("abort", onAbort, { once: true });
  try {
    await waitUntilServing(lifeline, readFd, options.onProgress);
    options.signal?.throwIfAborted();
    const record = recordOf(state.name, child, rootless);
    state.write(record);
    return { state, record, stop, ended, detach: async () => await detach(child, lifeline) };
  } catch (error) {
    await stop();
    options.signal?.throwIfAborted();
    throw error;
  } finally {
    options.signal?.removeEventListener("abort", onAbort);
    closeSync(readFd);
  }
}

async function waitUntilServing(
  lifeline: Socket,
  logFd: number,
  onProgress: ((line: ProgressLine) => void) | undefined,
): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  let isSettled = false;
  const fail = (reason: string, log?: string): void => {
    if (isSettled) return;
    isSettled = true;
    reject(new MeshStartError(reason, log ?? readFileSync(logFd, "utf8").trim().split("\n").slice(-15).join("\n")));
  };
  let text = "";
  lifeline.setEncoding("utf8");
  lifeline.on("data", (chunk: string) => {
    text += chunk;
    const lines = text.split("\n");
    text = lines.pop() ?? "";
    for (const line of lines.filter(Boolean)) {
      const progress = JSON.parse(line) as ProgressLine;
      if (progress.type === "failed") fail(progress.reason, progress.log);
      else if (progress.type === "serving") {
        isSettled = true;
        resolve();
      } else onProgress?.(progress);
    }
  });
  lifeline.on("error", () => {});
  lifeline.once("close", () => fail("The mesh's daemon ended while it started"));
  await promise;
}

function recordOf(name: string, child: ChildProcess, rootless: boolean): MeshRecord {
  // sh → unshare → the daemon.
  const initPid = descendant(child.pid ?? 0, 2);
  const initStartTicks = initPid === undefined ? undefined : processStartTicks(initPid);
  if (initPid === undefined || initStartTicks === undefined)
    throw new MeshStartError("The mesh's daemon ended while it started");
  return { name, initPid, initStartTicks, rootless };
}

async function detach(child: ChildProcess, lifeline: Socket): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  lifeline.end(detachWord, resolve);
  await promise;
  lifeline.unref();
  child.unref();
}

async function endOf(child: ChildProcess): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  child.once("error", () => resolve());
  child.once("exit", () => resolve());
  await promise;
}

/** Ends the mesh of a state directory, wherever it was started. True when there was one. */
export async function stopMesh(state: StateDirectory): Promise<boolean> {
  const running = state.findRunning();
  if (running === undefined) return false;
  const isAlive = (): boolean => processStartTicks(running.initPid) === running.initStartTicks;
  kill(running.initPid, "SIGTERM");
  const deadline = performance.now() + stopTimeoutMs;
  while (isAlive()) {
    if (performance.now() > deadline) kill(running.initPid, "SIGKILL");
    await delay(pollMs);
  }
  state.remove();
  return true;
}

const pollMs = 10;

function kill(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ESRCH") throw error;
  }
}
