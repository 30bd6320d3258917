// Which addresses nodes, pods and Services get. Pure.

import { type Cidr, formatIp, ipBytes, parseCidr } from "@hairpin/shared/model";

/** Address ranges of a mesh; each is text such as `10.244.0.0/16`. */
export interface AddressRanges {
  /** Every node takes a /24 (IPv6: /64) of it. */
  readonly pods: string;
  readonly services: string;
  /** Addresses of the nodes on the bridge. */
  readonly nodes: string;
}

export const defaultIpv4Ranges: AddressRanges = {
  pods: "10.244.0.0/16",
  services: "10.96.0.0/16",
  nodes: "172.30.0.0/24",
};

export const defaultIpv6Ranges: AddressRanges = {
  pods: "fd00:10:244::/48",
  services: "fd00:10:96::/112",
  nodes: "fd00:10:30::/64",
};

/** One address family of a node. */
export interface NodeAddresses {
  readonly family: 4 | 6;
  /** On the bridge. */
  readonly nodeIp: string;
  readonly nodePrefixLength: number;
  /** The node's share of the pod range. */
  readonly podRange: Cidr;
  /** The node's own address towards its pods; cluster DNS answers here. */
  readonly gatewayIp: string;
}

const podPrefixLength = { 4: 24, 6: 64 } as const;

/** Addresses of node `index` (from 1). Throws when the ranges are too small, with the range and what to do. */
export function planNodeAddresses(ranges: AddressRanges, index: number): NodeAddresses {
  const pods = parseCidr(ranges.pods);
  const nodes = parseCidr(ranges.nodes);
  const family = familyOf(pods.ip);
  const bits = family === 4 ? 32 : 128;
  const sharePrefix = podPrefixLength[family];
  if (pods.prefixLength > sharePrefix || BigInt(index) >= 1n << BigInt(sharePrefix - pods.prefixLength))
    throw new Error(
      `Pod range ${ranges.pods} has no /${sharePrefix} for node ${index}; give a larger one with --pod-range`,
    );
  const share = offsetIp(pods.ip, BigInt(index) << BigInt(bits - sharePrefix));
  return {
    family,
    nodeIp: offsetIp(nodes.ip, BigInt(index + 1)),
    nodePrefixLength: nodes.prefixLength,
    podRange: { ip: share, prefixLength: sharePrefix },
    gatewayIp: offsetIp(share, 1n),
  };
}

/** The address of cluster DNS: the tenth of the Service range, as Kubernetes installers choose. */
export function clusterDnsIp(ranges: AddressRanges): string {
  return offsetIp(parseCidr(ranges.services).ip, 10n);
}

/** The address of control's Service: fixed, so that proxies need no DNS to find it. */
export function controlIp(ranges: AddressRanges): string {
  return offsetIp(parseCidr(ranges.services).ip, 15n);
}

/**
 * The first free address of a range at or after `from` (an offset), going round; undefined when all are taken. The first
 * `reserved` offsets and the last are not given out.
 */
export function findFreeIp(
  range: Cidr,
  isTaken: (ip: string) => boolean,
  options: { readonly reserved: number; readonly from?: number },
): { ip: string; offset: number } | undefined {
  const bits = familyOf(range.ip) === 4 ? 32 : 128;
  const size = Math.min(2 ** (bits - range.prefixLength) - 1, maxSearchedAddresses);
  const usable = size - options.reserved;
  for (let step = 0; step < usable; step++) {
    const offset = options.reserved + (((options.from ?? options.reserved) - options.reserved + step) % usable);
    const ip = offsetIp(range.ip, BigInt(offset));
    if (!isTaken(ip)) return { ip, offset };
  }
  return undefined;
}

const maxSearchedAddresses = 65_535;

export function familyOf(ip: string): 4 | 6 {
  return ip.includes(":") ? 6 : 4;
}

function offsetIp(ip: string, offset: bigint): string {
  const bytes = ipBytes(ip);
  let carry = offset;
  const sum = bytes.slice();
  for (let index = sum.length - 1; index >= 0 && carry > 0n; index--) {
    const value = BigInt(sum[index] ?? 0) + (carry & 0xffn);
    sum[index] = Number(value & 0xffn);
    carry = (carry >> 8n) + (value >> 8n);
  }
  return formatIp(sum);
}
