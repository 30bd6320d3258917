/** The DNS message format (RFC 1035 §4.1), as far as a proxy must know it. Bytes in, facts out; nothing here throws. */

export const headerBytes = 12;
/** A length has two bytes over TCP. */
export const maxMessageBytes = 65_535;
/** Over UDP, from and to clients without EDNS (RFC 1035 §4.2.1). */
export const plainUdpBytes = 512;

export const opcodes = { query: 0, statefulOperations: 6 } as const;
export const responseCodes = {
  noError: 0,
  formatError: 1,
  serverFailure: 2,
  nameError: 3,
  notImplemented: 4,
  refused: 5,
} as const;
export type ResponseCode = (typeof responseCodes)[keyof typeof responseCodes];

/** Bits of the header's second word. */
export const headerFlags = {
  response: 0x8000,
  authoritative: 0x0400,
  truncated: 0x0200,
  recursionDesired: 0x0100,
  recursionAvailable: 0x0080,
  checkingDisabled: 0x0010,
} as const;

export interface MessageHeader {
  readonly id: number;
  readonly flags: number;
  readonly isResponse: boolean;
  readonly opcode: number;
  readonly isTruncated: boolean;
  readonly responseCode: number;
  /** Number of records by section. */
  readonly questions: number;
  readonly answers: number;
  readonly authorities: number;
  readonly additionals: number;
}

/** Undefined: too short to be a message. */
export function readHeader(message: Buffer): MessageHeader | undefined {
  if (message.length < headerBytes) return undefined;
  const flags = message.readUInt16BE(2);
  return {
    id: message.readUInt16BE(0),
    flags,
    isResponse: (flags & headerFlags.response) !== 0,
    opcode: (flags >> 11) & 0xf,
    isTruncated: (flags & headerFlags.truncated) !== 0,
    responseCode: flags & 0xf,
    questions: message.readUInt16BE(4),
    answers: message.readUInt16BE(6),
    authorities: message.readUInt16BE(8),
    additionals: message.readUInt16BE(10),
  };
}

/** The first question of a message. */
export interface Question {
  /** In lower case, without final dot; "" is the root. Undefined: not a host name, and so no name of the mesh. */
  readonly name: string | undefined;
  readonly type: number;
  readonly class: number;
  /** Where the name begins is always {@link headerBytes}; where the question ends. */
  readonly end: number;
}

const maxNameBytes = 255;
/** Letters, digits, hyphen; `_` of service labels, `*` of wildcards. A dot inside a label would change its meaning as text. */
const hostnamePattern = /^[a-z0-9_*-]*$/;

/** Undefined when the message has none, or ends within it, or its name is malformed (a pointer would have nothing to point to). */
export function readQuestion(message: Buffer): Question | undefined {
  if (message.length < headerBytes || message.readUInt16BE(4) === 0) return undefined;
  const labels: string[] = [];
  let offset = headerBytes;
  for (;;) {
    const length = message[offset];
    if (length === undefined || length > 63) return undefined;
    offset++;
    if (length === 0) break;
    labels.push(message.toString("latin1", offset, offset + length).toLowerCase());
    offset += length;
    if (offset - headerBytes > maxNameBytes) return undefined;
  }
  if (offset + 4 > message.length || offset - headerBytes > maxNameBytes) return undefined;
  const isHostname = labels.every((label) => hostnamePattern.test(label));
  return {
    name: isHostname ? labels.join(".") : undefined,
    type: message.readUInt16BE(offset),
    class: message.readUInt16BE(offset + 2),
    end: offset + 4,
  };
}

/**
 * Whether a response belongs to a query that we sent: id, kind and question agree (RFC 5452 §9.1; letters may change their
 * case). An error may leave the question out.
 */
export function isResponseTo(query: Buffer, response: Buffer): boolean {
  const asked = readHeader(query);
  const told = readHeader(response);
  if (!asked || !told?.isResponse || told.id !== asked.id || told.opcode !== asked.opcode) return false;
  if (asked.opcode !== opcodes.query || asked.questions === 0) return true;
  if (told.questions === 0) return told.responseCode !== responseCodes.noError;
  const end = readQuestion(query)?.end;
  if (end === undefined || readQuestion(response)?.end !== end) return false;
  const question = (message: Buffer): string => message.toString("latin1", headerBytes, end - 4).toLowerCase();
  return question(query) === question(response) && query.subarray(end - 4, end).equals(response.subarray(end - 4, end));
}

/** A copy under another id. */
export function withId(message: Buffer, id: number): Buffer {
  const copy = Buffer.from(message);
  copy.writeUInt16BE(id, 0);
  return copy;
}

/** A response that says only what went wrong. The query must have a header. */
export function createErrorResponse(query: Buffer, code: ResponseCode): Buffer {
  const end = readQuestion(query)?.end ?? headerBytes;
  const response = Buffer.alloc(end);
  query.copy(response, 0, 0, end);
  response.writeUInt16BE(responseFlags(query) | code, 2);
  response.writeUInt16BE(end > headerBytes ? 1 : 0, 4);
  response.fill(0, 6, headerBytes);
  return response;
}

/** Flags of a response of ours to a query: what it asked for is repeated (RFC 1035 §4.1.1, RFC 4035 §3.2.2). */
export function responseFlags(query: Buffer): number {
  const { recursionDesired, checkingDisabled, response, recursionAvailable } = headerFlags;
  const opcode = 0x7800;
  return (query.readUInt16BE(2) & (opcode | recursionDesired | checkingDisabled)) | response | recursionAvailable;
}
