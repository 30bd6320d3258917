import {
  findHeader,
  Http1Headers,
  isForbiddenTrailer,
  type BodyFraming,
  type HeaderField,
  type HeaderList,
  type Http1RequestHead,
  type Http1ResponseHead,
} from "@hairpin/wire";
import { hopByHopFields, upgradeField } from "./http-stream.ts";

/** An HTTP/1.1 request head as a header list: pseudo-header fields, then the fields that may pass the hop. */
export function requestToList(head: Http1RequestHead, upgrade: boolean): HeaderField[] {
  const fields: HeaderField[] = [
    { name: ":method", value: head.method },
    { name: ":scheme", value: "http" },
    { name: ":authority", value: head.authority ?? "" },
    { name: ":path", value: head.path },
  ];
  if (upgrade) fields.push({ name: upgradeField, value: "websocket" });
  for (let index = 0; index < head.headers.size; index++) {
    const name = head.headers.lowerNameAt(index);
    if (name !== "host" && isEndToEnd(name, head.connectionTokens))
      fields.push({ name, value: head.headers.valueAt(index) });
  }
  return fields;
}

/** The only upgrade that is passed on: a GET without body to websocket (anything else could smuggle, h2c above all). */
export function asksForWebsocket(head: Http1RequestHead): boolean {
  return head.method === "GET" && head.body.kind === "none" && head.upgrade.includes("websocket");
}

/** An HTTP/1.1 response head as a header list. */
export function responseToList(head: Http1ResponseHead): HeaderField[] {
  const fields: HeaderField[] = [{ name: ":status", value: String(head.status) }];
  if (head.status === 101) fields.push({ name: upgradeField, value: head.upgrade[0] ?? "websocket" });
  for (let index = 0; index < head.headers.size; index++) {
    const name = head.headers.lowerNameAt(index);
    if (isEndToEnd(name, head.connectionTokens)) fields.push({ name, value: head.headers.valueAt(index) });
  }
  return fields;
}

/** Trailers as a header list. */
export function trailersToList(trailers: Http1Headers | undefined): HeaderField[] | undefined {
  if (!trailers) return undefined;
  return Array.from(trailers.lowerCased(), ([name, value]) => ({ name, value })).filter(({ name }) =>
    isEndToEnd(name, []),
  );
}

function isEndToEnd(lowerName: string, connectionTokens: readonly string[]): boolean {
  if (hopByHopFields.has(lowerName)) return false;
  return connectionTokens.length === 0 || !connectionTokens.includes(lowerName);
}

/** The ordinary fields of a list as HTTP/1.1 headers, after `host` if it is given, without framing: the writer adds it. */
export function listToHeaders(list: HeaderList, host?: string): Http1Headers {
  const headers = new Http1Headers();
  if (host !== undefined) headers.append("host", host, "host");
  let cookies: string | undefined;
  for (const { name, value } of list) {
    if (name === "cookie") cookies = cookies === undefined ? value : `${cookies}; ${value}`;
    else if (!name.startsWith(":") && name !== "content-length" && !hopByHopFields.has(name))
      headers.append(name, value, name);
  }
  // HTTP/2 splits cookies to compress them better; HTTP/1.1 knows one field only (RFC 9113 §8.2.3).
  if (cookies !== undefined) headers.append("cookie", cookies);
  return headers;
}

/** Trailers for HTTP/1.1. Fields that may not come there are left out, as a recipient may do (RFC 9110 §6.5.2). */
export function listToTrailers(list: HeaderList): Http1Headers {
  return listToHeaders(list.filter(({ name }) => !isForbiddenTrailer(name)));
}

/** The body's framing: by the list's content-length, else none when the message ends with its head, else as given. */
export function framingOf(list: HeaderList, endStream: boolean, otherwise: BodyFraming): BodyFraming {
  const length = findHeader(list, "content-length");
  if (length !== undefined && /^[0-9]{1,15}$/.test(length)) return { kind: "length", length: Number(length) };
  return endStream ? noBody : otherwise;
}

/** A pseudo-header field; empty when it is not there. */
export function pseudoField(list: HeaderList, name: string): string {
  return findHeader(list, name) ?? "";
}

const noBody: BodyFraming = { kind: "none" };
