import { randomUUID } from "node:crypto";
import { isIPv6 } from "node:net";
import { findHeader, type HeaderField, type HeaderList } from "@hairpin/wire";
import { canonicalTarget } from "./canonical-path.ts";
import { upgradeField } from "./http/http-stream.ts";
import type { RequestHead } from "./request-head.ts";

export type ReadRequest =
  | {
      readonly kind: "request";
      readonly head: RequestHead;
      readonly isGrpc: boolean;
      readonly upgrade: string | undefined;
    }
  | { readonly kind: "bad-request"; readonly reason: string };

/**
 * Turns a head as it came, by whatever version, into the one form that routing, policies and the upstream see. Refused:
 * CONNECT, lower-case methods, a missing or odd authority, a target without canonical form. `defaultAuthority` is for HTTP/1.0,
 * which knows requests without Host.
 */
export function readRequest(headers: HeaderList, defaultAuthority: string): ReadRequest {
  const fields: HeaderField[] = [];
  const hosts: string[] = [];
  const cookies: string[] = [];
  for (const field of headers) {
    if (field.name.startsWith(":")) continue;
    if (field.name === "host") hosts.push(field.value);
    else if (field.name === "cookie") cookies.push(field.value);
    else if (!isMeshOwned(field.name)) fields.push(field);
  }
  // HTTP/2 splits cookies (RFC 9113 §8.2.3): whoever matches them must see them whole.
  if (cookies.length > 0) fields.push({ name: "cookie", value: cookies.join("; ") });
  const method = findHeader(headers, ":method") ?? "";
  if (method === "CONNECT" || findHeader(headers, ":protocol") !== undefined) return bad("CONNECT is not proxied");
  // Some servers do not tell `get` from `GET`, and so would pass what a policy about GET does not match. HTTP/1.1's parser agrees.
  if (!/^[A-Z0-9!#$%&'*+.^_|~-]{1,32}$/.test(method)) return bad("the method is not in upper case");
  // HTTP/2 clients may send Host instead of :authority (RFC 9113 §8.3.1); both must agree.
  const authority = (findHeader(headers, ":authority") || hosts[0] || defaultAuthority).toLowerCase();
  if (!isHost(authority)) return bad("the host is missing or malformed");
  if (hosts.some((host) => host.toLowerCase() !== authority)) return bad("Host differs from :authority");
  const target = canonicalTarget(findHeader(headers, ":path") ?? "");
  if (!target || (target.path === "*" && method !== "OPTIONS")) return bad("the request target has no canonical form");
  return {
    kind: "request",
    head: { method, scheme: "http", authority, path: target.path, query: target.query, headers: withDefaults(fields) },
    isGrpc: fields.some(({ name, value }) => name === "content-type" && /^application\/grpc($|[+;])/i.test(value)),
    upgrade: findHeader(headers, upgradeField),
  };
}

function bad(reason: string): ReadRequest {
  return { kind: "bad-request", reason };
}

/**
 * Fields that only the mesh may set are taken off what clients send (istio-ambient.md §6: XFCC is sanitised), also under the
 * names that gateways which map `-` to `_` cannot tell from them.
 */
function isMeshOwned(name: string): boolean {
  const plain = name.includes("_") ? name.replaceAll("_", "-") : name;
  return plain.startsWith("x-hairpin-") || plain === "x-forwarded-client-cert";
}

/** A name, IPv4 or `[IPv6]`, and perhaps a port; what HTTP/1.1's parser takes. */
function isHost(authority: string): boolean {
  if (/^[a-z0-9._~-]{1,255}(?::[0-9]{1,4})?$/.test(authority)) return true;
  const match = /^(?:([a-z0-9._~-]{1,255})|\[([0-9a-f:.]+)\])(?::([0-9]{1,5}))?$/.exec(authority);
  if (!match) return false;
  const [, , ipv6, port = "0"] = match;
  return (ipv6 === undefined || isIPv6(ipv6)) && Number(port) <= 65_535;
}

/** Istio's proxies give every request an id and say how it came. */
function withDefaults(fields: HeaderField[]): HeaderField[] {
  if (!fields.some(({ name }) => name === "x-request-id")) fields.push({ name: "x-request-id", value: randomUUID() });
  if (!fields.some(({ name }) => name === "x-forwarded-proto"))
    fields.push({ name: "x-forwarded-proto", value: "http" });
  return fields;
}

/** The head as a header list for the upstream connection. */
export function writeRequest(head: RequestHead, upgrade: string | undefined): HeaderField[] {
  const list: HeaderField[] = [
    { name: ":method", value: head.method },
    { name: ":scheme", value: head.scheme },
    { name: ":authority", value: head.authority },
    { name: ":path", value: head.path + head.query },
  ];
  if (upgrade !== undefined) list.push({ name: upgradeField, value: upgrade });
  for (const field of head.headers) list.push(field);
  return list;
}

/** Rough size on the wire: names, values and what separates them. */
export function headBytes(headers: HeaderList): number {
  let bytes = 0;
  for (const { name, value } of headers) bytes += name.length + value.length + 4;
  return bytes;
}
