import { formatSpiffeId, type Identity, ipBytes, type SocketAddress } from "@hairpin/shared/model";

/** "\r\n\r\n\0\r\nQUIT\n" (PROXY protocol specification §2.2). */
const signature = Uint8Array.of(0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a);
const versionTwoProxy = 0x21;
const tcpOverIpv4 = 0x11;
const tcpOverIpv6 = 0x21;
/** Istio's TLV: the caller's SPIFFE ID. */
const peerIdentityType = 0xd0;

/** The PROXY protocol v2 header that an application tunnel wants before the bytes: who called, what, and as whom. */
export function proxyHeader(call: {
  readonly source: SocketAddress;
  readonly destination: SocketAddress;
  readonly identity: Identity | undefined;
}): Uint8Array {
  const { source, destination } = call;
  const ipv4 = !source.ip.includes(":") && !destination.ip.includes(":");
  const addresses = Buffer.concat([
    ipv4 ? ipBytes(source.ip) : mapped(source.ip),
    ipv4 ? ipBytes(destination.ip) : mapped(destination.ip),
    uint16(source.port),
    uint16(destination.port),
  ]);
  const tlv = call.identity ? identityTlv(call.identity) : Buffer.alloc(0);
  const family = Uint8Array.of(versionTwoProxy, ipv4 ? tcpOverIpv4 : tcpOverIpv6);
  return Buffer.concat([signature, family, uint16(addresses.length + tlv.length), addresses, tlv]);
}

function identityTlv(identity: Identity): Buffer {
  const text = Buffer.from(formatSpiffeId(identity));
  return Buffer.concat([Uint8Array.of(peerIdentityType), uint16(text.length), text]);
}

/** 16 bytes: an IPv4 address next to an IPv6 one is written as IPv4-mapped. */
function mapped(ip: string): Uint8Array {
  const bytes = ipBytes(ip);
  return bytes.length === 16 ? bytes : Buffer.concat([Buffer.alloc(10), Uint8Array.of(0xff, 0xff), bytes]);
}

function uint16(value: number): Uint8Array {
  return Uint8Array.of(value >> 8, value & 0xff);
}
