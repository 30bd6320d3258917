import {
  Http1Headers,
  type BodyFraming,
  type HeaderField,
  type HeaderList,
  type Http1RequestHead,
  type Http1ResponseHead,
} from "@hairpin/wire";
import { hopByHopFields, upgradeField } from "./http-stream.ts";

/** An HTTP/1.1 request head as a header list: pseudo-header fields, then the fields that may pass the hop. */
export function requestToList(head: Http1RequestHead): HeaderField[] {
  const upgrade = head.upgrade.includes("websocket") ? [{ name: upgradeField, value: "websocket" }] : [];
  return [
    { name: ":method", value: head.method },
    { name: ":scheme", value: "http" },
    { name: ":authority", value: head.authority ?? "" },
    { name: ":path", value: head.path },
    ...upgrade,
    ...endToEndFields(head.headers, head.connectionTokens).filter(({ name }) => name !== "host"),
  ];
}

/** An HTTP/1.1 response head as a header list. */
export function responseToList(head: Http1ResponseHead): HeaderField[] {
  const upgrade = head.status === 101 ? [{ name: upgradeField, value: head.upgrade[0] ?? "websocket" }] : [];
  return [
    { name: ":status", value: String(head.status) },
    ...upgrade,
    ...endToEndFields(head.headers, head.connectionTokens),
  ];
}

/** Trailers as a header list. */
export function trailersToList(trailers: Http1Headers | undefined): HeaderField[] | undefined {
  return trailers && endToEndFields(trailers, []);
}

function endToEndFields(headers: Http1Headers, connectionTokens: readonly string[]): HeaderField[] {
  const fields: HeaderField[] = [];
  for (const [name, value] of headers.lowerCased()) {
    if (!hopByHopFields.has(name) && !connectionTokens.includes(name)) fields.push({ name, value });
  }
  return fields;
}

/** The ordinary fields of a list as HTTP/1.1 headers, without framing: the writer adds it. */
export function listToHeaders(list: HeaderList): Http1Headers {
  const headers = new Http1Headers();
  const cookies: string[] = [];
  for (const { name, value } of list) {
    if (name === "cookie") cookies.push(value);
    else if (!name.startsWith(":") && name !== "content-length" && !hopByHopFields.has(name))
      headers.append(name, value);
  }
  // HTTP/2 splits cookies to compress them better; HTTP/1.1 knows one field only (RFC 9113 §8.2.3).
  if (cookies.length > 0) headers.append("cookie", cookies.join("; "));
  return headers;
}

/** The body's framing: by the list's content-length, else none when the message ends with its head, else as given. */
export function framingOf(list: HeaderList, endStream: boolean, otherwise: BodyFraming): BodyFraming {
  const length = list.find(({ name }) => name === "content-length")?.value;
  if (length !== undefined && /^[0-9]{1,15}$/.test(length)) return { kind: "length", length: Number(length) };
  return endStream ? { kind: "none" } : otherwise;
}
