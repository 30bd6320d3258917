/** Runs nft and ip inside a network namespace. */
import { spawn } from "node:child_process";
import { MeshError } from "@hairpin/shared/process";
import type { HostProbeOptions } from "./host-probe-rules.ts";
import { hostProbeRemoval, hostProbeRules, probedPodRules, unprobedPodRules } from "./host-probe-rules.ts";
import type { IpCommand, RedirectionOptions, RuleSet } from "./rules.ts";
import { redirectionRules, removalRules } from "./rules.ts";

/** nft and ip live in sbin, which is not on every user's path. */
const searchPath = "/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin:/usr/local/bin";
/** A command that takes longer hangs. */
const commandTimeoutMs = 10_000;
const maxErrorText = 4096;

/**
 * Captures a pod: makes its rules and routes. The same again changes nothing, other options replace the former ones.
 * `netnsPath`: `/run/netns/name`, `/proc/123/ns/net`, `/proc/self/fd/7`. Rejects with `CAPTURE_RULES_FAILED`, which holds what nft or ip said.
 */
export async function applyRules(netnsPath: string, options: RedirectionOptions): Promise<void> {
  const { nft, commands } = redirectionRules(options);
  // The routes first: what is redirected before they are there is answered past ztunnel, and its SYN has to be sent again.
  await runIpCommands(netnsPath, commands);
  await runNft(netnsPath, nft);
}

/** Ends the capture of a pod. Harmless when it is not captured. Rejects as {@link applyRules}. */
export async function removeRules(netnsPath: string): Promise<void> {
  const { nft, commands } = removalRules();
  await runNft(netnsPath, nft);
  await runIpCommands(netnsPath, commands);
}

/** Lets the node's own processes reach captured pods as probes do. Undefined `netnsPath`: in the namespace of this process. */
export async function applyHostProbeRules(netnsPath: string | undefined, options: HostProbeOptions): Promise<void> {
  await runNft(netnsPath, hostProbeRules(options));
}

export async function removeHostProbeRules(netnsPath: string | undefined): Promise<void> {
  await runNft(netnsPath, hostProbeRemoval());
}

/** Names a pod as one that {@link applyHostProbeRules} is for. */
export async function addProbedPod(
  netnsPath: string | undefined,
  pod: { readonly uid: string; readonly ips: readonly string[] },
): Promise<void> {
  await runNft(netnsPath, probedPodRules(pod));
}

export async function removeProbedPod(netnsPath: string | undefined, ips: readonly string[]): Promise<void> {
  await runNft(netnsPath, unprobedPodRules(ips));
}

async function runIpCommands(netnsPath: string, commands: RuleSet["commands"]): Promise<void> {
  for (const command of commands) await runIp(netnsPath, command);
}

async function runNft(netnsPath: string | undefined, text: string): Promise<void> {
  if (text === "") return;
  const { exitCode, stderr } = await runIn(netnsPath, ["nft", "-f", "-"], text);
  if (exitCode !== 0) throw failed("nft", netnsPath, exitCode, stderr);
}

async function runIp(netnsPath: string, command: IpCommand): Promise<void> {
  const { exitCode, stderr } = await runIn(netnsPath, ["ip", ...command.arguments], "");
  if (exitCode === 0 || command.harmless.some((text) => stderr.includes(text))) return;
  throw failed(`ip ${command.arguments.join(" ")}`, netnsPath, exitCode, stderr);
}

interface CommandResult {
  /** 124: ended by the time limit. */
  readonly exitCode: number;
  readonly stderr: string;
}

async function runIn(netnsPath: string | undefined, command: readonly string[], input: string): Promise<CommandResult> {
  // A path through our own descriptors must still mean ours when nsenter opens it.
  const path = netnsPath?.replace(/^\/proc\/(?:thread-)?self\//, `/proc/${process.pid}/`);
  const [file = "", ...rest] = path === undefined ? command : ["nsenter", `--net=${path}`, "--", ...command];
  const { promise, resolve, reject } = Promise.withResolvers<CommandResult>();
  // LC_ALL: the texts that mean "nothing to do" must not be translated.
  const child = spawn(file, rest, {
    env: { PATH: searchPath, LC_ALL: "C" },
    stdio: ["pipe", "ignore", "pipe"],
    timeout: commandTimeoutMs,
    killSignal: "SIGKILL",
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
  child.on("close", (code) => resolve({ exitCode: code ?? 124, stderr: stderr.trim() }));
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

function failed(command: string, netnsPath: string | undefined, exitCode: number, stderr: string): MeshError {
  const where = netnsPath === undefined ? "" : ` in ${netnsPath}`;
  return new MeshError(`${command} failed${where}: ${stderr || `exit code ${exitCode}`}`, {
    code: "CAPTURE_RULES_FAILED",
    origin: "internal",
    details: { command, netns: netnsPath, exitCode },
  });
}
