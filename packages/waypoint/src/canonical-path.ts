/** The one form of a request target that routing, authorization and the upstream see. */
export interface CanonicalTarget {
  /** Begins with `/` (or is `*`); dot segments are resolved, unreserved characters are not percent-encoded. */
  readonly path: string;
  /** With its `?`; empty when there is none. Untouched: no policy looks at it. */
  readonly query: string;
}

/**
 * Brings a target into canonical form, or says undefined when it has none that every server behind us would read alike
 * (RFC 3986 §6.2.2; Istio's BASE path normalization). Refused: fragments, bytes outside printable ASCII, broken
 * percent-encodings, encoded NUL, and dot segments in disguise (`..%2F`, `..;x/`), which some servers resolve and some do
 * not. A backslash becomes a slash, as in Envoy. `%2F` stays: it is data, not a separator.
 */
export function canonicalTarget(target: string): CanonicalTarget | undefined {
  if (isPlainPath(target)) return { path: target, query: "" };
  if (target === "*") return { path: "*", query: "" };
  if (!/^[/\\][!-~]*$/.test(target) || target.includes("#")) return undefined;
  const at = target.indexOf("?");
  const rawPath = at < 0 ? target : target.slice(0, at);
  const query = at < 0 ? "" : target.slice(at);
  if (/%(?![0-9A-Fa-f]{2})/.test(rawPath) || /%00/.test(rawPath)) return undefined;
  const decoded = rawPath
    .replaceAll(/%([0-9A-Fa-f]{2})/g, (whole, hex: string) => {
      const char = String.fromCharCode(Number.parseInt(hex, 16));
      return /[A-Za-z0-9._~-]/.test(char) ? char : whole.toUpperCase();
    })
    .replaceAll("\\", "/");
  const path = removeDotSegments(decoded);
  return hidesDotSegments(path) ? undefined : { path, query };
}

/** A path that is canonical as it is, found by one look: nothing encoded, no backslash, dot segment, parameter or query. */
function isPlainPath(target: string): boolean {
  return /^\/[A-Za-z0-9._~!$&'()*+,=:@/-]*$/.test(target) && !target.includes("/.");
}

/** The path as a server reads it that drops parameters (`;x`), merges slashes and decodes `%2F`; undefined: no different. */
export function loosePath(path: string): string | undefined {
  if (!/;|\/\/|%2F|%5C/.test(path)) return undefined;
  return path
    .replaceAll(/%2F|%5C/g, "/")
    .replaceAll(/;[^/]*/g, "")
    .replaceAll(/\/{2,}/g, "/");
}

/** Whether a segment is a dot segment once parameters are dropped or `%2F` and `%5C` are taken for slashes. */
function hidesDotSegments(path: string): boolean {
  if (!/;|%2F|%5C/.test(path)) return false;
  return path.split(/\/|%2F|%5C/).some((segment) => /^\.\.?(;|$)/.test(segment));
}

/** RFC 3986 §5.2.4; a path that climbs above the root stays at the root. Empty segments are kept. */
function removeDotSegments(path: string): string {
  if (!path.includes("/.")) return path;
  const output: string[] = [];
  const segments = path.split("/").slice(1);
  for (const [index, segment] of segments.entries()) {
    const last = index === segments.length - 1;
    if (segment === "." || segment === "..") {
      if (segment === "..") output.pop();
      if (last) output.push("");
    } else {
      output.push(segment);
    }
  }
  return `/${output.join("/")}`;
}
