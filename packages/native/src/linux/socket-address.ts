import { isIPv4, SocketAddress } from "node:net";
import { allocate } from "../memory.ts";
import { AF_INET, AF_INET6, AF_UNIX } from "./constants.ts";

/** An IP in canonical text (an IPv4-mapped IPv6 address is its IPv4) and a port. */
export interface InternetAddress {
  readonly ip: string;
  readonly port: number;
}

/** sun_path has 108 bytes, the last of them 0. */
const maxUnixPathBytes = 107;

/** sockaddr_in or sockaddr_in6 of a literal address. Throws `ERR_INVALID_ADDRESS` on anything else. */
export function encodeInternetAddress(ip: string, port: number): Uint8Array<ArrayBuffer> {
  const ipv4 = isIPv4(ip);
  const bytes = allocate(ipv4 ? 16 : 28);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, ipv4 ? AF_INET : AF_INET6, true);
  view.setUint16(2, port, false);
  if (ipv4) bytes.set(ip.split(".").map(Number), 4);
  else bytes.set(ipv6Bytes(ip), 8);
  return bytes;
}

/** What the kernel wrote into a sockaddr; undefined for another family. */
export function decodeInternetAddress(bytes: Uint8Array<ArrayBuffer>): InternetAddress | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const family = view.getUint16(0, true);
  const port = view.getUint16(2, false);
  if (family === AF_INET) return { ip: formatIpv4(bytes, 4), port };
  if (family !== AF_INET6) return undefined;
  // ::ffff:0:0/96. Pods' listeners are dual-stack: nearly every address comes in this form.
  const mapped = view.getBigUint64(8, true) === 0n && view.getUint32(16, false) === 0xffff;
  return { ip: mapped ? formatIpv4(bytes, 20) : formatIpv6(bytes.subarray(8, 24)), port };
}

function formatIpv4(bytes: Uint8Array, at: number): string {
  return `${bytes[at]}.${bytes[at + 1]}.${bytes[at + 2]}.${bytes[at + 3]}`;
}

/** sockaddr_un of a path. Throws `ERR_UNIX_PATH_TOO_LONG`: the kernel would cut it. */
export function encodeUnixAddress(path: string): Uint8Array<ArrayBuffer> {
  const text = Buffer.from(path);
  if (text.length === 0 || text.length > maxUnixPathBytes || text.includes(0)) {
    const problem = `Socket path ${JSON.stringify(path)} must have 1 to ${maxUnixPathBytes} bytes and no NUL`;
    throw Object.assign(new Error(problem), { code: "ERR_UNIX_PATH_TOO_LONG" });
  }
  const bytes = allocate(2 + text.length + 1);
  new DataView(bytes.buffer).setUint16(0, AF_UNIX, true);
  bytes.set(text, 2);
  return bytes;
}

function ipv6Bytes(ip: string): Uint8Array {
  const canonical = SocketAddress.parse(`[${ip}]:0`)?.address;
  if (canonical === undefined || ip.includes("%")) {
    throw Object.assign(new Error(`${JSON.stringify(ip)} is not an IP address`), { code: "ERR_INVALID_ADDRESS" });
  }
  const dotted = /^(.*:)([0-9]+)\.([0-9]+)\.([0-9]+)\.([0-9]+)$/.exec(canonical);
  const hex = (high = "", low = ""): string => ((Number(high) << 8) | Number(low)).toString(16);
  const plain = dotted ? `${dotted[1]}${hex(dotted[2], dotted[3])}:${hex(dotted[4], dotted[5])}` : canonical;
  const [head = "", tail] = plain.split("::");
  const groups = (text: string | undefined): string[] => (text === undefined || text === "" ? [] : text.split(":"));
  const left = groups(head);
  const right = groups(tail);
  const all = [...left, ...Array.from({ length: 8 - left.length - right.length }, () => "0"), ...right];
  return Uint8Array.from(all.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]));
}

/** Canonical text through Node's own formatter (RFC 5952). */
function formatIpv6(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) =>
    (((bytes[2 * i] ?? 0) << 8) | (bytes[2 * i + 1] ?? 0)).toString(16),
  );
  return new SocketAddress({ address: groups.join(":"), family: "ipv6" }).address;
}
