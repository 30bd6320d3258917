import { spawn } from "node:child_process";

export interface CommandOptions {
  readonly input?: string;
  /** Default 20 s. */
  readonly timeoutMs?: number;
}

/** A program of the operating system that failed; the message holds the command line and what it said. */
class CommandError extends Error {
  readonly code = "LOCAL_COMMAND_FAILED";
}

const maxKeptOutputBytes = 256 * 1024;

/** Runs a program and gives its standard output. Throws {@link CommandError} when it fails, is missing or takes too long. */
export async function runCommand(argv: readonly string[], options: CommandOptions = {}): Promise<string> {
  const [program = "", ...args] = argv;
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], timeout: options.timeoutMs ?? 20_000 });
  let output = "";
  let complaint = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => (output = keepEnd(output + text)));
  child.stderr.setEncoding("utf8").on("data", (text: string) => (complaint = keepEnd(complaint + text)));
  // A program that ends without reading its input breaks the pipe; its exit status says what happened.
  child.stdin.on("error", () => {});
  child.stdin.end(options.input ?? "");
  child.once("error", (error) => reject(new CommandError(`${argv.join(" ")}: ${error.message}`)));
  child.once("close", (status, signal) => {
    if (status === 0) resolve(output);
    else reject(new CommandError(`${argv.join(" ")} ended with ${signal ?? status}: ${complaint.trim()}`));
  });
  return await promise;
}

function keepEnd(text: string): string {
  return text.length > maxKeptOutputBytes ? text.slice(-maxKeptOutputBytes) : text;
}
