import { type ChildProcessByStdio, spawn } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { systemPath } from "./namespace-support.ts";

export interface ExecResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** As timeout(1) has it. */
const timedOutExitCode = 124;
const signalledExitCode = 137;
const defaultTimeoutMs = 30_000;

/** A program in a pod that has been started. */
export class RunningProgram {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly #result: Promise<ExecResult>;
  #stdout = "";
  #stderr = "";

  constructor(child: ChildProcessByStdio<Writable, Readable, Readable>, timeoutMs: number) {
    this.#child = child;
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      this.kill();
    }, timeoutMs);
    child.stdout.setEncoding("utf8").on("data", (text: string) => (this.#stdout += text));
    child.stderr.setEncoding("utf8").on("data", (text: string) => (this.#stderr += text));
    // A program that ends without reading its input breaks the pipe.
    child.stdin.on("error", () => {});
    const { promise, resolve, reject } = Promise.withResolvers<ExecResult>();
    child.once("error", reject);
    child.once("close", (code) => {
      const exitCode = timedOut ? timedOutExitCode : (code ?? signalledExitCode);
      resolve({ exitCode, stdout: this.#stdout, stderr: this.#stderr });
    });
    this.#result = promise.finally(() => clearTimeout(timer));
    // Who does not wait for the end does not hear of a failed start either.
    this.#result.catch(() => {});
  }

  /** What it has written to standard output so far. */
  get stdout(): string {
    return this.#stdout;
  }

  /** Writes to its standard input, which stays open. */
  write(text: string): void {
    this.#child.stdin.write(text);
  }

  /** Closes its standard input, after `text`, and resolves when it has ended. */
  async end(text: string = ""): Promise<ExecResult> {
    this.#child.stdin.end(text);
    return await this.#result;
  }

  /** Kills it with everything between us and it: nsenter does not pass signals on. */
  kill(): void {
    const { pid } = this.#child;
    if (pid === undefined || this.#child.exitCode !== null) return;
    try {
      process.kill(-pid, "SIGKILL");
    } catch {
      // It has ended in the meantime.
    }
  }
}

/** Starts a program in a process group of its own. It is killed after the time limit (default 30 s); the exit code is 124 then. */
export function runProgram(argv: readonly string[], options: { readonly timeoutMs?: number } = {}): RunningProgram {
  const [program = "", ...args] = argv;
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], detached: true, env: { PATH: systemPath } });
  return new RunningProgram(child, options.timeoutMs ?? defaultTimeoutMs);
}
