/**
 * The rules of rules.ts as text for `iptables-restore --noflush`, for nodes without nftables; istio-cni's, chain by chain.
 * iptables knows no "unless it is there" for jumps: what is there already (`iptables-save`) is an input.
 */
import { isIPv4 } from "node:net";
import type { HostProbeOptions, ProbedPod } from "./host-probe-rules.ts";
import { checkInterfaceName, ports, type RedirectionOptions } from "./rules.ts";

export type IptablesFamily = "ipv4" | "ipv6";

const fromZtunnel = "-m mark --mark 0x539/0xfff";
const notFromZtunnel = "-m mark ! --mark 0x539/0xfff";
const jumps = ["PREROUTING -j ISTIO_PRERT", "OUTPUT -j ISTIO_OUTPUT"] as const;
const chains = ["ISTIO_PRERT", "ISTIO_OUTPUT"] as const;
const tables = ["mangle", "nat", "raw"] as const;
type Table = (typeof tables)[number];

/** Text for `iptables-restore --noflush` that captures a pod; `saved` is what `iptables-save` prints now. Throws `CAPTURE_BAD_INTERFACE`. */
export function iptablesRules(family: IptablesFamily, options: RedirectionOptions, saved: string): string {
  const loopback = family === "ipv4" ? "127.0.0.1/32" : "::1/128";
  const probe = options.probeAddresses[family];
  const rules: Readonly<Record<Table, readonly string[]>> = {
    mangle: [
      `-A ISTIO_PRERT ${fromZtunnel} -j CONNMARK --set-xmark 0x111/0xfff`,
      "-A ISTIO_OUTPUT -m connmark --mark 0x111/0xfff -j CONNMARK --restore-mark --nfmask 0xffffffff --ctmask 0xffffffff",
    ],
    nat: [...natPrerouting(options, loopback, probe), ...natOutput(options, loopback, probe)],
    raw: options.dnsCapture
      ? [
          `-A ISTIO_OUTPUT -p udp ${fromZtunnel} --dport 53 -j CT --zone 1`,
          `-A ISTIO_PRERT -p udp ${notFromZtunnel} --sport 53 -j CT --zone 1`,
        ]
      : [],
  };
  const present = savedLines(saved);
  return tables
    .filter((table) => rules[table].length > 0 || hasOurChains(present, table))
    .flatMap((table) => [
      `*${table}`,
      // A declared chain is emptied, and made when there is none.
      ...chains.map((chain) => `:${chain} - [0:0]`),
      ...rules[table],
      ...jumps.filter((jump) => !present.has(`${table} -A ${jump}`)).map((jump) => `-A ${jump}`),
      "COMMIT\n",
    ])
    .join("\n");
}

/** Text that takes away what {@link iptablesRules} made; empty when there is nothing. */
export function iptablesRemoval(saved: string): string {
  const present = savedLines(saved);
  return tables
    .filter((table) => hasOurChains(present, table))
    .flatMap((table) => [
      `*${table}`,
      ...chains.map((chain) => `:${chain} - [0:0]`),
      ...jumps.filter((jump) => present.has(`${table} -A ${jump}`)).map((jump) => `-D ${jump}`),
      ...chains.map((chain) => `-X ${chain}`),
      "COMMIT\n",
    ])
    .join("\n");
}

/** Text that empties the chains that choose what is redirected; open connections stay redirected. */
export const iptablesSpareNewConnections: string = [
  "*nat",
  ...chains.map((chain) => `:${chain} - [0:0]`),
  "COMMIT\n",
].join("\n");

/** What is ours in `iptables-save`, comparable: the same text for the same rules. */
export function readOwnChains(saved: string): string {
  return [...savedLines(saved)]
    .filter((line) => line.includes("ISTIO_"))
    .map((line) => `${line}\n`)
    .join("");
}

/** Text that makes these pods, and no others, the ones whose probes come from the probe address (host-probe-rules.ts). */
export function iptablesProbedPods(
  family: IptablesFamily,
  { probeAddresses, uid }: HostProbeOptions,
  pods: readonly ProbedPod[],
  saved: string,
): string {
  const owner = uid === undefined ? "--socket-exists" : `--uid-owner ${uid}`;
  const ips = pods.flatMap((pod) => pod.ips).filter((ip) => isIPv4(ip) === (family === "ipv4"));
  const jump = "POSTROUTING -j ISTIO_POSTRT";
  return [
    "*nat",
    ":ISTIO_POSTRT - [0:0]",
    ...ips.map(
      (ip) => `-A ISTIO_POSTRT -d ${ip} -p tcp -m owner ${owner} -j SNAT --to-source ${probeAddresses[family]}`,
    ),
    ...(savedLines(saved).has(`nat -A ${jump}`) ? [] : [`-I ${jump}`]),
    "COMMIT\n",
  ].join("\n");
}

/** Text that takes away what {@link iptablesProbedPods} made; empty when there is nothing. */
export function iptablesProbedPodsRemoval(saved: string): string {
  const jump = "POSTROUTING -j ISTIO_POSTRT";
  const present = savedLines(saved);
  if (![...present].some((line) => line.includes("ISTIO_POSTRT"))) return "";
  const deletion = present.has(`nat -A ${jump}`) ? [`-D ${jump}`] : [];
  return ["*nat", ":ISTIO_POSTRT - [0:0]", ...deletion, "-X ISTIO_POSTRT", "COMMIT\n"].join("\n");
}

function natPrerouting(options: RedirectionOptions, loopback: string, probe: string): string[] {
  const rerouted = options.rerouteVirtualInterfaces.flatMap((name) => {
    const from = `-A ISTIO_PRERT -i ${checkInterfaceName(name)} -p tcp`;
    return [`${from} -j REDIRECT --to-ports ${ports.outbound}`, `${from} -j RETURN`];
  });
  if (options.bypassInboundCapture) return rerouted;
  return [
    ...rerouted,
    `-A ISTIO_PRERT -s ${probe} -p tcp -j ACCEPT`,
    `-A ISTIO_PRERT ! -d ${loopback} -p tcp ! --dport ${ports.hbone} ${notFromZtunnel} --syn -j REDIRECT --to-ports ${ports.inboundPlaintext}`,
  ];
}

function natOutput(options: RedirectionOptions, loopback: string, probe: string): string[] {
  const toDns = `-j REDIRECT --to-ports ${ports.dns}`;
  return [
    `-A ISTIO_OUTPUT -d ${probe} -p tcp -j ACCEPT`,
    ...(options.dnsCapture
      ? [
          `-A ISTIO_OUTPUT ! -o lo -p udp ${notFromZtunnel} --dport 53 ${toDns}`,
          `-A ISTIO_OUTPUT ! -d ${loopback} -p tcp --dport 53 ${notFromZtunnel} ${toDns}`,
        ]
      : []),
    "-A ISTIO_OUTPUT -p tcp -m mark --mark 0x111/0xfff -j ACCEPT",
    `-A ISTIO_OUTPUT ! -d ${loopback} -o lo -j ACCEPT`,
    `-A ISTIO_OUTPUT ! -d ${loopback} -p tcp ${notFromZtunnel} --syn -j REDIRECT --to-ports ${ports.outbound}`,
  ];
}

/** Lines of `iptables-save` with the name of their table before them: `nat -A PREROUTING -j ISTIO_PRERT`. */
function savedLines(saved: string): Set<string> {
  const lines = new Set<string>();
  let table = "";
  for (const line of saved.split("\n")) {
    if (line.startsWith("*")) table = line.slice(1);
    else if (line.startsWith("-") || line.startsWith(":")) lines.add(`${table} ${line}`);
  }
  return lines;
}

function hasOurChains(present: ReadonlySet<string>, table: Table): boolean {
  return chains.some((chain) => [...present].some((line) => line.startsWith(`${table} :${chain} `)));
}
