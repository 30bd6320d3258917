import { execFileSync, spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { createIptablesBackend } from "./apply-iptables.ts";
import { chooseRuleBackend } from "./choose-rule-backend.ts";
import { defaultProbeAddresses, type RedirectionOptions } from "./rules.ts";

/** As istio-cni programmed them in a pod of a real cluster. */
const istioRules = readFileSync(join(import.meta.dirname, "testdata/istio-in-pod-rules.iptables"), "utf8");
const probeOptions = { probeAddresses: defaultProbeAddresses };
const options: RedirectionOptions = {
  ipv4: true,
  ipv6: true,
  dnsCapture: true,
  bypassInboundCapture: false,
  rerouteVirtualInterfaces: [],
  probeAddresses: defaultProbeAddresses,
};

/** By table and chain: the order of tables means nothing, that of rules in a chain does. */
function rulesOf(saved: string): Record<string, string[]> {
  const chains: Record<string, string[]> = {};
  let table = "";
  // What `-p tcp` implies is shown by some versions.
  for (const line of saved.replaceAll(" -m tcp", "").split("\n")) {
    if (line.startsWith("*")) table = line.slice(1);
    const chain = /^-A (\S+)/.exec(line)?.[1];
    if (chain !== undefined) (chains[`${table} ${chain}`] ??= []).push(line);
  }
  return chains;
}

/** The machine may have neither; then the list of tests says so. */
const isInstalled = (program: string): boolean => spawnSync(program, ["--version"]).error === undefined;

describe.for(["iptables", "iptables-legacy"] as const)(
  "the rules of %s",
  { skip: !isInstalled("iptables") },
  (variant) => {
    const rules = createIptablesBackend(variant);
    let name: string;
    let path: string;
    let serial = 0;
    const run = (...argv: string[]): string =>
      execFileSync("ip", ["netns", "exec", name, ...argv], { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
    const saved = (): string => run(`${variant}-save`);
    const saved6 = (): string => run(`${variant.replace("ip", "ip6")}-save`);

    beforeEach(() => {
      name = `hp-iptables-${process.pid}-${serial++}`;
      path = `/run/netns/${name}`;
      execFileSync("ip", ["netns", "add", name]);
      run("ip", "link", "set", "lo", "up");
    });
    afterEach(() => {
      execFileSync("ip", ["netns", "del", name]);
    });

    it("are istio-cni's, but redirect only packets that begin a connection", async () => {
      await rules.apply(path, options);
      const begins = /(?: -m tcp)? --tcp-flags FIN,SYN,RST,ACK SYN/g;
      expect(saved().match(begins)).toHaveLength(2);
      expect(rulesOf(saved().replaceAll(begins, ""))).toEqual(rulesOf(istioRules));
    });

    it("are there for both families, and only for those wanted", async () => {
      await rules.apply(path, options);
      expect(saved6()).toContain("-A ISTIO_PRERT ! -d ::1/128 -p tcp");
      expect(run("ip", "-6", "rule")).toContain("fwmark 0x111/0xfff lookup 100");
      await rules.remove(path);
      await rules.apply(path, { ...options, ipv6: false });
      expect(saved6()).not.toContain("ISTIO");
      expect(run("ip", "-6", "rule")).not.toContain("fwmark");
    });

    it("stay the same when made again, beside what others have", async () => {
      run(variant, "-t", "nat", "-A", "OUTPUT", "-p", "udp", "-j", "ACCEPT");
      await rules.apply(path, options);
      const [first, read] = [rulesOf(saved()), await rules.read(path)];
      await rules.apply(path, options);
      expect(rulesOf(saved())).toEqual(first);
      expect(await rules.read(path)).toBe(read);
      await rules.remove(path);
      await rules.remove(path);
      expect(rulesOf(saved())).toEqual({ "nat OUTPUT": ["-A OUTPUT -p udp -j ACCEPT"] });
      expect(await rules.read(path)).toBe("");
    });

    it("follow the options when these change", async () => {
      await rules.apply(path, options);
      await rules.apply(path, {
        ...options,
        dnsCapture: false,
        bypassInboundCapture: true,
        rerouteVirtualInterfaces: ["tap0"],
      });
      expect(saved()).not.toMatch(/15053|15006|--zone/);
      expect(saved()).toContain("-A ISTIO_PRERT -i tap0 -p tcp -j REDIRECT --to-ports 15001");
    });

    it("show when one of them is missing", async () => {
      await rules.apply(path, options);
      const read = await rules.read(path);
      run(variant, "-t", "nat", "-D", "ISTIO_OUTPUT", "1");
      expect(await rules.read(path)).not.toBe(read);
      await rules.apply(path, options);
      expect(await rules.read(path)).toBe(read);
      run("ip", "rule", "del", "pref", "32764");
      expect(await rules.read(path)).not.toBe(read);
    });

    it("can be emptied for new connections", async () => {
      await rules.apply(path, options);
      await rules.spareNewConnections(path);
      expect(saved()).not.toContain("REDIRECT");
      expect(saved()).toContain("-A PREROUTING -j ISTIO_PRERT");
      await rules.remove(path);
      await rules.spareNewConnections(path);
      expect(await rules.read(path)).toBe("");
    });

    it("let the node's own processes reach captured pods as probes do", async () => {
      await rules.applyHostProbeRules(path, probeOptions, [{ uid: "a", ips: ["10.0.0.1", "fd00::1"] }]);
      await rules.applyHostProbeRules(path, probeOptions, [
        { uid: "a", ips: ["10.0.0.1", "fd00::1"] },
        { uid: "b", ips: ["10.0.0.2"] },
      ]);
      expect(rulesOf(saved())["nat ISTIO_POSTRT"]).toEqual(
        ["10.0.0.1", "10.0.0.2"].map(
          (ip) => `-A ISTIO_POSTRT -d ${ip}/32 -p tcp -m owner --socket-exists -j SNAT --to-source 169.254.7.127`,
        ),
      );
      expect(rulesOf(saved())["nat POSTROUTING"]).toEqual(["-A POSTROUTING -j ISTIO_POSTRT"]);
      expect(saved6()).toContain("-d fd00::1/128");
      await rules.removeHostProbeRules(path);
      await rules.removeHostProbeRules(path);
      expect(saved()).not.toContain("ISTIO");
    });
  },
);

describe("chooseRuleBackend", () => {
  it("takes nftables where it works", async () => {
    expect((await chooseRuleBackend("auto", undefined)).kind).toBe("nft");
  });

  it.skipIf(!isInstalled("iptables"))("takes iptables where that is asked for", async () => {
    expect((await chooseRuleBackend("iptables", undefined)).kind).toBe("iptables");
  });

  it("says what each said where nothing works", async () => {
    await expect(chooseRuleBackend("auto", "/run/netns/nowhere")).rejects.toMatchObject({
      code: "CAPTURE_RULES_FAILED",
      message: expect.stringMatching(/nft: .*nowhere.*iptables-save/s),
    });
  });
});
