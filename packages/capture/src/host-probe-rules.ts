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

const table = "inet istio-ambient-nat";
const sets = { ipv4: "istio-inpod-probes-v4", ipv6: "istio-inpod-probes-v6" } as const;
const setComment = "UUID of the pods that are part of ambient mesh";

/** Text for `nft -f`; applied again it keeps the pods that are in the sets. */
export function hostProbeRules(options: HostProbeOptions): string {
  // A packet without a local socket has no skuid and matches no comparison at all.
  const local = options.uid === undefined ? "meta skuid >= 0" : `meta skuid ${options.uid}`;
  const { ipv4, ipv6 } = options.probeAddresses;
  return `${[
    `table ${table} {`,
    `  set ${sets.ipv4} { type ipv4_addr; comment "${setComment}"; }`,
    `  set ${sets.ipv6} { type ipv6_addr; comment "${setComment}"; }`,
    "  chain postrouting { type nat hook postrouting priority srcnat; policy accept; }",
    "}",
    `flush chain ${table} postrouting`,
    `add rule ${table} postrouting meta l4proto tcp ${local} ip daddr @${sets.ipv4} counter snat ip to ${ipv4}`,
    `add rule ${table} postrouting meta l4proto tcp ${local} ip6 daddr @${sets.ipv6} counter snat ip6 to ${ipv6}`,
  ].join("\n")}\n`;
}

/** Text that removes the table with its sets. */
export function hostProbeRemoval(): string {
  return `table ${table}\ndelete table ${table}\n`;
}

/** A pod that the rules are for. */
export interface ProbedPod {
  readonly uid: string;
  readonly ips: readonly string[];
}

/** Text that makes these pods, and no others, the ones that the rules are for; follows {@link hostProbeRules}. */
export function probedPodsRules(pods: readonly ProbedPod[]): string {
  return lines([
    `flush set ${table} ${sets.ipv4}`,
    `flush set ${table} ${sets.ipv6}`,
    ...pods.map((pod) => probedPodRules(pod).trimEnd()).filter((text) => text !== ""),
  ]);
}

/** Text that puts a pod's addresses into the sets, whoever had them before. Throws on a uid that is none. */
export function probedPodRules(pod: ProbedPod): string {
  if (!/^[A-Za-z0-9-]{1,64}$/.test(pod.uid)) throw new Error(`${JSON.stringify(pod.uid)} is not the uid of a pod`);
  const add = (ip: string): string => `add element ${table} ${setOf(ip)} { ${ip} comment "${pod.uid}" }`;
  return lines(pod.ips.flatMap((ip) => [add(ip), deleteElement(ip), add(ip)]));
}

/** Text that takes addresses out again; those that are not there do not matter. */
export function unprobedPodRules(ips: readonly string[]): string {
  return lines(ips.flatMap((ip) => [`add element ${table} ${setOf(ip)} { ${ip} }`, deleteElement(ip)]));
}

function deleteElement(ip: string): string {
  return `delete element ${table} ${setOf(ip)} { ${ip} }`;
}

function setOf(ip: string): string {
  return isIPv4(ip) ? sets.ipv4 : sets.ipv6;
}

function lines(commands: readonly string[]): string {
  return commands.map((command) => `${command}\n`).join("");
}
