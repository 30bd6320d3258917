import type { Http1ErrorCode } from "../../http1/errors.ts";
import type { Http1Headers } from "../../http1/headers.ts";
import { latin1, plain, readRequests, readResponses, type ReadResult } from "../../http1/test-support.ts";
import type { FuzzTarget } from "../fuzz.ts";
import { generateHttp1 } from "../http1-grammar.ts";
import { llhttpMethods, type LlhttpMessage, readWithLlhttp } from "../llhttp.ts";
import { Random } from "../random.ts";

type Kind = "request" | "response";
type AnyHead = {
  readonly headers: Http1Headers;
  readonly keepAlive: boolean;
  readonly method?: string;
  readonly target?: string;
  readonly status?: number;
};

/** What we refuse on purpose and llhttp lets pass. Every other refusal of ours that llhttp does not share is a finding. */
const stricter: Partial<Record<Http1ErrorCode, string>> = {
  HTTP1_BAD_HOST: "llhttp does not read Host",
  HTTP1_MISSING_HOST: "llhttp does not read Host",
  HTTP1_DUPLICATE_HOST: "llhttp does not read Host",
  HTTP1_HOST_MISMATCH: "llhttp does not read Host",
  HTTP1_BAD_TARGET: "llhttp looks at the characters, not at the form",
  HTTP1_BAD_VERSION: "llhttp reads HTTP/0.9 and HTTP/2.0 as if they were 1.x",
  HTTP1_BAD_REQUEST_LINE: "llhttp takes a request line without a version",
  HTTP1_BAD_STATUS_LINE: "llhttp skips empty lines before a status line",
  HTTP1_BAD_LINE_END: "llhttp takes a bare LF behind an HTTP/0.9 request line, and in front of a first line",
  HTTP1_BAD_TRANSFER_ENCODING:
    "llhttp reads other codings before chunked, chunked in HTTP/1.0, and any coding until the end",
  HTTP1_AMBIGUOUS_HEADER_NAME: "Transfer_Encoding is another name to llhttp",
  HTTP1_BODY_NOT_ALLOWED: "llhttp reads a body of TRACE, and lengths of 1xx",
  HTTP1_BAD_CONTENT_LENGTH: "llhttp reads lengths up to 2^64",
  HTTP1_BAD_CONNECTION: "llhttp does not read all of Connection and Upgrade",
  HTTP1_BAD_EXPECT: "llhttp does not read Expect",
  HTTP1_FORBIDDEN_TRAILER: "llhttp takes any field as a trailer",
};

/** llhttp counts to 2^64, where we stop at what numbers hold exactly; and takes extensions without a name or a value. */
const looseChunk = /[0-9a-f]{13}|^[0-9a-f]+;/im;

/** The space around a value may be a tab (RFC 9110 §5.5). llhttp refuses it behind `chunked`, or reads a response until its end. */
const chunkedBeforeTab = /chunked[ \t]*\t[ \t]*\r?\n/i;

/** What we read on purpose and llhttp refuses: `HPE_…` codes. */
function isLooser(message: ReadResult<AnyHead>["messages"][number], error: string | undefined): boolean {
  const { method = "" } = message.head;
  // A method is any token (RFC 9110 §9.1); llhttp has a list, and takes PRI for the preface of HTTP/2 only.
  return (error === "HPE_INVALID_METHOD" && !llhttpMethods.has(method)) || method === "PRI";
}

/** One parser of ours: the cuts do not matter, and what it accepts llhttp reads in the same way. */
export function http1Target(kind: Kind): FuzzTarget {
  const random = new Random(1);
  return {
    name: `http1-${kind}`,
    seeds: Array.from({ length: 20 }, () => generateHttp1(kind, random)),
    dictionary: [
      "\r\n",
      "\n",
      "\r",
      ": ",
      "0\r\n\r\n",
      "Content-Length: ",
      "Transfer-Encoding: chunked\r\n",
      "HTTP/1.1",
      ";",
      ",",
      "\t",
      "\0",
    ].map(latin1),
    generate: (random) => generateHttp1(kind, random),
    run(input) {
      const ours = read(kind, [input]);
      const whole = JSON.stringify(plain(ours));
      const cut = JSON.stringify(plain(read(kind, cutAtRandom(input))));
      if (whole !== cut) throw new Error(`The cuts of the input matter:\n${whole}\nor\n${cut}`);
      compare(kind, input, ours);
    },
  };
}

function read(kind: Kind, pieces: readonly Uint8Array[]): ReadResult<AnyHead> {
  if (kind === "request") return readRequests(pieces, { finish: true });
  return readResponses(
    pieces,
    Array.from({ length: 8 }, () => ({ method: "GET" })),
    { finish: true },
  );
}

function cutAtRandom(input: Uint8Array): Uint8Array[] {
  const random = new Random(input.length);
  const pieces: Uint8Array[] = [];
  for (let at = 0; at < input.length;) {
    const end = at + 1 + random.int(random.chance(2) ? 3 : 40);
    pieces.push(input.subarray(at, end));
    at = end;
  }
  return pieces;
}

function compare(kind: Kind, input: Uint8Array, ours: ReadResult<AnyHead>): void {
  const text = Buffer.from(input).toString("latin1");
  if (chunkedBeforeTab.test(text)) return;
  const theirs = readWithLlhttp(kind, input, true);
  const messages = theirs.messages.filter(({ status }) => !isInformational(status));
  for (const [i, message] of ours.messages.entries()) {
    if (message.trailers === undefined) break;
    const other = messages[i];
    if (other === undefined && isLooser(message, theirs.error)) return;
    const mine = describe(kind, message.head, [...message.head.headers, ...message.trailers], message.body);
    const its = other === undefined ? "nothing" : describe(kind, other, other.fields, other.body);
    // We may close more often, when the fields contradict one another; never less.
    if (mine !== its || (message.head.keepAlive && other?.keepAlive === false))
      throw new Error(`Message ${i}: we read\n${mine}\nllhttp read (${theirs.error})\n${its}`);
    // Nobody reads on after the last message of a connection; llhttp refuses to.
    if (!message.head.keepAlive) return;
  }
  // What follows an upgrade is nothing that llhttp reads.
  if (ours.error === undefined || theirs.error !== undefined || theirs.upgraded) return;
  const code = ours.error.code as Http1ErrorCode;
  // A begun line, or a response that is still due: nothing that llhttp calls a message either.
  if (code === "HTTP1_TRUNCATED" && countComplete(messages) <= ours.messages.length) return;
  if (code === "HTTP1_BAD_CHUNK" && looseChunk.test(text)) return;
  if (stricter[code] === undefined) throw new Error(`We refuse with ${code} what llhttp accepts`);
}

function describe(
  kind: Kind,
  head: Pick<AnyHead, "method" | "target" | "status">,
  fields: readonly (readonly [string, string])[],
  body: string,
): string {
  const first = kind === "request" ? [head.method, head.target] : [head.status];
  return JSON.stringify([...first, fields.map(([name, value]) => [name.toLowerCase(), value]), body]);
}

function countComplete(messages: readonly LlhttpMessage[]): number {
  return messages.filter(({ complete }) => complete).length;
}

function isInformational(status: number): boolean {
  return status >= 100 && status < 200 && status !== 101;
}
