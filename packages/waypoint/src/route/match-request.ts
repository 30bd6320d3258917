import { RE2JS } from "re2js";
import { hairpinWaypoint } from "@hairpin/shared/api";
import { headerValues, type RequestHead } from "../request-head.ts";

type Predicate = (head: RequestHead) => boolean;

/** How specific a match is, compared in order (Gateway API, HTTPRouteRule.matches): larger wins. */
export type MatchRank = readonly [
  pathKind: number,
  pathLength: number,
  method: number,
  headers: number,
  queryParams: number,
];

export interface CompiledMatch {
  readonly rank: MatchRank;
  readonly matches: Predicate;
  /** The prefix that was matched, for `ReplacePrefixMatch`; undefined when the path match is no prefix. */
  readonly pathPrefix: string | undefined;
}

const { EXACT, PREFIX, REGULAR_EXPRESSION } = hairpinWaypoint.MatchType;
const never: Predicate = () => false;

/** A match without fields: every request, as the path prefix `/`. */
export const matchAll: CompiledMatch = { rank: [2, 1, 0, 0, 0], matches: () => true, pathPrefix: "/" };

/**
 * Compiles one match of a rule; its fields are AND-ed. A regular expression that RE2 does not take never matches (control
 * reports it in the route's status). Of several header matches on one name only the first counts, as the API says.
 */
export function compileMatch(match: hairpinWaypoint.RouteMatch): CompiledMatch {
  const path = match.path ?? { type: PREFIX, value: "/" };
  const headers = firstOfEachName(match.headers, (name) => name.toLowerCase());
  const queryParams = firstOfEachName(match.queryParams, (name) => name);
  const predicates = [
    compilePath(path.type, path.value),
    ...(match.method === "" ? [] : [(head: RequestHead) => head.method === match.method]),
    ...headers.map(compileHeader),
    ...queryParams.map(compileQueryParam),
  ];
  return {
    rank: [pathKind(path.type), path.value.length, match.method === "" ? 0 : 1, headers.length, queryParams.length],
    matches: (head) => predicates.every((predicate) => predicate(head)),
    pathPrefix: path.type === PREFIX ? trimSlash(path.value) : undefined,
  };
}

/** Negative when a is more specific. */
export function compareRank(a: MatchRank, b: MatchRank): number {
  for (const [index, value] of a.entries()) {
    const difference = (b[index] ?? 0) - value;
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Exact beats prefix beats regular expression (the last is ours to choose; docs/routing.md). */
function pathKind(type: hairpinWaypoint.MatchType): number {
  return type === EXACT ? 3 : type === PREFIX ? 2 : 1;
}

function compilePath(type: hairpinWaypoint.MatchType, value: string): Predicate {
  switch (type) {
    case EXACT:
      return ({ path }) => path === value;
    case PREFIX: {
      const prefix = trimSlash(value);
      if (prefix === "/") return () => true;
      return ({ path }) => path.startsWith(prefix) && (path.length === prefix.length || path[prefix.length] === "/");
    }
    case REGULAR_EXPRESSION: {
      const test = compileRegex(value);
      return test ? ({ path }) => test(path) : never;
    }
    default:
      return never;
  }
}

function compileHeader(match: hairpinWaypoint.ValueMatch): Predicate {
  const test = compileValue(match);
  return (head) => {
    const values = headerValues(head, match.name);
    return values.length > 0 && test(values.join(","));
  };
}

function compileQueryParam(match: hairpinWaypoint.ValueMatch): Predicate {
  const test = compileValue(match);
  return ({ query }) => {
    if (query === "") return false;
    // Of a repeated parameter the first counts (Gateway API's recommendation).
    const value = new URLSearchParams(query).get(match.name);
    return value !== null && test(value);
  };
}

function compileValue(match: hairpinWaypoint.ValueMatch): (value: string) => boolean {
  if (match.type === EXACT) return (value) => value === match.value;
  if (match.type === REGULAR_EXPRESSION) return compileRegex(match.value) ?? (() => false);
  return () => false;
}

/** The whole text must match. RE2: linear in the text, whatever the expression. */
function compileRegex(expression: string): ((text: string) => boolean) | undefined {
  try {
    const compiled = RE2JS.compile(expression);
    return (text) => compiled.matches(text);
  } catch {
    return undefined;
  }
}

function firstOfEachName<T extends { readonly name: string }>(
  matches: readonly T[],
  key: (name: string) => string,
): T[] {
  const seen = new Set<string>();
  return matches.filter(({ name }) => !seen.has(key(name)) && Boolean(seen.add(key(name))));
}

/** `/abc/` means `/abc`; `/` stays. */
function trimSlash(prefix: string): string {
  return prefix.length > 1 && prefix.endsWith("/") ? prefix.slice(0, -1) : prefix;
}
