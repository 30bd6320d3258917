import { Http1Error } from "./errors.ts";
import { quote } from "./field-reader.ts";
import type { TargetForm } from "./message.ts";
import { type HostAndPort, isTargetText, parseHost } from "./syntax.ts";

export interface RequestTarget {
  readonly form: TargetForm;
  /** Origin form; empty for CONNECT. */
  readonly path: string;
  readonly authority: HostAndPort | undefined;
  /** Of the scheme in absolute form. */
  readonly defaultPort: number | undefined;
}

/**
 * The four forms of RFC 9112 §3.2, each only with the methods it belongs to. Visible ASCII without `#`; the path is not
 * normalised or decoded here. Throws `HTTP1_BAD_TARGET` or `HTTP1_BAD_HOST`.
 */
export function parseTarget(method: string, target: string): RequestTarget {
  if (!isTargetText(target)) throw badTarget(target);
  if (method === "CONNECT") {
    const authority = parseHost(target);
    if (authority.port === undefined || authority.port === 0) throw badTarget(target);
    return { form: "authority", path: "", authority, defaultPort: undefined };
  }
  if (target.startsWith("/")) return { form: "origin", path: target, authority: undefined, defaultPort: undefined };
  if (target === "*" && method === "OPTIONS")
    return { form: "asterisk", path: "*", authority: undefined, defaultPort: undefined };
  return parseAbsolute(method, target);
}

function parseAbsolute(method: string, target: string): RequestTarget {
  const match = /^(https?):\/\/([^/?]*)(.*)$/i.exec(target);
  if (match === null) throw badTarget(target);
  const [, scheme, authority, rest] = match as unknown as [string, string, string, string];
  return {
    form: "absolute",
    path: rest.startsWith("/") ? rest : emptyPath(method, rest),
    // User information (`user@host`) fails here: it hides the real host from a careless reader (RFC 9110 §4.2.4).
    authority: parseHost(authority),
    defaultPort: scheme.toLowerCase() === "https" ? 443 : 80,
  };
}

/** RFC 9112 §3.2.4: OPTIONS for the server as a whole becomes `*` at the last proxy. */
function emptyPath(method: string, query: string): string {
  return method === "OPTIONS" && query === "" ? "*" : `/${query}`;
}

function badTarget(target: string): Http1Error {
  return new Http1Error("HTTP1_BAD_TARGET", `Bad request target ${quote(target)}`);
}
