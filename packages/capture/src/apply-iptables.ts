/** Programs iptables and policy routing inside network namespaces, as apply-rules.ts does nftables. */
import { runRoutes } from "./apply-rules.ts";
import {
  type IptablesFamily,
  iptablesProbedPods,
  iptablesProbedPodsRemoval,
  iptablesRemoval,
  iptablesRules,
  iptablesSpareNewConnections,
  readOwnChains,
} from "./iptables-rules.ts";
import { addRoutes, listRoutes, removeRoutes } from "./rules.ts";
import type { RuleBackend } from "./rule-backend.ts";
import { captureRulesFailed, runInNetns, runOrFail } from "./run-in-netns.ts";

/** Which programs: those of the kernel's nf_tables or of its older ip_tables, which the distribution's `iptables` chooses. */
export type IptablesVariant = "iptables" | "iptables-legacy";

const families: readonly IptablesFamily[] = ["ipv4", "ipv6"];
const flags = { ipv4: "-4", ipv6: "-6" } as const;
/** Another program that holds the lock of ip_tables is waited for. */
const lockSeconds = "5";

/** Rejects as apply-rules.ts does, with `CAPTURE_RULES_FAILED`. */
export function createIptablesBackend(variant: IptablesVariant): RuleBackend {
  const program = (family: IptablesFamily, end: "save" | "restore"): string => {
    const base = family === "ipv4" ? variant : variant.replace("iptables", "ip6tables");
    return `${base}-${end}`;
  };
  const save = async (netnsPath: string | undefined, family: IptablesFamily): Promise<string> => {
    const { exitCode, stdout, stderr } = await runInNetns(netnsPath, [program(family, "save")]);
    // A kernel without IPv6 has none of its tables, and nothing to program.
    if (exitCode !== 0 && family === "ipv4")
      throw captureRulesFailed(program(family, "save"), netnsPath, exitCode, stderr);
    return exitCode === 0 ? stdout : "";
  };
  const restore = async (netnsPath: string | undefined, family: IptablesFamily, text: string): Promise<void> => {
    if (text === "") return;
    await runOrFail(netnsPath, [program(family, "restore"), "--noflush", "--wait", lockSeconds], text);
  };
  return {
    kind: "iptables",
    async apply(netnsPath, options) {
      const used = families.filter((family) => options[family]);
      await runRoutes(
        netnsPath,
        used.map((family) => addRoutes(flags[family])),
      );
      for (const family of used)
        await restore(netnsPath, family, iptablesRules(family, options, await save(netnsPath, family)));
    },
    async remove(netnsPath) {
      for (const family of families) await restore(netnsPath, family, iptablesRemoval(await save(netnsPath, family)));
      await runRoutes(netnsPath, [removeRoutes("-4"), removeRoutes("-6")]);
    },
    async read(netnsPath) {
      const chains = [];
      for (const family of families) chains.push(readOwnChains(await save(netnsPath, family)));
      return chains.join("") + (await runRoutes(netnsPath, [listRoutes("-4"), listRoutes("-6")]));
    },
    async spareNewConnections(netnsPath) {
      for (const family of families)
        if (readOwnChains(await save(netnsPath, family)) !== "")
          await restore(netnsPath, family, iptablesSpareNewConnections);
    },
    async applyHostProbeRules(netnsPath, options, pods) {
      for (const family of families) {
        const saved = await save(netnsPath, family);
        await restore(netnsPath, family, iptablesProbedPods(family, options, pods, saved));
      }
    },
    async removeHostProbeRules(netnsPath) {
      for (const family of families)
        await restore(netnsPath, family, iptablesProbedPodsRemoval(await save(netnsPath, family)));
    },
  };
}
