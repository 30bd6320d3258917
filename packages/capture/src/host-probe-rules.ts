/**
 * Rules of the node's own namespace: what the node's processes send to captured pods (probes above all) gets the probe
 * address as its source, which the pods' rules let pass. Only packets of local sockets: forwarded traffic stays itself.
 */
import { isIPv4 } from "node:net";
import type { ProbeAddresses } from "./rules.ts";

export interface HostProbeOptions {
  readonly probeAddresses: ProbeAddresses;
  /** Only sockets of this user, as Istio does with the kubelet's. Undefined: of any process on the node. */
  readonly uid?: number;
}

/** A pod that the rules are for. */
export interface ProbedPod {
  readonly uid: string;
  readonly ips: readonly string[];
}

const table = "inet istio-ambient-nat";
const sets = { ipv4: "istio-inpod-probes-v4", ipv6: "istio-inpod-probes-v6" } as const;
const setComment = "UUID of the pods that are part of ambient mesh";

/** Text for `nft -f`: whatever was there, the rules are for these pods then and no others. Throws on a uid that is none. */
export function hostProbeRules(options: HostProbeOptions, pods: readonly ProbedPod[]): string {
  // A packet without a local socket has no skuid and matches no comparison at all.
  const local = options.uid === undefined ? "meta skuid >= 0" : `meta skuid ${options.uid}`;
  const { ipv4, ipv6 } = options.probeAddresses;
  const lines = [
    `table ${table} {`,
    `  set ${sets.ipv4} { type ipv4_addr; comment "${setComment}"; }`,
    `  set ${sets.ipv6} { type ipv6_addr; comment "${setComment}"; }`,
    "  chain postrouting { type nat hook postrouting priority srcnat; policy accept; }",
    "}",
    `flush chain ${table} postrouting`,
    `flush set ${table} ${sets.ipv4}`,
    `flush set ${table} ${sets.ipv6}`,
    `add rule ${table} postrouting meta l4proto tcp ${local} ip daddr @${sets.ipv4} counter snat ip to ${ipv4}`,
    `add rule ${table} postrouting meta l4proto tcp ${local} ip6 daddr @${sets.ipv6} counter snat ip6 to ${ipv6}`,
    ...pods.flatMap(elementsOf),
  ];
  return `${lines.join("\n")}\n`;
}

/** Text that removes the table with its sets. */
export function hostProbeRemoval(): string {
  return `table ${table}\ndelete table ${table}\n`;
}

function elementsOf({ uid, ips }: ProbedPod): string[] {
  if (!/^[A-Za-z0-9-]{1,64}$/.test(uid)) throw new Error(`${JSON.stringify(uid)} is not the uid of a pod`);
  return ips.map((ip) => `add element ${table} ${isIPv4(ip) ? sets.ipv4 : sets.ipv6} { ${ip} comment "${uid}" }`);
}
