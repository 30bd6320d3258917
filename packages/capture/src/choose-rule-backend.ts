// Which way to program netfilter a node has.
import { createIptablesBackend } from "./apply-iptables.ts";
import {
  applyHostProbeRules,
  applyRules,
  readRules,
  removeHostProbeRules,
  removeRules,
  spareNewConnections,
} from "./apply-rules.ts";
import type { RuleBackend } from "./rule-backend.ts";
import { captureRulesFailed, runInNetns } from "./run-in-netns.ts";

export const nftBackend: RuleBackend = {
  kind: "nft",
  apply: applyRules,
  remove: removeRules,
  read: readRules,
  spareNewConnections,
  applyHostProbeRules,
  removeHostProbeRules,
};

/**
 * `auto`: nftables, or iptables where nft is not installed or the kernel has no nf_tables; found by trying, in the node's own
 * namespace. Rejects with `CAPTURE_RULES_FAILED` and what each said when none works.
 */
export async function chooseRuleBackend(
  wanted: "auto" | "nft" | "iptables",
  hostNetnsPath: string | undefined,
): Promise<RuleBackend> {
  const complaints: string[] = [];
  const works = async (command: readonly string[]): Promise<boolean> => {
    try {
      const { exitCode, stderr } = await runInNetns(hostNetnsPath, command);
      if (exitCode !== 0) complaints.push(`${command[0]}: ${stderr}`);
      return exitCode === 0;
    } catch {
      complaints.push(`${command[0]} is not installed`);
      return false;
    }
  };
  if (wanted !== "iptables" && (await works(["nft", "list", "tables"]))) return nftBackend;
  if (wanted !== "nft")
    for (const variant of ["iptables", "iptables-legacy"] as const)
      if (await works([`${variant}-save`, "-t", "nat"])) return createIptablesBackend(variant);
  throw captureRulesFailed("Programming netfilter", hostNetnsPath, 1, complaints.join("; "));
}
