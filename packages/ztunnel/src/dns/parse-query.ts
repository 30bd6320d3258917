import { decode } from "dns-packet";
import { opcodes, type Question, readHeader, readQuestion, type ResponseCode, responseCodes } from "./message.ts";

/** What a client says about itself in its OPT record (RFC 6891). */
export interface Edns {
  /** The largest UDP response that it takes, in bytes. */
  readonly payloadBytes: number;
  readonly version: number;
  readonly dnssecOk: boolean;
}

/** What to do with the bytes that a client sent. */
export type ParsedQuery =
  /** Not a query: answering could start a loop. */
  | { readonly kind: "ignore" }
  | { readonly kind: "error"; readonly code: ResponseCode }
  /** Asks for addresses of a host name: may be ours. */
  | {
      readonly kind: "address";
      readonly name: string;
      readonly family: 4 | 6;
      readonly question: Question;
      readonly edns: Edns | undefined;
    }
  /** Nothing that we answer: to be forwarded as it is. */
  | { readonly kind: "foreign"; readonly question: Question | undefined; readonly opcode: number };

export const recordTypes = { a: 1, aaaa: 28, ixfr: 251, axfr: 252 } as const;
const internetClass = 1;
/** A query has its question and perhaps OPT, TSIG, SIG(0); names of more records could be made expensive to follow. */
const maxAdditionals = 4;
/** Of a query for addresses; the longest honest one has a name of 255 bytes, padding to 128 and a signature. */
const maxAddressQueryBytes = 4096;

/** Decides what a client wants. Never throws, whatever the bytes. */
export function parseQuery(message: Buffer): ParsedQuery {
  const header = readHeader(message);
  if (!header || header.isResponse) return { kind: "ignore" };
  // RFC 8490 §5.1: a session is with whom it was opened; one who does not know it says so.
  if (header.opcode === opcodes.statefulOperations) return { kind: "error", code: responseCodes.notImplemented };
  if (header.opcode !== opcodes.query)
    return { kind: "foreign", question: readQuestion(message), opcode: header.opcode };
  // None: a query for a cookie (RFC 7873 §5.4).
  if (header.questions === 0) return { kind: "foreign", question: undefined, opcode: header.opcode };
  const question = readQuestion(message);
  // RFC 9619 §4.
  if (!question || header.questions > 1) return { kind: "error", code: responseCodes.formatError };
  const family = addressFamily(question);
  if (family === undefined || question.name === undefined || question.name === "") {
    return { kind: "foreign", question, opcode: header.opcode };
  }
  const isPlain = header.answers === 0 && header.authorities === 0 && header.additionals <= maxAdditionals;
  if (!isPlain || message.length > maxAddressQueryBytes) return { kind: "error", code: responseCodes.formatError };
  const additionals = readAdditionals(message);
  if (!additionals) return { kind: "error", code: responseCodes.formatError };
  return { kind: "address", name: question.name, family, question, edns: additionals.edns };
}

function addressFamily({ type, class: recordClass }: Question): 4 | 6 | undefined {
  if (recordClass !== internetClass) return undefined;
  if (type === recordTypes.a) return 4;
  return type === recordTypes.aaaa ? 6 : undefined;
}

/** Undefined: malformed (something does not decode, follows the last record, or OPT is there twice). */
function readAdditionals(message: Buffer): { readonly edns: Edns | undefined } | undefined {
  let records;
  try {
    records = decode(message).additionals ?? [];
  } catch {
    return undefined;
  }
  const [opt, second] = records.filter((record) => record.type === "OPT");
  if (decode.bytes !== message.length || second) return undefined;
  if (!opt) return { edns: undefined };
  const { udpPayloadSize, ednsVersion, flag_do: dnssecOk } = opt;
  return { edns: { payloadBytes: udpPayloadSize, version: ednsVersion, dnssecOk } };
}
