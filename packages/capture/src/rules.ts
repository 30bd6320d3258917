/**
 * The netfilter rules of a captured pod, as text for `nft -f`, and its policy routing, as arguments of `ip`. They are
 * Istio's, table by table (istio-cni with nativeNftables), so that either ztunnel works on either's rules.
 */
import { MeshError } from "@hairpin/shared/process";

/** Source address of probes by the node: not captured, so that health checks work without an identity. */
export interface ProbeAddresses {
  readonly ipv4: string;
  readonly ipv6: string;
}

export const defaultProbeAddresses: ProbeAddresses = {
  ipv4: "169.254.7.127",
  ipv6: "fd16:9254:7127:1337:ffff:ffff:ffff:ffff",
};

export interface RedirectionOptions {
  readonly ipv4: boolean;
  readonly ipv6: boolean;
  /** Port 53 goes to ztunnel's DNS proxy. */
  readonly dnsCapture: boolean;
  /** Plaintext connections to the pod are not captured (`ambient.istio.io/bypass-inbound-capture`); HBONE still works. */
  readonly bypassInboundCapture: boolean;
  /** Bridges of virtual machines inside the pod: what comes from them is outbound (`istio.io/reroute-virtual-interfaces`). */
  readonly rerouteVirtualInterfaces: readonly string[];
  readonly probeAddresses: ProbeAddresses;
}

/** One run of iproute2. */
export interface IpCommand {
  readonly arguments: readonly string[];
  /** What stderr says when there was nothing to do; not a failure then. */
  readonly harmless: readonly string[];
}

export interface RuleSet {
  /** One transaction of nft: all or nothing, and the same if applied twice. */
  readonly nft: string;
  readonly commands: readonly IpCommand[];
}

const tables = ["istio-ambient-nat", "istio-ambient-mangle", "istio-ambient-raw"] as const;
type Table = (typeof tables)[number];

const outboundPort = 15_001;
const inboundPort = 15_006;
const hbonePort = 15_008;
const dnsPort = 15_053;

/** ztunnel's own packets carry 0x539 (1337); connections it opened to the application are marked 0x111. */
const fromZtunnel = "meta mark & 0x00000fff == 0x00000539";
const notFromZtunnel = "meta mark & 0x00000fff != 0x00000539";
const routeMark = "0x111/0xfff";
/**
 * Only a SYN begins what ztunnel can take. Istio's rules redirect whatever conntrack has not seen before, which is also the
 * first packet of a connection that was in its handshake when a running pod joined: it would hang or be reset.
 */
const firstPacket = "tcp flags & (fin | syn | rst | ack) == syn";
const routeTable = "100";
const routePreference = "32764";

/** IFNAMSIZ is 16 with the final NUL; the rest would end the quoted name or mean several interfaces. */
const interfaceName = /^[A-Za-z0-9_.:@-]{1,15}$/;

/** All rules of one pod. Throws `CAPTURE_BAD_INTERFACE`. */
export function redirectionRules(options: RedirectionOptions): RuleSet {
  const families: readonly Family[] = [
    ...(options.ipv4 ? [family("ip", "127.0.0.1", options.probeAddresses.ipv4)] : []),
    ...(options.ipv6 ? [family("ip6", "::1", options.probeAddresses.ipv6)] : []),
  ];
  const nft = [
    ...tables.flatMap(forgetTable),
    ...hookedTable("istio-ambient-nat", {
      prerouting: "type nat hook prerouting priority dstnat; policy accept;",
      output: "type nat hook output priority -100; policy accept;",
      preroutingRules: natPrerouting(options, families),
      outputRules: natOutput(options, families),
    }),
    ...hookedTable("istio-ambient-mangle", {
      prerouting: "type filter hook prerouting priority mangle; policy accept;",
      output: "type route hook output priority mangle; policy accept;",
      preroutingRules: [`${fromZtunnel} counter ct mark set ct mark & 0xfffff000 | 0x00000111`],
      outputRules: ["ct mark & 0x00000fff == 0x00000111 counter meta mark set ct mark"],
    }),
    ...(options.dnsCapture ? rawTable() : []),
  ];
  return { nft: `${nft.join("\n")}\n`, commands: families.flatMap((one) => addRoutes(one.flag)) };
}

/** Takes away everything that {@link redirectionRules} may have made, whatever its options were. */
export function removalRules(): RuleSet {
  const nft = tables.flatMap(forgetTable);
  return { nft: `${nft.join("\n")}\n`, commands: [...removeRoutes("-4"), ...removeRoutes("-6")] };
}

interface Family {
  readonly keyword: "ip" | "ip6";
  readonly loopback: string;
  readonly probe: string;
  readonly flag: "-4" | "-6";
}

function family(keyword: "ip" | "ip6", loopback: string, probe: string): Family {
  return { keyword, loopback, probe, flag: keyword === "ip" ? "-4" : "-6" };
}

function natPrerouting(options: RedirectionOptions, families: readonly Family[]): string[] {
  const rerouted = options.rerouteVirtualInterfaces.flatMap((name) => {
    if (!interfaceName.test(name)) throw badInterface(name);
    const from = `iifname "${name}" meta l4proto tcp counter`;
    return [`${from} redirect to :${outboundPort}`, `${from} return`];
  });
  if (options.bypassInboundCapture) return rerouted;
  return [
    ...rerouted,
    ...families.map(({ keyword, probe }) => `meta l4proto tcp ${keyword} saddr ${probe} counter accept`),
    ...families.map(
      ({ keyword, loopback }) =>
        `${keyword} daddr != ${loopback} tcp dport != ${hbonePort} ${notFromZtunnel} ${firstPacket} counter redirect to :${inboundPort}`,
    ),
  ];
}

function natOutput(options: RedirectionOptions, families: readonly Family[]): string[] {
  return [
    ...families.map(({ keyword, probe }) => `meta l4proto tcp ${keyword} daddr ${probe} counter accept`),
    ...(options.dnsCapture ? dnsOutput(families) : []),
    "meta l4proto tcp meta mark & 0x00000fff == 0x00000111 counter accept",
    // The pod calling its own address: delivered through loopback, never captured.
    ...families.map(({ keyword, loopback }) => `oifname "lo" ${keyword} daddr != ${loopback} counter accept`),
    ...families.map(
      ({ keyword, loopback }) =>
        `meta l4proto tcp ${keyword} daddr != ${loopback} ${notFromZtunnel} ${firstPacket} counter redirect to :${outboundPort}`,
    ),
  ];
}

function dnsOutput(families: readonly Family[]): string[] {
  // A table of the inet family sees both; with one of them off, the other must not lead to a proxy that does not listen.
  const only = families.length === 1 ? `meta nfproto ${families[0]?.keyword === "ip" ? "ipv4" : "ipv6"} ` : "";
  return [
    `${only}oifname != "lo" ${notFromZtunnel} udp dport 53 counter redirect to :${dnsPort}`,
    ...families.map(
      ({ keyword, loopback }) =>
        `${keyword} daddr != ${loopback} tcp dport 53 ${notFromZtunnel} counter redirect to :${dnsPort}`,
    ),
  ];
}

/** ztunnel's own queries get a conntrack zone of their own: the same 5-tuple may be in use by the captured query. */
function rawTable(): string[] {
  return hookedTable("istio-ambient-raw", {
    prerouting: "type filter hook prerouting priority raw; policy accept;",
    output: "type filter hook output priority raw; policy accept;",
    preroutingRules: [`udp sport 53 ${notFromZtunnel} counter ct zone set 1`],
    outputRules: [`udp dport 53 ${fromZtunnel} counter ct zone set 1`],
  });
}

/** Declaring a table that exists is no error, deleting one that does not is: together they are "there is none". */
function forgetTable(name: Table): string[] {
  return [`table inet ${name}`, `delete table inet ${name}`];
}

interface HookedTable {
  readonly prerouting: string;
  readonly output: string;
  readonly preroutingRules: readonly string[];
  readonly outputRules: readonly string[];
}

function hookedTable(name: Table, content: HookedTable): string[] {
  return [
    `table inet ${name} {`,
    ...chain("istio-prerouting", content.preroutingRules),
    ...chain("istio-output", content.outputRules),
    ...chain("prerouting", [content.prerouting, "jump istio-prerouting"]),
    ...chain("output", [content.output, "jump istio-output"]),
    "}",
  ];
}

function chain(name: string, rules: readonly string[]): string[] {
  return [`  chain ${name} {`, ...rules.map((rule) => `    ${rule}`), "  }"];
}

/** Answers on connections that ztunnel opened under a foreign address come back to it: they are delivered locally. */
function addRoutes(flag: "-4" | "-6"): IpCommand[] {
  const rule = ["rule", "add", "fwmark", routeMark, "pref", routePreference, "lookup", routeTable];
  const everything = flag === "-4" ? "0.0.0.0/0" : "::/0";
  return [
    { arguments: [flag, ...rule], harmless: ["File exists"] },
    { arguments: [flag, "route", "replace", "local", everything, "dev", "lo", "table", routeTable], harmless: [] },
  ];
}

function removeRoutes(flag: "-4" | "-6"): IpCommand[] {
  const rule = ["rule", "del", "fwmark", routeMark, "pref", routePreference, "lookup", routeTable];
  const everything = flag === "-4" ? "0.0.0.0/0" : "::/0";
  const absent = ["No such file or directory", "No such process", "does not exist", "not supported"];
  return [
    { arguments: [flag, ...rule], harmless: absent },
    { arguments: [flag, "route", "del", "local", everything, "dev", "lo", "table", routeTable], harmless: absent },
  ];
}

function badInterface(name: string): MeshError {
  return new MeshError(`${JSON.stringify(name)} is not the name of one network interface`, {
    code: "CAPTURE_BAD_INTERFACE",
    origin: "internal",
    details: { interface: name },
  });
}
