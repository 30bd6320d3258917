import { describe, expect, it } from "vitest";
import { hostProbeRules } from "./host-probe-rules.ts";
import type { RedirectionOptions } from "./rules.ts";
import { defaultProbeAddresses, redirectionRules, removalRules } from "./rules.ts";

const everything: RedirectionOptions = {
  ipv4: true,
  ipv6: true,
  dnsCapture: true,
  bypassInboundCapture: false,
  rerouteVirtualInterfaces: [],
  probeAddresses: defaultProbeAddresses,
};

const nft = (options: Partial<RedirectionOptions>): string => redirectionRules({ ...everything, ...options }).nft;

describe("redirectionRules", () => {
  it("begins by forgetting all tables, so that applying twice is applying once", () => {
    const lines = nft({}).split("\n").slice(0, 6);
    expect(lines.filter((line) => line.startsWith("table"))).toHaveLength(3);
    expect(lines.filter((line) => line.startsWith("delete table"))).toHaveLength(3);
  });

  it("counts every rule", () => {
    const rules = nft({})
      .split("\n")
      .filter((line) => /redirect|accept$|set ct|ct zone/.test(line));
    expect(rules).toHaveLength(18);
    expect(rules.every((rule) => rule.includes(" counter "))).toBe(true);
  });

  it("never captures what ztunnel itself sends, loopback, or HBONE", () => {
    for (const rule of nft({})
      .split("\n")
      .filter((line) => line.includes("redirect to"))) {
      expect(rule).toContain("meta mark & 0x00000fff != 0x00000539");
      expect(rule).toMatch(/daddr != (127\.0\.0\.1|::1)|oifname != "lo"/);
      if (rule.includes(":15006")) expect(rule).toContain("tcp dport != 15008");
    }
  });

  it("has no rule for a family that is off", () => {
    expect(nft({ ipv6: false })).not.toMatch(/ip6|::1/);
    expect(nft({ ipv4: false })).not.toMatch(/\bip daddr|\bip saddr|127\.0\.0\.1/);
    expect(nft({ ipv6: false })).toContain("meta nfproto ipv4 oifname");
    expect(redirectionRules({ ...everything, ipv6: false }).routes.map(({ flag }) => flag)).toEqual(["-4"]);
  });

  it("leaves DNS alone when it is not captured, also what an earlier application captured", () => {
    const text = nft({ dnsCapture: false });
    expect(text).not.toMatch(/dport 53|sport 53|15053/);
    expect(text).toContain("delete table inet istio-ambient-raw");
    expect(text).not.toContain("table inet istio-ambient-raw {");
  });

  it("captures nothing inbound for a pod that asked so", () => {
    const text = nft({ bypassInboundCapture: true });
    expect(text).not.toContain("15006");
    expect(text).not.toContain("saddr 169.254.7.127");
    expect(text).toContain("redirect to :15001");
  });

  it("sends what comes from virtual interfaces outbound before any inbound rule", () => {
    const lines = nft({ rerouteVirtualInterfaces: ["br0"] })
      .split("\n")
      .map((line) => line.trim());
    const first = lines.indexOf('iifname "br0" meta l4proto tcp counter redirect to :15001');
    expect(lines[first - 1]).toBe("chain istio-prerouting {");
    expect(lines[first + 1]).toBe('iifname "br0" meta l4proto tcp counter return');
  });

  it.each(['br0"; flush ruleset; "', "", "a b", "sixteen-letters-x", "br*"])("refuses the interface %j", (name) => {
    expect(() => nft({ rerouteVirtualInterfaces: [name] })).toThrow(
      expect.objectContaining({ code: "CAPTURE_BAD_INTERFACE" }),
    );
  });
});

describe("removalRules", () => {
  it("names every table and route that any options make", () => {
    const removal = removalRules();
    for (const table of nft({}).matchAll(/^table inet (\S+) \{$/gm))
      expect(removal.nft).toContain(`delete table inet ${table[1]}`);
    expect(removal.routes.map(({ flag }) => flag)).toEqual(redirectionRules(everything).routes.map(({ flag }) => flag));
  });
});

describe("hostProbeRules", () => {
  it("is for one user's sockets when a uid is given, else for those of any", () => {
    expect(hostProbeRules({ probeAddresses: defaultProbeAddresses, uid: 0 }, [])).toContain(
      "meta skuid 0 ip daddr @istio-inpod-probes-v4",
    );
    expect(hostProbeRules({ probeAddresses: defaultProbeAddresses }, [])).toContain(
      "meta skuid >= 0 ip6 daddr @istio-inpod-probes-v6",
    );
  });

  it("puts each address into the set of its family", () => {
    const pod = { uid: "84ca47d2", ips: ["10.0.0.1", "fd00::1"] };
    const text = hostProbeRules({ probeAddresses: defaultProbeAddresses }, [pod]);
    expect(text).toContain('istio-inpod-probes-v4 { 10.0.0.1 comment "84ca47d2" }');
    expect(text).toContain('istio-inpod-probes-v6 { fd00::1 comment "84ca47d2" }');
  });

  it("refuses a uid that would end its quotes", () => {
    const hostile = { uid: 'a" }', ips: ["10.0.0.1"] };
    expect(() => hostProbeRules({ probeAddresses: defaultProbeAddresses }, [hostile])).toThrow("uid of a pod");
  });
});
