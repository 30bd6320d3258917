import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { openNetns } from "@hairpin/native";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { applyHostProbeRules, applyRules, readRules, removeHostProbeRules, removeRules } from "./apply-rules.ts";
import { defaultProbeAddresses, type RedirectionOptions } from "./rules.ts";

/** As istio-cni programmed them in a pod of a real cluster (nft list ruleset, counters at zero). */
const istioRules = readFileSync(join(import.meta.dirname, "testdata/istio-in-pod-rules.nft"), "utf8");

const options: RedirectionOptions = {
  ipv4: true,
  ipv6: true,
  dnsCapture: true,
  bypassInboundCapture: false,
  rerouteVirtualInterfaces: [],
  probeAddresses: defaultProbeAddresses,
};

let name: string;
let path: string;
let serial = 0;

function run(...argv: string[]): string {
  return execFileSync("ip", ["netns", "exec", name, ...argv], { encoding: "utf8" });
}

/** What nft has, with counters at zero. */
function ruleset(): string {
  return run("nft", "list", "ruleset").replaceAll(/counter packets \d+ bytes \d+/g, "counter packets 0 bytes 0");
}

/** Rules by `table chain`: the order of chains means nothing, that of rules does. */
function chainsOf(text: string): Record<string, string[]> {
  const chains: Record<string, string[]> = {};
  let table = "";
  let chain = "";
  for (const line of text.split("\n").map((one) => one.trim())) {
    table = /^table (.*) \{$/.exec(line)?.[1] ?? table;
    const begun = /^chain (.*) \{$/.exec(line)?.[1];
    if (begun !== undefined) chain = `${table} ${begun}`;
    else if (line !== "" && line !== "}" && !line.startsWith("table ")) (chains[chain] ??= []).push(line);
  }
  return chains;
}

beforeEach(() => {
  name = `hp-capture-${process.pid}-${serial++}`;
  path = `/run/netns/${name}`;
  execFileSync("ip", ["netns", "add", name]);
  run("ip", "link", "set", "lo", "up");
});

afterEach(() => {
  execFileSync("ip", ["netns", "del", name]);
});

describe("applyRules", () => {
  it("makes the rules that istio-cni makes, but redirects only packets that begin a connection", async () => {
    await applyRules(path, options);
    const ours = ruleset();
    const begins = / tcp flags (?:syn \/ fin,syn,rst,ack|& \(fin \| syn \| rst \| ack\) == syn)(?= )/g;
    expect(ours.match(begins)).toHaveLength(4);
    // Flags say that it is TCP; nft then leaves out the words that say the same.
    const istio = istioRules.replaceAll(/meta l4proto tcp (?=.* redirect to :15001)/g, "");
    expect(chainsOf(ours.replaceAll(begins, ""))).toEqual(chainsOf(istio));
  });

  it("routes what ztunnel's spoofed connections get back to ztunnel", async () => {
    await applyRules(path, options);
    expect(run("ip", "rule")).toContain("32764:\tfrom all fwmark 0x111/0xfff lookup 100");
    expect(run("ip", "-6", "rule")).toContain("32764:\tfrom all fwmark 0x111/0xfff lookup 100");
    expect(run("ip", "route", "show", "table", "100")).toContain("local default dev lo");
  });

  it("changes nothing when done again", async () => {
    await applyRules(path, options);
    const [rules, routes] = [ruleset(), run("ip", "rule")];
    await applyRules(path, options);
    expect(ruleset()).toBe(rules);
    expect(run("ip", "rule")).toBe(routes);
  });

  it("replaces the rules when the options changed", async () => {
    await applyRules(path, options);
    await applyRules(path, { ...options, dnsCapture: false, bypassInboundCapture: true });
    expect(ruleset()).not.toContain("15053");
    expect(ruleset()).not.toContain("15006");
    expect(ruleset()).toContain("redirect to :15001");
  });

  it("takes what comes from a virtual machine's interface as outbound", async () => {
    await applyRules(path, { ...options, rerouteVirtualInterfaces: ["tap0"] });
    expect(ruleset()).toMatch(/iifname "tap0" meta l4proto tcp counter packets 0 bytes 0 redirect to :15001/);
  });

  it("refuses an interface name that could be more than a name", async () => {
    const hostile = { ...options, rerouteVirtualInterfaces: ['a" accept; #'] };
    await expect(applyRules(path, hostile)).rejects.toMatchObject({ code: "CAPTURE_BAD_INTERFACE" });
    expect(ruleset()).toBe("");
  });

  it("finds a namespace by a descriptor of this process", async () => {
    const netns = openNetns(path);
    await applyRules(`/proc/self/fd/${netns.fd}`, options);
    netns.close();
    expect(ruleset()).toContain("istio-ambient-nat");
  });

  it("says what nft said, and changes nothing then", async () => {
    const probeAddresses = { ...defaultProbeAddresses, ipv4: "not-an-address.invalid." };
    await expect(applyRules(path, { ...options, probeAddresses })).rejects.toThrow(
      /nft failed in \/run\/netns\/.*not-an-address/s,
    );
    expect(ruleset()).toBe("");
  });

  it("says what went wrong when there is no such namespace", async () => {
    await expect(applyRules("/run/netns/nowhere", options)).rejects.toMatchObject({ code: "CAPTURE_RULES_FAILED" });
  });
});

describe("removeRules", () => {
  it("takes everything of its own away, also twice, and nothing else", async () => {
    const before = run("ip", "rule");
    run("nft", "add", "table", "inet", "other");
    await applyRules(path, options);
    await removeRules(path);
    await removeRules(path);
    expect(ruleset()).toMatch(/^table inet other \{\n\}\n$/);
    expect(run("ip", "rule")).toBe(before);
    // A table that never had a route is no table to ip.
    expect(run("sh", "-c", "ip route show table 100 2>/dev/null || true")).toBe("");
  });
});

describe("host probe rules", () => {
  const probes = { probeAddresses: defaultProbeAddresses };

  it("name the pods whose probes come from the node, and no others", async () => {
    await applyHostProbeRules(path, probes, [{ uid: "u-1", ips: ["10.244.1.7", "fd00::7"] }]);
    expect(ruleset()).toContain('elements = { 10.244.1.7 comment "u-1" }');
    expect(ruleset()).toContain("fd00::7");
    expect(ruleset()).toContain(defaultProbeAddresses.ipv4);
    await applyHostProbeRules(path, probes, [{ uid: "u-2", ips: ["10.244.1.7"] }]);
    expect(ruleset()).toContain('elements = { 10.244.1.7 comment "u-2" }');
    expect(ruleset()).not.toContain("fd00::7");
  });

  it("are the same when applied again, whatever became of them", async () => {
    const pods = [{ uid: "u-1", ips: ["10.244.1.7"] }];
    await applyHostProbeRules(path, probes, pods);
    const before = ruleset();
    run("nft", "flush", "ruleset");
    await applyHostProbeRules(path, probes, pods);
    await applyHostProbeRules(path, probes, pods);
    expect(ruleset()).toBe(before);
    expect(before.match(/snat/g)).toHaveLength(2);
  });

  it("go without a trace", async () => {
    await applyHostProbeRules(path, probes, [{ uid: "u-1", ips: ["10.244.1.7"] }]);
    await removeHostProbeRules(path);
    await removeHostProbeRules(path);
    expect(ruleset()).toBe("");
  });
});

describe("readRules", () => {
  it("shows the same for the same rules, whatever they have counted, and nothing for none", async () => {
    expect(await readRules(path)).toBe("");
    await applyRules(path, options);
    const first = await readRules(path);
    run("nft", "add", "table", "inet", "other");
    expect(await readRules(path)).toBe(first);
    await applyRules(path, options);
    expect(await readRules(path)).toBe(first);
    run("ip", "-6", "rule", "del", "pref", "32764");
    expect(await readRules(path)).not.toBe(first);
    await removeRules(path);
    expect(await readRules(path)).toBe("");
  });
});
