import { type IpAddress, ipBytes } from "@hairpin/shared/model";
import { headerBytes, headerFlags, maxMessageBytes, plainUdpBytes, type Question, responseFlags } from "./message.ts";
import { type Edns, recordTypes } from "./parse-query.ts";

/** How long clients may keep what we answered; ztunnel's. */
const ttlSeconds = 30;
/** No larger UDP response is sent, whatever the client says it takes. */
const maxUdpBytes = 4096;

const cnameType = 5;
const optType = 41;
const internetClass = 1;
const optBytes = 11;
/** EDNS version 0 is all there is: others get BADVERS (16), whose upper eight bits stand in OPT (RFC 6891 §6.1.3). */
const badVersionUpper = 1;
/** A name that is the question's: a pointer to where every question begins. */
const questionPointer = 0xc000 | headerBytes;

export interface AddressAnswer {
  readonly question: Question;
  readonly edns: Edns | undefined;
  readonly addresses: readonly IpAddress[];
  readonly canonicalName: string | undefined;
}

/**
 * The response with the addresses of a name of the mesh. Names are compressed by hand: dns-packet repeats them, and then a
 * client without EDNS would get 8 addresses in 512 bytes instead of 28. What does not fit is left out, and over UDP the
 * response says so (TC): the client may come again by TCP.
 */
export function encodeAddressAnswer(query: Buffer, answer: AddressAnswer, protocol: "udp" | "tcp"): Buffer {
  const { question, edns, canonicalName } = answer;
  const isBadVersion = edns !== undefined && edns.version > 0;
  const addresses = isBadVersion ? [] : answer.addresses;
  const alias = canonicalName === undefined || addresses.length === 0 ? undefined : encodeName(canonicalName);
  const recordBytes = 12 + (question.type === recordTypes.aaaa ? 16 : 4);
  const fixedBytes = question.end + (alias ? 12 + alias.length : 0) + (edns ? optBytes : 0);
  const room = Math.floor((responseLimit(edns, protocol) - fixedBytes) / recordBytes);
  const sent = addresses.slice(0, Math.max(0, room));

  const response = Buffer.alloc(fixedBytes + sent.length * recordBytes);
  query.copy(response, 0, 0, question.end);
  const isTruncated = protocol === "udp" && sent.length < addresses.length;
  const flags = headerFlags.authoritative | (isTruncated ? headerFlags.truncated : 0);
  response.writeUInt16BE(responseFlags(query) | flags, 2);
  response.writeUInt16BE(sent.length + (alias ? 1 : 0), 6);
  response.writeUInt16BE(0, 8);
  response.writeUInt16BE(edns ? 1 : 0, 10);
  let offset = question.end;
  let owner = questionPointer;
  if (alias) {
    // The addresses belong to the name inside this record: its data begin 12 bytes on.
    owner = 0xc000 | (offset + 12);
    offset = writeRecord(response, offset, { owner: questionPointer, type: cnameType, data: alias });
  }
  for (const ip of sent) offset = writeRecord(response, offset, { owner, type: question.type, data: ipBytes(ip) });
  if (edns) writeOpt(response, offset, edns, isBadVersion ? badVersionUpper : 0);
  return response;
}

/** The largest response that the client takes. */
function responseLimit(edns: Edns | undefined, protocol: "udp" | "tcp"): number {
  if (protocol === "tcp") return maxMessageBytes;
  return Math.min(Math.max(edns?.payloadBytes ?? plainUdpBytes, plainUdpBytes), maxUdpBytes);
}

interface ResourceRecord {
  /** Of the owner's name. */
  readonly owner: number;
  readonly type: number;
  readonly data: Uint8Array;
}

function writeRecord(response: Buffer, offset: number, { owner, type, data }: ResourceRecord): number {
  response.writeUInt16BE(owner, offset);
  response.writeUInt16BE(type, offset + 2);
  response.writeUInt16BE(internetClass, offset + 4);
  response.writeUInt32BE(ttlSeconds, offset + 6);
  response.writeUInt16BE(data.length, offset + 10);
  response.set(data, offset + 12);
  return offset + 12 + data.length;
}

/** The client's own, as ztunnel echoes it: at least 512 bytes, and the DO bit. */
function writeOpt(response: Buffer, offset: number, edns: Edns, extendedCode: number): void {
  response.writeUInt16BE(optType, offset + 1);
  response.writeUInt16BE(Math.max(edns.payloadBytes, plainUdpBytes), offset + 3);
  response.writeUInt8(extendedCode, offset + 5);
  response.writeUInt16BE(edns.dnssecOk ? 0x8000 : 0, offset + 7);
}

/** Of a name that came in a question, and so has labels of 1 to 63 bytes. */
function encodeName(name: string): Buffer {
  const labels = name
    .split(".")
    .map((label) => Buffer.concat([Uint8Array.of(label.length), Buffer.from(label, "latin1")]));
  return Buffer.concat([...labels, Uint8Array.of(0)]);
}
