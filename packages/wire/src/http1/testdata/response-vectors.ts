// Responses that must be refused, with the code, and responses that must be accepted; by the request they answer.
import type { Http1ErrorCode } from "../errors.ts";
import type { Http1ResponseHead } from "../message.ts";
import type { ResponseContext } from "../response-parser.ts";

export interface RefusedResponse {
  readonly what: string;
  readonly input: string;
  readonly code: Http1ErrorCode;
  readonly context?: ResponseContext;
}

export interface AcceptedResponse {
  readonly what: string;
  readonly input: string;
  readonly head: Partial<Http1ResponseHead>;
  readonly context?: ResponseContext;
  readonly text?: string;
  readonly rest?: string;
  /** The input ends after it. */
  readonly finish?: boolean;
}

export const response = (status: string, ...lines: string[]): string =>
  `HTTP/1.1 ${status}\r\n${lines.map((line) => `${line}\r\n`).join("")}\r\n`;

const connect: ResponseContext = { method: "CONNECT" };
const upgrade: ResponseContext = { method: "GET", upgradeRequested: true };
const head: ResponseContext = { method: "HEAD" };

export const refused: readonly RefusedResponse[] = [
  { what: "Content-Length and Transfer-Encoding", input: response("200 OK", "Content-Length: 1", "Transfer-Encoding: chunked"), code: "HTTP1_LENGTH_AND_TRANSFER_ENCODING" },
  { what: "two Content-Lengths", input: response("200 OK", "Content-Length: 1", "Content-Length: 1"), code: "HTTP1_DUPLICATE_CONTENT_LENGTH" },
  { what: "a list of lengths", input: response("200 OK", "Content-Length: 1, 1"), code: "HTTP1_BAD_CONTENT_LENGTH" },
  { what: "a signed length", input: response("200 OK", "Content-Length: +1"), code: "HTTP1_BAD_CONTENT_LENGTH" },
  { what: "gzip, chunked", input: response("200 OK", "Transfer-Encoding: gzip, chunked"), code: "HTTP1_BAD_TRANSFER_ENCODING" },
  { what: "Transfer-Encoding in HTTP/1.0", input: "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", code: "HTTP1_BAD_TRANSFER_ENCODING" },
  { what: "a bad length to HEAD", input: response("200 OK", "Content-Length: x"), code: "HTTP1_BAD_CONTENT_LENGTH", context: head },
  { what: "an ambiguous 304", input: response("304 X", "Content-Length: 1", "Transfer-Encoding: chunked"), code: "HTTP1_LENGTH_AND_TRANSFER_ENCODING" },
  { what: "a folded value", input: response("200 OK", "X: a", " b"), code: "HTTP1_FOLDED_HEADER" },
  { what: "a space before the colon", input: response("200 OK", "Content-Length : 1"), code: "HTTP1_SPACE_BEFORE_COLON" },
  { what: "a bare LF", input: "HTTP/1.1 200 OK\nX: a\r\n\r\n", code: "HTTP1_BAD_LINE_END" },
  { what: "a bare CR in the reason", input: "HTTP/1.1 200 O\rK\r\n\r\n", code: "HTTP1_BAD_LINE_END" },
  { what: "NUL in the reason", input: "HTTP/1.1 200 O\0K\r\n\r\n", code: "HTTP1_BAD_STATUS_LINE" },
  { what: "NUL in a value", input: response("200 OK", "X: \0"), code: "HTTP1_BAD_HEADER_VALUE" },
  { what: "HTTP/1.2", input: "HTTP/1.2 200 OK\r\n\r\n", code: "HTTP1_BAD_VERSION" },
  { what: "HTTP/2.0", input: "HTTP/2.0 200 OK\r\n\r\n", code: "HTTP1_BAD_VERSION" },
  { what: "HTTP/0.9", input: "<html>\r\n", code: "HTTP1_BAD_STATUS_LINE" },
  { what: "two spaces", input: "HTTP/1.1  200 OK\r\n", code: "HTTP1_BAD_STATUS_LINE" },
  { what: "two digits", input: "HTTP/1.1 20 OK\r\n", code: "HTTP1_BAD_STATUS_LINE" },
  { what: "four digits", input: "HTTP/1.1 2000 OK\r\n", code: "HTTP1_BAD_STATUS_LINE" },
  { what: "status 099", input: "HTTP/1.1 099 X\r\n", code: "HTTP1_BAD_STATUS_LINE" },
  { what: "status 600", input: "HTTP/1.1 600 X\r\n", code: "HTTP1_BAD_STATUS_LINE" },
  { what: "a signed status", input: "HTTP/1.1 +20 X\r\n", code: "HTTP1_BAD_STATUS_LINE" },
  { what: "an empty line first", input: `\r\n${response("204 No Content")}`, code: "HTTP1_BAD_STATUS_LINE" },
  { what: "a request", input: "GET / HTTP/1.1\r\n", code: "HTTP1_BAD_STATUS_LINE" },
  { what: "lower case", input: "http/1.1 200 OK\r\n", code: "HTTP1_BAD_STATUS_LINE" },
  { what: "204 with a length", input: response("204 No Content", "Content-Length: 1"), code: "HTTP1_BODY_NOT_ALLOWED" },
  { what: "204 with chunks", input: response("204 No Content", "Transfer-Encoding: chunked"), code: "HTTP1_BODY_NOT_ALLOWED" },
  { what: "100 with a length", input: response("100 Continue", "Content-Length: 1"), code: "HTTP1_BODY_NOT_ALLOWED" },
  { what: "103 with chunks", input: response("103 Early Hints", "Transfer-Encoding: chunked"), code: "HTTP1_BODY_NOT_ALLOWED" },
  { what: "2xx to CONNECT with a length", input: response("200 OK", "Content-Length: 1"), code: "HTTP1_BODY_NOT_ALLOWED", context: connect },
  { what: "2xx to CONNECT with chunks", input: response("200 OK", "Transfer-Encoding: chunked"), code: "HTTP1_BODY_NOT_ALLOWED", context: connect },
  { what: "101 nobody asked for", input: response("101 X", "Connection: upgrade", "Upgrade: websocket"), code: "HTTP1_UNEXPECTED_RESPONSE" },
  { what: "101 without Upgrade", input: response("101 X"), code: "HTTP1_UNEXPECTED_RESPONSE", context: upgrade },
  { what: "101 without Connection", input: response("101 X", "Upgrade: websocket"), code: "HTTP1_UNEXPECTED_RESPONSE", context: upgrade },
  { what: "too many 1xx", input: response("103 Early Hints").repeat(17), code: "HTTP1_TOO_MANY_INFORMATIONAL" },
  { what: "bytes after the response", input: `${response("200 OK", "Content-Length: 1")}xy`, code: "HTTP1_UNEXPECTED_RESPONSE" },
  { what: "a body after HEAD", input: `${response("200 OK", "Content-Length: 1")}x`, code: "HTTP1_UNEXPECTED_RESPONSE", context: head },
  { what: "a body after 304", input: `${response("304 Not Modified", "Content-Length: 1")}x`, code: "HTTP1_UNEXPECTED_RESPONSE" },
  { what: "a second response", input: response("204 No Content").repeat(2), code: "HTTP1_UNEXPECTED_RESPONSE" },
  { what: "Set-Cookie in trailers", input: `${response("200 OK", "Transfer-Encoding: chunked")}0\r\nSet-Cookie: a\r\n\r\n`, code: "HTTP1_FORBIDDEN_TRAILER" },
  { what: "a bad chunk", input: `${response("200 OK", "Transfer-Encoding: chunked")}x\r\n`, code: "HTTP1_BAD_CHUNK" },
  { what: "a long head", input: response("200 OK", `X: ${"a".repeat(70_000)}`), code: "HTTP1_HEAD_TOO_LARGE" },
  { what: "Connection that names Content-Length", input: response("200 OK", "Connection: content-length", "Content-Length: 1"), code: "HTTP1_BAD_CONNECTION" },
];

export const accepted: readonly AcceptedResponse[] = [
  { what: "a length", input: `${response("200 OK", "Content-Length: 3")}abc`, head: { status: 200, reason: "OK", keepAlive: true, body: { kind: "length", length: 3 } }, text: "abc" },
  { what: "chunks", input: `${response("200 OK", "Transfer-Encoding: chunked")}3\r\nabc\r\n0\r\n\r\n`, head: { keepAlive: true }, text: "abc" },
  { what: "a body up to the close", input: `${response("200 OK")}abc`, head: { keepAlive: false, body: { kind: "until-close" } }, text: "abc", finish: true },
  { what: "an empty body up to the close", input: response("200 OK"), head: { keepAlive: false }, text: "", finish: true },
  { what: "HTTP/1.0", input: "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", head: { version: "1.0", keepAlive: false }, text: "x" },
  { what: "HTTP/1.0 with keep-alive", input: "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 1\r\n\r\nx", head: { keepAlive: true }, text: "x" },
  { what: "close", input: response("200 OK", "Connection: close", "Content-Length: 0"), head: { keepAlive: false }, text: "" },
  { what: "no reason", input: response("200 ", "Content-Length: 0"), head: { status: 200, reason: "" }, text: "" },
  { what: "no space before no reason", input: response("200", "Content-Length: 0"), head: { status: 200, reason: "" }, text: "" },
  { what: "an 8-bit reason", input: response("200 \xe4 b", "Content-Length: 0"), head: { reason: "\xe4 b" }, text: "" },
  { what: "204", input: response("204 No Content"), head: { status: 204, body: { kind: "none" }, keepAlive: true }, text: "" },
  { what: "204 with length 0", input: response("204 No Content", "Content-Length: 0"), head: { status: 204 }, text: "" },
  { what: "304 with a length", input: response("304 Not Modified", "Content-Length: 5"), head: { status: 304, body: { kind: "none" } }, text: "" },
  { what: "304 without length", input: response("304 Not Modified"), head: { keepAlive: true }, text: "" },
  { what: "HEAD with a length", input: response("200 OK", "Content-Length: 5"), head: { body: { kind: "none" }, keepAlive: true }, context: head, text: "" },
  { what: "HEAD with chunks", input: response("200 OK", "Transfer-Encoding: chunked"), head: { body: { kind: "none" } }, context: head, text: "" },
  { what: "HEAD with neither", input: response("200 OK"), head: { keepAlive: true }, context: head, text: "" },
  { what: "status 599", input: response("599 X", "Content-Length: 0"), head: { status: 599 }, text: "" },
  { what: "1xx before the response", input: `${response("100 Continue")}${response("103 Early Hints", "Link: a")}${response("200 OK", "Content-Length: 0")}`, head: { status: 200 }, text: "" },
  { what: "101 that was asked for", input: `${response("101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket")}\x81raw`, head: { status: 101, tunnel: true, upgrade: ["websocket"], keepAlive: false }, context: upgrade, text: "", rest: "\x81raw" },
  { what: "2xx to CONNECT", input: `${response("200 Connection established")}raw`, head: { tunnel: true, keepAlive: false }, context: connect, text: "", rest: "raw" },
  { what: "a refusal of CONNECT", input: `${response("403 Forbidden", "Content-Length: 2")}no`, head: { tunnel: false, status: 403, keepAlive: true }, context: connect, text: "no" },
  { what: "a refusal of an upgrade", input: `${response("200 OK", "Content-Length: 2")}no`, head: { tunnel: false }, context: upgrade, text: "no" },
];
