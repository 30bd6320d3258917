// What the fields of a head say about its body and its connection. Anything that two readers could read differently is an
// error: that difference is what request smuggling lives on (RFC 9112 §6.3, §11.2).
import { Http1Error } from "./errors.ts";
import { quote } from "./field-reader.ts";
import type { Http1Headers } from "./headers.ts";
import type { Http1Version } from "./message.ts";
import { parseContentLength, parseTokenList } from "./syntax.ts";

/** Length as announced, before the rules about methods and statuses. */
export type AnnouncedBody =
  | { readonly kind: "none" }
  | { readonly kind: "length"; readonly length: number }
  | { readonly kind: "chunked" };

export function readAnnouncedBody(headers: Http1Headers, version: Http1Version): AnnouncedBody {
  if (headers.has("transfer-encoding")) return readTransferEncoding(headers, version);
  const text = headers.get("content-length");
  if (text === undefined) return noBody;
  if (headers.isRepeated("content-length"))
    throw new Http1Error("HTTP1_DUPLICATE_CONTENT_LENGTH", "Content-Length repeated");
  const length = parseContentLength(text);
  if (length === undefined) throw new Http1Error("HTTP1_BAD_CONTENT_LENGTH", `Bad Content-Length ${quote(text)}`);
  return { kind: "length", length };
}

const noBody: AnnouncedBody = { kind: "none" };

function readTransferEncoding(headers: Http1Headers, version: Http1Version): AnnouncedBody {
  if (headers.has("content-length"))
    throw new Http1Error("HTTP1_LENGTH_AND_TRANSFER_ENCODING", "Both Content-Length and Transfer-Encoding");
  if (version === "1.0") throw new Http1Error("HTTP1_BAD_TRANSFER_ENCODING", "Transfer-Encoding in HTTP/1.0");
  if (headers.isRepeated("transfer-encoding"))
    throw new Http1Error("HTTP1_BAD_TRANSFER_ENCODING", "Transfer-Encoding repeated");
  const encoding = headers.get("transfer-encoding") ?? "";
  if (encoding.toLowerCase() !== "chunked") {
    // 501 as RFC 9112 §6.1 asks for codings that are not implemented.
    throw new Http1Error("HTTP1_BAD_TRANSFER_ENCODING", `Transfer-Encoding ${quote(encoding)} is not "chunked"`, 501);
  }
  return { kind: "chunked" };
}

/** Whether a body of at least one byte, or of unknown length, was announced. */
export function announcesContent(body: AnnouncedBody): boolean {
  return body.kind === "chunked" || (body.kind === "length" && body.length > 0);
}

/** A field that a proxy would remove because `Connection` names it, although the message depends on it. */
const neverHopByHop: readonly string[] = ["content-length", "transfer-encoding", "host"];

export interface ConnectionFields {
  readonly tokens: readonly string[];
  /** RFC 9112 §9.3, `close` wins over `keep-alive`. */
  readonly keepAlive: boolean;
  readonly upgrade: readonly string[];
}

export function readConnection(headers: Http1Headers, version: Http1Version): ConnectionFields {
  if (!headers.has("connection") && !headers.has("upgrade")) return plainConnection[version];
  const tokens = parseTokenList(headers.getAll("connection"));
  if (tokens === undefined) throw new Http1Error("HTTP1_BAD_CONNECTION", "Connection is not a list of tokens");
  const misnamed = tokens.find((token) => neverHopByHop.includes(token));
  if (misnamed !== undefined) throw new Http1Error("HTTP1_BAD_CONNECTION", `Connection names ${misnamed}`);
  const keepAlive = !tokens.includes("close") && (version === "1.1" || tokens.includes("keep-alive"));
  const upgrade = version === "1.1" && tokens.includes("upgrade") ? readUpgrade(headers) : [];
  return { tokens, keepAlive, upgrade };
}

const plainConnection: Readonly<Record<Http1Version, ConnectionFields>> = {
  "1.0": { tokens: [], keepAlive: false, upgrade: [] },
  "1.1": { tokens: [], keepAlive: true, upgrade: [] },
};

function readUpgrade(headers: Http1Headers): string[] {
  // protocol-name ["/" protocol-version] (RFC 9110 §7.8)
  const protocols = headers
    .getAll("upgrade")
    .flatMap((value) => value.split(","))
    .map((protocol) => protocol.trim().toLowerCase())
    .filter((protocol) => protocol !== "");
  const bad = protocols.find((protocol) => parseTokenList([protocol.replace("/", "-")]) === undefined);
  if (bad !== undefined) throw new Http1Error("HTTP1_BAD_CONNECTION", `Bad Upgrade ${quote(bad)}`);
  return protocols;
}

/** Fields of one connection (RFC 9110 §7.6.1) and of the framing, which the writer makes anew. */
const hopByHop: readonly string[] = [
  "connection",
  "content-length",
  "http2-settings",
  "keep-alive",
  "proxy-connection",
  "te",
  "transfer-encoding",
  "upgrade",
];

/** A copy of the fields that a proxy passes on: without those of this connection and those that `Connection` names. */
export function endToEndHeaders(head: {
  readonly headers: Http1Headers;
  readonly connectionTokens: readonly string[];
}): Http1Headers {
  const headers = head.headers.clone();
  for (const name of hopByHop) headers.delete(name);
  for (const name of head.connectionTokens) headers.delete(name);
  return headers;
}
