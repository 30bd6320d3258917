// RFC 9113 §8.2.2, §8.3, §8.5 and RFC 8441 on whole header lists: which fields a request, response or trailer section may have.
// Pure: a list in, facts or the reason for refusal out. Both directions use it, so we never send what we would refuse.

import { isToken } from "./field-syntax.ts";
import type { HeaderList } from "./header-field.ts";

/** What the stream must know of a head, or why the message is malformed. */
export interface HeadFacts {
  readonly problem: string | undefined;
  readonly method: string;
  /** -1 in requests. */
  readonly status: number;
  /** -1: not given. */
  readonly contentLength: number;
}

const CONNECTION_SPECIFIC: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-connection",
  "transfer-encoding",
  "upgrade",
]);
const REQUEST_PSEUDO: ReadonlySet<string> = new Set([":method", ":scheme", ":authority", ":path", ":protocol"]);
const RESPONSE_PSEUDO: ReadonlySet<string> = new Set([":status"]);
const NO_PSEUDO: ReadonlySet<string> = new Set();

/** RFC 3986 §3.1. */
const SCHEME = /^[a-z][a-z0-9+.-]*$/i;
/** Host and port without user information, path, query or fragment. Resolving it is the caller's job. */
const AUTHORITY = /^[!$-.0-;=A-[\]_a-z~]+$/;
/** Visible ASCII; a fragment is no part of a target, raw 8-bit bytes mean different things to different readers. */
const PATH = /^[\u0021\u0022\u0024-\u007e]+$/;
const STATUS = /^[1-5][0-9][0-9]$/;
/** 15 digits are exact in a double. */
const CONTENT_LENGTH = /^[0-9]{1,15}$/;

/** What {@link scan} gathered. */
interface Scan {
  problem: string | undefined;
  pseudo: Map<string, string>;
  host: string | undefined;
  contentLength: number;
}

/** A request's head. `extendedConnect`: RFC 8441 was agreed. */
export function checkRequestHead(headers: HeaderList, extendedConnect: boolean): HeadFacts {
  const found = scan(headers, REQUEST_PSEUDO);
  const method = found.pseudo.get(":method") ?? "";
  const problem = found.problem ?? findRequestProblem(found, method, extendedConnect);
  return { problem, method, status: -1, contentLength: found.contentLength };
}

/** A response's head, final or informational. */
export function checkResponseHead(headers: HeaderList): HeadFacts {
  const found = scan(headers, RESPONSE_PSEUDO);
  const status = found.pseudo.get(":status");
  let { problem } = found;
  if (status === undefined) problem ??= "a response needs :status";
  else if (!STATUS.test(status)) problem ??= `:status ${JSON.stringify(status)} is not a status code`;
  // RFC 9113 §8.6: HTTP/2 has no 101.
  else if (status === "101") problem ??= ":status 101 does not exist in HTTP/2";
  return { problem, method: "", status: Number(status), contentLength: found.contentLength };
}

/** Why a trailer section is malformed, or undefined. */
export function findTrailerProblem(headers: HeaderList): string | undefined {
  const found = scan(headers, NO_PSEUDO);
  if (found.problem !== undefined) return found.problem;
  // RFC 9110 §6.5.1: framing and routing fields mean nothing, or something dangerous, at the end.
  if (found.contentLength >= 0) return "content-length is not allowed in trailers";
  return found.host === undefined ? undefined : "host is not allowed in trailers";
}

function scan(headers: HeaderList, allowedPseudo: ReadonlySet<string>): Scan {
  const found: Scan = { problem: undefined, pseudo: new Map(), host: undefined, contentLength: -1 };
  let regularSeen = false;
  for (const { name, value } of headers) {
    if (name.charCodeAt(0) === 0x3a) {
      if (!allowedPseudo.has(name)) found.problem ??= `${name} is not allowed here`;
      else if (regularSeen) found.problem ??= `${name} comes after a regular field`;
      else if (found.pseudo.has(name)) found.problem ??= `${name} is repeated`;
      found.pseudo.set(name, value);
      continue;
    }
    regularSeen = true;
    found.problem ??= inspectRegular(found, name, value);
  }
  return found;
}

function inspectRegular(found: Scan, name: string, value: string): string | undefined {
  if (CONNECTION_SPECIFIC.has(name)) return `${name} is connection-specific, which HTTP/2 does not allow`;
  switch (name) {
    case "te":
      return value.toLowerCase() === "trailers" ? undefined : 'te may only be "trailers"';
    case "host":
      if (found.host !== undefined) return "host is repeated";
      found.host = value;
      return undefined;
    case "content-length":
      if (found.contentLength >= 0) return "content-length is repeated";
      if (!CONTENT_LENGTH.test(value)) return `content-length ${JSON.stringify(value)} is not a number`;
      found.contentLength = Number(value);
      return undefined;
    default:
      return undefined;
  }
}

function findRequestProblem(found: Scan, method: string, extendedConnect: boolean): string | undefined {
  const { pseudo } = found;
  if (!isToken(method)) return pseudo.has(":method") ? ":method is not a token" : "a request needs :method";
  const protocol = pseudo.get(":protocol");
  if (protocol !== undefined) {
    if (!extendedConnect) return ":protocol was not agreed on";
    if (method !== "CONNECT") return ":protocol is for CONNECT only";
    if (!isToken(protocol)) return ":protocol is not a token";
  }
  return findAuthorityProblem(found) ?? findTargetProblem(pseudo, method === "CONNECT" && protocol === undefined);
}

function findAuthorityProblem(found: Scan): string | undefined {
  const authority = found.pseudo.get(":authority");
  if (authority !== undefined && !AUTHORITY.test(authority)) {
    return `:authority ${JSON.stringify(authority)} is not a host and port`;
  }
  if (found.host === undefined) return undefined;
  if (!AUTHORITY.test(found.host)) return `host ${JSON.stringify(found.host)} is not a host and port`;
  // §8.3.1: two names for one request are two requests to somebody.
  if (authority !== undefined && authority.toLowerCase() !== found.host.toLowerCase()) {
    return "host differs from :authority";
  }
  return undefined;
}

function findTargetProblem(pseudo: ReadonlyMap<string, string>, classicConnect: boolean): string | undefined {
  const scheme = pseudo.get(":scheme");
  const path = pseudo.get(":path");
  if (classicConnect) {
    // §8.5: exactly :method and :authority.
    if (scheme !== undefined || path !== undefined) return "CONNECT must not have :scheme or :path";
    return pseudo.has(":authority") ? undefined : "CONNECT needs :authority";
  }
  if (scheme === undefined || !SCHEME.test(scheme)) return "a request needs a valid :scheme";
  if (path === undefined || path === "") return "a request needs :path";
  if (!PATH.test(path)) return ":path has a forbidden character";
  const isHttp = scheme === "http" || scheme === "https";
  if (!isHttp || path.startsWith("/")) return undefined;
  return path === "*" && pseudo.get(":method") === "OPTIONS" ? undefined : ":path must begin with /";
}
