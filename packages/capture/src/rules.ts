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

/** One run of `ip -4 -force -batch -` or `ip -6 …`. */
export interface RouteBatch {
  readonly flag: "-4" | "-6";
  /** One command a line. */
  readonly text: string;
  /** What stderr says when there was nothing to do; not a failure then. */
  readonly harmless: readonly string[];
}

export interface RuleSet {
  /** One transaction of nft: all or nothing, and the same if applied twice. */
  readonly nft: string;
  readonly routes: readonly RouteBatch[];
}

const tables = ["istio-ambient-nat", "istio-ambient-mangle", "istio-ambient-raw"] as const;
type Table = (typeof tables)[number];

/** ztunnel's listeners in every captured pod. */
export const ports = { outbound: 15_001, inboundPlaintext: 15_006, hbone: 15_008, dns: 15_053 } as const;

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
const interfaceName = /^[A-Za-z0-9_.:@][A-Za-z0-9_.:@-]{0,14}$/;

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
  return { nft: `${nft.join("\n")}\n`, routes: families.map(({ flag }) => addRoutes(flag)) };
}

/** Takes away everything that {@link redirectionRules} may have made, whatever its options were. */
export function removalRules(): RuleSet {
  const nft = tables.flatMap(forgetTable);
  return { nft: `${nft.join("\n")}\n`, routes: [removeRoutes("-4"), removeRoutes("-6")] };
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
    const from = `iifname "${checkInterfaceName(name)}" meta l4proto tcp counter`;
    return [`${from} redirect to :${ports.outbound}`, `${from} return`];
  });
  if (options.bypassInboundCapture) return rerouted;
  return [
    ...rerouted,
    ...families.map(({ keyword, probe }) => `meta l4proto tcp ${keyword} saddr ${probe} counter accept`),
    ...families.map(
      ({ keyword, loopback }) =>
        `${keyword} daddr != ${loopback} tcp dport != ${ports.hbone} ${notFromZtunnel} ${firstPacket} counter redirect to :${ports.inboundPlaintext}`,
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
        `meta l4proto tcp ${keyword} daddr != ${loopback} ${notFromZtunnel} ${firstPacket} counter redirect to :${ports.outbound}`,
    ),
  ];
}

function dnsOutput(families: readonly Family[]): string[] {
  // A table of the inet family sees both; with one of them off, the other must not lead to a proxy that does not listen.
  const only = families.length === 1 ? `meta nfproto ${families[0]?.keyword === "ip" ? "ipv4" : "ipv6"} ` : "";
  return [
    `${only}oifname != "lo" ${notFromZtunnel} udp dport 53 counter redirect to :${ports.dns}`,
    ...families.map(
      ({ keyword, loopback }) =>
        `${keyword} daddr != ${loopback} tcp dport 53 ${notFromZtunnel} counter redirect to :${ports.dns}`,
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

const rule = `fwmark ${routeMark} pref ${routePreference} lookup ${routeTable}`;

function everythingToLoopback(flag: "-4" | "-6"): string {
  return `local ${flag === "-4" ? "0.0.0.0/0" : "::/0"} dev lo table ${routeTable}`;
}

/** Answers on connections that ztunnel opened under a foreign address come back to it: they are delivered locally. */
export function addRoutes(flag: "-4" | "-6"): RouteBatch {
  const text = `rule add ${rule}\nroute replace ${everythingToLoopback(flag)}\n`;
  return { flag, text, harmless: ["File exists"] };
}

export function removeRoutes(flag: "-4" | "-6"): RouteBatch {
  const text = `rule del ${rule}\nroute del ${everythingToLoopback(flag)}\n`;
  const harmless = ["No such file or directory", "No such process", "does not exist", "not supported"];
  return { flag, text, harmless };
}

/** Prints what {@link addRoutes} makes, among others. */
export function listRoutes(flag: "-4" | "-6"): RouteBatch {
  const text = `rule list pref ${routePreference}\nroute show table ${routeTable}\n`;
  return { flag, text, harmless: ["does not exist", "not supported"] };
}

/** Our tables in what `nft -s list ruleset inet` prints: comparable with itself, not with the text that was given to nft. */
export function readOwnTables(listing: string): string {
  const found = listing.matchAll(/^table inet (\S+) \{\n[\s\S]*?^\}\n/gm);
  return [...found]
    .filter(([, name = ""]) => (tables as readonly string[]).includes(name))
    .map(([text]) => text)
    .join("");
}

/**
 * Empties the chains that choose what is redirected. The base chains stay: without them the kernel would stop translating the
 * connections that are open.
 */
export const spareNewConnectionsRules: string = [
  "flush chain inet istio-ambient-nat istio-prerouting",
  "flush chain inet istio-ambient-nat istio-output",
  "",
].join("\n");

/** The name, which means one interface and nothing else in a rule. Throws `CAPTURE_BAD_INTERFACE`. */
export function checkInterfaceName(name: string): string {
  if (interfaceName.test(name)) return name;
  throw new MeshError(`${JSON.stringify(name)} is not the name of one network interface`, {
    code: "CAPTURE_BAD_INTERFACE",
    origin: "internal",
    details: { interface: name },
  });
}
