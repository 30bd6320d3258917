/** Runs the programs of netfilter and iproute2 inside a network namespace. */
import { spawn } from "node:child_process";
import { MeshError } from "@hairpin/shared/process";

/** nft and ip live in sbin, which is not on every user's path. */
const searchPath = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin";
/** A command that takes longer hangs. */
const commandTimeoutMs = 10_000;
const maxErrorText = 4096;
/** Of what a command prints; the rules of a pod are 3 KiB, its neighbours' may be more. */
const maxOutputText = 4 * 1024 * 1024;

export interface CommandResult {
  /** 124: ended by the time limit. */
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** `netnsPath` undefined: in the namespace of this process. Rejects with `CAPTURE_RULES_FAILED` when there is no such program. */
export async function runInNetns(
  netnsPath: string | undefined,
  command: readonly string[],
  input = "",
  environment: Readonly<Record<string, string>> = {},
): Promise<CommandResult> {
  // A path through our own descriptors must still mean ours when nsenter opens it.
  const path = netnsPath?.replace(/^\/proc\/(?:thread-)?self\//, `/proc/${process.pid}/`);
  const [file = "", ...rest] = path === undefined ? command : ["nsenter", `--net=${path}`, "--", ...command];
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult>();
  // LC_ALL: the texts that mean "nothing to do" must not be translated.
  const child = spawn(file, rest, {
    env: { PATH: searchPath, LC_ALL: "C", ...environment },
    stdio: ["pipe", "pipe", "pipe"],
    timeout: commandTimeoutMs,
    killSignal: "SIGKILL",
  });
  let stdout = "";
  child.stdout.setEncoding("utf8");
  child.stdout.on("data", (text: string) => {
    stdout = (stdout + text).slice(0, maxOutputText);
  });
  let stderr = "";
  child.stderr.setEncoding("utf8");
  child.stderr.on("data", (text: string) => {
    stderr = (stderr + text).slice(0, maxErrorText);
  });
  // A command that fails at once does not read its input.
  child.stdin.on("error", () => {});
  child.stdin.end(input);
  child.on("error", reject);
  child.on("close", (code) => resolve({ exitCode: code ?? 124, stdout, stderr: stderr.trim() }));
  try {
    return await promise;
  } catch (cause) {
    throw new MeshError(`Cannot run ${file}: is it installed?`, {
      code: "CAPTURE_RULES_FAILED",
      origin: "internal",
      cause,
    });
  }
}

/** As {@link runInNetns}; gives what was printed and rejects when the command failed, with what it said. */
export async function runOrFail(
  netnsPath: string | undefined,
  command: readonly string[],
  input = "",
): Promise<string> {
  const { exitCode, stdout, stderr } = await runInNetns(netnsPath, command, input);
  if (exitCode === 0) return stdout;
  throw captureRulesFailed(command.join(" "), netnsPath, exitCode, stderr);
}

export function captureRulesFailed(
  command: string,
  netnsPath: string | undefined,
  exitCode: number,
  stderr: string,
): MeshError {
  const where = netnsPath === undefined ? "" : ` in ${netnsPath}`;
  return new MeshError(`${command} failed${where}: ${stderr || `exit code ${exitCode}`}`, {
    code: "CAPTURE_RULES_FAILED",
    origin: "internal",
    details: { command, netns: netnsPath, exitCode },
  });
}
