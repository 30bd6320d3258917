import type { MessageInitShape } from "@bufbuild/protobuf";
import type { hairpinWaypoint } from "@hairpin/shared/api";
import type { HeaderModifierSpec, PathModifierSpec, RouteFilter } from "../collection/kubernetes-object.ts";
import type { RouteFinding } from "./route-finding.ts";

type FilterInit = MessageInitShape<typeof hairpinWaypoint.FilterSchema>;
type PathModifierInit = MessageInitShape<typeof hairpinWaypoint.PathModifierSchema>;
type HeaderModifierInit = MessageInitShape<typeof hairpinWaypoint.HeaderModifierSchema>;

const onceOnly: ReadonlySet<string> = new Set([
  "RequestHeaderModifier",
  "ResponseHeaderModifier",
  "RequestRedirect",
  "URLRewrite",
]);

/**
 * Filters in the order written. What this version cannot do becomes an `unsupported` filter (the rule answers 500 rather
 * than skip it). `prefix`: the rule's only path prefix, if that is how it matches; path prefixes are replaced only then.
 */
export function buildFilters(
  filters: readonly RouteFilter[],
  prefix: string | undefined,
  findings: RouteFinding[],
): FilterInit[] {
  const fault = findBadCombination(filters);
  if (fault !== undefined) {
    findings.push({ kind: "incompatible-filters", message: fault });
    return [{ filter: { case: "unsupported", value: fault } }];
  }
  return filters.map((filter) => {
    try {
      return buildFilter(filter, prefix);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      findings.push({ kind: "unsupported", message });
      return { filter: { case: "unsupported", value: message } };
    }
  });
}

function findBadCombination(filters: readonly RouteFilter[]): string | undefined {
  const types = filters.map((filter) => filter.type);
  const repeated = types.find((type, i) => onceOnly.has(type) && types.indexOf(type) !== i);
  if (repeated !== undefined) return `filter ${repeated} may stand only once in a list`;
  const both = types.includes("RequestRedirect") && types.includes("URLRewrite");
  return both ? "RequestRedirect and URLRewrite exclude each other" : undefined;
}

/** Throws `Error` that says what is not supported. */
function buildFilter(filter: RouteFilter, prefix: string | undefined): FilterInit {
  switch (filter.type) {
    case "RequestHeaderModifier":
      return { filter: { case: "requestHeaderModifier", value: headers(filter.requestHeaderModifier) } };
    case "ResponseHeaderModifier":
      return { filter: { case: "responseHeaderModifier", value: headers(filter.responseHeaderModifier) } };
    case "RequestRedirect": {
      const { scheme, hostname, path, port, statusCode } = filter.requestRedirect ?? {};
      const modifier = pathModifier(path, prefix);
      return {
        filter: {
          case: "requestRedirect",
          value: {
            scheme: scheme ?? "",
            hostname: hostname ?? "",
            ...(modifier === undefined ? {} : { path: modifier }),
            port: port ?? 0,
            statusCode: statusCode ?? 0,
          },
        },
      };
    }
    case "URLRewrite": {
      const modifier = pathModifier(filter.urlRewrite?.path, prefix);
      return {
        filter: {
          case: "urlRewrite",
          value: {
            hostname: filter.urlRewrite?.hostname ?? "",
            ...(modifier === undefined ? {} : { path: modifier }),
          },
        },
      };
    }
    default:
      throw new Error(`filter ${filter.type} is not supported`);
  }
}

function headers(spec: HeaderModifierSpec = {}): HeaderModifierInit {
  const { set = [], add = [], remove = [] } = spec;
  const names = [...set, ...add].map(({ name }) => name.toLowerCase()).concat(remove.map((name) => name.toLowerCase()));
  const repeated = names.find((name, i) => names.indexOf(name) !== i);
  if (repeated !== undefined) throw new Error(`header ${repeated} has several actions in one header modifier`);
  return {
    set: set.map(({ name, value }) => ({ name, value })),
    add: add.map(({ name, value }) => ({ name, value })),
    remove: [...remove],
  };
}

function pathModifier(path: PathModifierSpec | undefined, prefix: string | undefined): PathModifierInit | undefined {
  if (path === undefined) return undefined;
  if (path.type === "ReplaceFullPath")
    return { modifier: { case: "replaceFullPath", value: path.replaceFullPath ?? "/" } };
  if (path.type !== "ReplacePrefixMatch") throw new Error(`path modifier ${path.type} is not supported`);
  if (prefix === undefined)
    throw new Error("ReplacePrefixMatch needs a rule with exactly one match, of type PathPrefix");
  return { modifier: { case: "replacePrefixMatch", value: path.replacePrefixMatch ?? "" } };
}
