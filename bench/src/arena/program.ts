import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, openSync, readFileSync } from "node:fs";
import { inside, type Host } from "./network.ts";

export interface ProgramOptions {
  readonly name: string;
  readonly command: readonly string[];
  /** Default: the namespace of the bench itself. */
  readonly host?: Host;
  readonly environment?: Readonly<Record<string, string>>;
  /** Gets stdout and stderr. */
  readonly logPath: string;
}

/** A long-running program of the bench: a proxy, a server, the control plane. */
export interface Program {
  readonly name: string;
  readonly pid: number;
  readonly logPath: string;
  /** SIGTERM, then SIGKILL after `graceMs`. Resolves when it has ended. Idempotent. */
  stop(graceMs?: number): Promise<void>;
  /** Throws `Error` with the end of its log when it has ended by itself. */
  check(): void;
}

/** Starts a program; it belongs to the caller, and ends with the bench at the latest. */
export function startProgram({ name, command, host, environment = {}, logPath }: ProgramOptions): Program {
  const [file = "", ...words] = [...inside(host), ...command];
  const log = openSync(logPath, "a");
  const child = spawn(file, words, {
    stdio: ["ignore", log, log],
    env: { PATH: process.env["PATH"] ?? "", ...environment },
    cwd: "/",
  });
  closeSync(log);
  const ended = endOf(child);
  let stopping = false;
  return {
    name,
    // nsenter replaces itself by the program.
    pid: child.pid ?? 0,
    logPath,
    async stop(graceMs = 1000) {
      stopping = true;
      if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return;
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), graceMs);
      await ended;
      clearTimeout(timer);
    },
    check() {
      if (stopping || (child.exitCode === null && child.signalCode === null && child.pid !== undefined)) return;
      const tail = readFileSync(logPath, "utf8").trim().split("\n").slice(-12).join("\n");
      throw new Error(`${name} ended (${child.signalCode ?? child.exitCode ?? "not started"}):\n${tail}`);
    },
  };
}

async function endOf(child: ChildProcess): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  child.once("error", () => resolve());
  child.once("exit", () => resolve());
  await promise;
}
