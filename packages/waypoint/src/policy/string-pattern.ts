/** A compiled value of a policy list. */
export type StringPattern = (text: string) => boolean;

/**
 * Istio's string match: `*` any value that is not empty, `x*` prefix, `*x` suffix, else exact. A `*` elsewhere is an
 * ordinary character.
 */
export function compilePattern(pattern: string): StringPattern {
  if (pattern === "*") return (text) => text !== "";
  if (pattern.endsWith("*")) {
    const prefix = pattern.slice(0, -1);
    return (text) => text.startsWith(prefix);
  }
  if (pattern.startsWith("*")) {
    const suffix = pattern.slice(1);
    return (text) => text.endsWith(suffix);
  }
  return (text) => text === pattern;
}

/** As {@link compilePattern}, letters of either case alike (host names). */
export function compileCaselessPattern(pattern: string): StringPattern {
  const match = compilePattern(pattern.toLowerCase());
  return (text) => match(text.toLowerCase());
}

/** A namespace pattern, in which every `*` stands for any text (Istio's namespaceGenerator). */
export function compileNamespacePattern(pattern: string): StringPattern {
  const parts = pattern.split("*");
  const [first = "", ...rest] = parts;
  if (rest.length === 0) return (text) => text === pattern;
  const last = rest.pop() ?? "";
  return (text) => {
    if (!text.startsWith(first) || !text.endsWith(last) || text.length < first.length + last.length) return false;
    let at = first.length;
    for (const part of rest) {
      const found = text.indexOf(part, at);
      if (found < 0 || found + part.length > text.length - last.length) return false;
      at = found + part.length;
    }
    return true;
  };
}

/**
 * A path pattern: as {@link compilePattern}, and a template when it holds `{*}` (one segment) or `{**}` (any number of
 * segments, also none). Undefined for a template Istio refuses: other braces, a part of a segment, `{**}` before another
 * template.
 */
export function compilePathPattern(pattern: string): StringPattern | undefined {
  if (!pattern.includes("{")) return compilePattern(pattern);
  const segments = pattern.split("/").slice(1);
  const many = segments.indexOf("{**}");
  const braces = segments.filter((segment) => /[{}*]/.test(segment));
  if (!pattern.startsWith("/") || braces.some((segment) => segment !== "{*}" && segment !== "{**}")) return undefined;
  if (many >= 0 && segments.slice(many + 1).some((segment) => segment.startsWith("{"))) return undefined;
  const head = many < 0 ? segments : segments.slice(0, many);
  const tail = many < 0 ? [] : segments.slice(many + 1);
  return (path) => {
    const given = path.split("/").slice(1);
    if (many < 0 ? given.length !== head.length : given.length < head.length + tail.length) return false;
    return (
      matchSegments(given.slice(0, head.length), head) && matchSegments(given.slice(given.length - tail.length), tail)
    );
  };
}

function matchSegments(given: readonly string[], wanted: readonly string[]): boolean {
  return wanted.every((segment, index) => (segment === "{*}" ? given[index] !== "" : given[index] === segment));
}
