import type { hairpinWaypoint } from "@hairpin/shared/api";

/** The path after a redirect's or rewrite's path modifier (the table of HTTPPathModifier in the Gateway API). */
export function modifyPath(
  path: string,
  modifier: hairpinWaypoint.PathModifier | undefined,
  pathPrefix: string | undefined,
): string {
  const change = modifier?.modifier;
  if (change?.case === "replaceFullPath") return change.value === "" ? "/" : change.value;
  if (change?.case === "replacePrefixMatch") return replacePrefix(path, pathPrefix ?? "/", change.value);
  return path;
}

/** `/foo/bar` with prefix `/foo` and replacement `/xyz` becomes `/xyz/bar`; slashes at the seam are neither doubled nor lost. */
function replacePrefix(path: string, prefix: string, replacement: string): string {
  const rest = prefix === "/" ? path : path.slice(prefix.length);
  const head = replacement.endsWith("/") ? replacement.slice(0, -1) : replacement;
  if (rest === "") return replacement === "" ? "/" : replacement;
  return rest.startsWith("/") ? `${head}${rest}` : `${head}/${rest}`;
}
