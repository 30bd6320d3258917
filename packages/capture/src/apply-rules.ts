/** Programs nftables and policy routing inside network namespaces. */
import { type HostProbeOptions, hostProbeRemoval, hostProbeRules, type ProbedPod } from "./host-probe-rules.ts";
import {
  listRoutes,
  readOwnTables,
  type RedirectionOptions,
  redirectionRules,
  removalRules,
  type RouteBatch,
  spareNewConnectionsRules,
} from "./rules.ts";
import { captureRulesFailed, runInNetns, runOrFail } from "./run-in-netns.ts";

/**
 * Captures a pod: makes its rules and routes. The same again changes nothing, other options replace the former ones.
 * `netnsPath`: `/run/netns/name`, `/proc/123/ns/net`, `/proc/self/fd/7`. Rejects with `CAPTURE_RULES_FAILED`, which holds what nft or ip said.
 */
export async function applyRules(netnsPath: string, options: RedirectionOptions): Promise<void> {
  const { nft, routes } = redirectionRules(options);
  // The routes first: what is redirected before they are there is answered past ztunnel, and its SYN has to be sent again.
  await runRoutes(netnsPath, routes);
  await runNft(netnsPath, nft);
}

/** Ends the capture of a pod. Harmless when it is not captured. Rejects as {@link applyRules}. */
export async function removeRules(netnsPath: string): Promise<void> {
  const { nft, routes } = removalRules();
  await runNft(netnsPath, nft);
  await runRoutes(netnsPath, routes);
}

/** What {@link applyRules} has made, as the kernel shows it; the same text for the same rules, without counters. Empty: nothing. */
export async function readRules(netnsPath: string): Promise<string> {
  const tables = readOwnTables(await runOrFail(netnsPath, ["nft", "-s", "list", "ruleset", "inet"]));
  return tables + (await runRoutes(netnsPath, [listRoutes("-4"), listRoutes("-6")]));
}

/** From now on new connections of a captured pod go their own way; open ones stay redirected. Rejects as {@link applyRules}. */
export async function spareNewConnections(netnsPath: string): Promise<void> {
  await runNft(netnsPath, spareNewConnectionsRules);
}

/** Lets the node's own processes reach these pods, and no others, as probes do. Undefined `netnsPath`: in the namespace of this process. */
export async function applyHostProbeRules(
  netnsPath: string | undefined,
  options: HostProbeOptions,
  pods: readonly ProbedPod[],
): Promise<void> {
  await runNft(netnsPath, hostProbeRules(options, pods));
}

export async function removeHostProbeRules(netnsPath: string | undefined): Promise<void> {
  await runNft(netnsPath, hostProbeRemoval());
}

async function runNft(netnsPath: string | undefined, text: string): Promise<void> {
  const { exitCode, stderr } = await runInNetns(netnsPath, ["nft", "-f", "-"], text);
  if (exitCode !== 0) throw captureRulesFailed("nft", netnsPath, exitCode, stderr);
}

/** Gives what was printed. */
export async function runRoutes(netnsPath: string, batches: readonly RouteBatch[]): Promise<string> {
  let printed = "";
  for (const { flag, text, harmless } of batches) {
    const { exitCode, stdout, stderr } = await runInNetns(netnsPath, ["ip", flag, "-force", "-batch", "-"], text);
    if (exitCode !== 0) {
      // After each command that failed, ip names its line.
      const complaints = stderr.split("\n").filter((line) => !line.startsWith("Command failed -:"));
      const isHarmless = complaints.every((line) => harmless.some((one) => line.includes(one)));
      if (!isHarmless) throw captureRulesFailed(`ip ${flag}`, netnsPath, exitCode, complaints.join("; "));
    }
    printed += stdout;
  }
  return printed;
}
