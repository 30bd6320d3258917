import { randomUUID } from "node:crypto";
import type { HeaderField, HeaderList } from "@hairpin/wire";
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

/** Fields that only the mesh may set: taken off what clients send (istio-ambient.md §6: XFCC is sanitised). */
const untrusted = new Set(["x-forwarded-client-cert", "x-hairpin-source", "x-hairpin-for"]);

/**
 * Turns a head as it came, by whatever version, into the one form that routing, policies and the upstream see. Refused:
 * CONNECT, a missing authority, a target without canonical form.
 */
export function readRequest(headers: HeaderList): ReadRequest {
  const pseudo = new Map<string, string>();
  const fields: HeaderField[] = [];
  for (const field of headers) {
    if (field.name.startsWith(":")) pseudo.set(field.name, field.value);
    else if (!untrusted.has(field.name)) fields.push(field);
  }
  const method = pseudo.get(":method") ?? "";
  if (method === "CONNECT" || pseudo.has(":protocol")) return { kind: "bad-request", reason: "CONNECT is not proxied" };
  // HTTP/2 clients may send Host instead of :authority (RFC 9113 §8.3.1); both must agree.
  const hosts = fields.filter(({ name }) => name === "host").map(({ value }) => value);
  const authority = (pseudo.get(":authority") ?? hosts[0] ?? "").toLowerCase();
  if (authority === "") return { kind: "bad-request", reason: "no Host" };
  if (hosts.some((host) => host.toLowerCase() !== authority))
    return { kind: "bad-request", reason: "Host differs from :authority" };
  const target = canonicalTarget(pseudo.get(":path") ?? "");
  if (!target || (target.path === "*" && method !== "OPTIONS"))
    return { kind: "bad-request", reason: "the request target has no canonical form" };
  const own = fields.filter(({ name }) => name !== "host");
  return {
    kind: "request",
    head: { method, scheme: "http", authority, path: target.path, query: target.query, headers: withDefaults(own) },
    isGrpc: own.some(({ name, value }) => name === "content-type" && /^application\/grpc($|[+;])/.test(value)),
    upgrade: pseudo.get(upgradeField),
  };
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
  const pseudo = [
    { name: ":method", value: head.method },
    { name: ":scheme", value: head.scheme },
    { name: ":authority", value: head.authority },
    { name: ":path", value: head.path + head.query },
  ];
  const upgradeFields = upgrade === undefined ? [] : [{ name: upgradeField, value: upgrade }];
  return [...pseudo, ...upgradeFields, ...head.headers];
}

/** Rough size on the wire: names, values and what separates them. */
export function headBytes(headers: HeaderList): number {
  return headers.reduce((sum, { name, value }) => sum + name.length + value.length + 4, 0);
}
