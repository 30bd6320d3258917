import { isIP, isIPv4 } from "node:net";

/** An IP in canonical text: dotted IPv4, or lower-case compressed IPv6; an IPv4-mapped IPv6 address is its IPv4. */
export type IpAddress = string;

/** One end of a TCP connection. */
export interface SocketAddress {
  readonly ip: IpAddress;
  readonly port: number;
}

/** An IP within a network (`""`: the default network), as WDS addresses workloads and services. */
export interface NetworkAddress {
  readonly network: string;
  readonly ip: IpAddress;
}

/** A range of addresses. */
export interface Cidr {
  readonly ip: IpAddress;
  readonly prefixLength: number;
}

/** Canonical text of an IP. Throws `Error` naming the text. */
export function parseIp(text: string): IpAddress {
  const ip = tryParseIp(text);
  if (ip === undefined) throw new Error(`${JSON.stringify(text)} is not an IP address`);
  return ip;
}

/** As {@link parseIp}, undefined when it is none. Zone ids are refused. */
export function tryParseIp(text: string): IpAddress | undefined {
  if (isIPv4(text)) return text;
  if (isIP(text) !== 6 || text.includes("%")) return undefined;
  return formatIp(ipv6Bytes(text));
}

/** 4 or 16 bytes (network order) to canonical text. Throws on any other length. */
export function formatIp(bytes: Uint8Array): IpAddress {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) throw new Error(`An IP address has 4 or 16 bytes, not ${bytes.length}`);
  const mapped = bytes.subarray(0, 10).every((byte) => byte === 0) && bytes[10] === 0xff && bytes[11] === 0xff;
  if (mapped) return bytes.subarray(12).join(".");
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0));
  return compressGroups(groups);
}

/** Canonical text to 4 or 16 bytes in network order. */
export function ipBytes(ip: IpAddress): Uint8Array {
  return isIPv4(ip) ? Uint8Array.from(ip.split(".").map(Number)) : ipv6Bytes(ip);
}

/** `10.0.0.1:80`, `[fd00::1]:80`. */
export function formatSocketAddress(address: SocketAddress): string {
  return address.ip.includes(":") ? `[${address.ip}]:${address.port}` : `${address.ip}:${address.port}`;
}

/** Reads `ip:port` or `[v6]:port`, port 1 to 65535; undefined when the text is neither (a host name, say). */
export function tryParseSocketAddress(text: string): SocketAddress | undefined {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([0-9.]+)):([0-9]{1,5})$/.exec(text);
  if (!match) return undefined;
  const ip = match[1] === undefined ? ipv4Only(match[2] ?? "") : bracketed(match[1]);
  const port = Number(match[3]);
  if (ip === undefined || port < 1 || port > 65535 || String(port) !== match[3]) return undefined;
  return { ip, port };
}

/** `network/ip`, the key of WDS indexes and on-demand names. */
export function formatNetworkAddress(address: NetworkAddress): string {
  return `${address.network}/${address.ip}`;
}

/**
 * Reads `ip` or `ip/length`. The length of an IPv4-mapped range counts from bit 96 on, since the range is held as IPv4. Throws
 * `Error` naming the text.
 */
export function parseCidr(text: string): Cidr {
  const [ipText = "", lengthText, ...rest] = text.split("/");
  const ip = parseIp(ipText);
  const full = isIPv4(ip) ? 32 : 128;
  if (lengthText === undefined) return { ip, prefixLength: full };
  const mappedBits = full === 32 && ipText.includes(":") ? 96 : 0;
  const isNumber = /^(?:0|[1-9][0-9]{0,2})$/.test(lengthText);
  const prefixLength = isNumber ? Number(lengthText) - mappedBits : -1;
  if (rest.length > 0 || prefixLength < 0 || prefixLength > full)
    throw new Error(`${JSON.stringify(text)} is not a CIDR`);
  return { ip, prefixLength };
}

/** Families never match each other. */
export function cidrContains(cidr: Cidr, ip: IpAddress): boolean {
  const range = ipBytes(cidr.ip);
  const bytes = ipBytes(ip);
  if (range.length !== bytes.length) return false;
  for (let bit = 0; bit < cidr.prefixLength; bit += 8) {
    const left = cidr.prefixLength - bit;
    const mask = left >= 8 ? 0xff : (0xff << (8 - left)) & 0xff;
    if (((range[bit >> 3] ?? 0) & mask) !== ((bytes[bit >> 3] ?? 0) & mask)) return false;
  }
  return true;
}

export function isLoopback(ip: IpAddress): boolean {
  return ip.startsWith("127.") || ip === "::1";
}

/** Brackets hold IPv6 only (RFC 3986 §3.2.2); a mapped one is its IPv4. */
function bracketed(text: string): IpAddress | undefined {
  return text.includes(":") ? tryParseIp(text) : undefined;
}

function ipv4Only(text: string): IpAddress | undefined {
  return isIPv4(text) ? text : undefined;
}

function ipv6Bytes(text: string): Uint8Array {
  const bytes = new Uint8Array(16);
  const dotted = /^(.*:)([0-9]+(?:\.[0-9]+){3})$/.exec(text);
  const plain = dotted ? dotted[1] + dottedToGroups(dotted[2] ?? "") : text;
  const [headText = "", tailText] = plain.split("::");
  const head = headText === "" ? [] : headText.split(":");
  const tail = tailText === undefined || tailText === "" ? [] : tailText.split(":");
  const put = (groups: string[], at: number): void => {
    for (const [i, group] of groups.entries()) {
      const value = Number.parseInt(group, 16);
      bytes[2 * (at + i)] = value >> 8;
      bytes[2 * (at + i) + 1] = value & 0xff;
    }
  };
  put(head, 0);
  put(tail, 8 - tail.length);
  return bytes;
}

function dottedToGroups(ipv4: string): string {
  const [a = 0, b = 0, c = 0, d = 0] = ipv4.split(".").map(Number);
  return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}

/** RFC 5952 §4: the longest run of two or more zero groups, the first of equals, becomes `::`. */
function compressGroups(groups: readonly number[]): string {
  let bestStart = -1;
  let bestLength = 1;
  for (let start = 0; start < 8; start++) {
    let length = 0;
    while (start + length < 8 && groups[start + length] === 0) length++;
    if (length > bestLength) [bestStart, bestLength] = [start, length];
  }
  const hex = groups.map((group) => group.toString(16));
  if (bestStart < 0) return hex.join(":");
  return `${hex.slice(0, bestStart).join(":")}::${hex.slice(bestStart + bestLength).join(":")}`;
}
