import type { MessageInitShape } from "@bufbuild/protobuf";
import { hairpinWaypoint } from "@hairpin/shared/api";
import { RE2JS } from "re2js";
import type { GrpcRouteMatch, HttpRouteMatch, ValueMatchSpec } from "../collection/kubernetes-object.ts";

type RouteMatchInit = MessageInitShape<typeof hairpinWaypoint.RouteMatchSchema>;
type ValueMatchInit = MessageInitShape<typeof hairpinWaypoint.ValueMatchSchema>;

const { MatchType } = hairpinWaypoint;
const methods: ReadonlySet<string> = new Set("GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH".split(" "));

/** Throws `Error` for a match type, method or pattern that cannot be evaluated. */
export function buildHttpMatch(match: HttpRouteMatch): RouteMatchInit {
  const type = match.path?.type ?? "PathPrefix";
  const value = match.path?.value ?? "/";
  if (match.method !== undefined && !methods.has(match.method))
    throw new Error(`method ${JSON.stringify(match.method)} is not one of HTTP's`);
  return {
    path: { type: type === "PathPrefix" ? MatchType.PREFIX : matchType(type, value), value },
    headers: headerMatches(match.headers ?? []),
    queryParams: (match.queryParams ?? []).map(valueMatch),
    method: match.method ?? "",
  };
}

/** gRPC's path is `/service/method`; what is not given matches any. */
export function buildGrpcMatch(match: GrpcRouteMatch): RouteMatchInit {
  const headers = headerMatches(match.headers ?? []);
  const { type = "Exact", service, method } = match.method ?? {};
  if (service === undefined && method === undefined) return { headers };
  if (type === "Exact" && service !== undefined) {
    const path =
      method === undefined
        ? { type: MatchType.PREFIX, value: `/${service}/` }
        : { type: MatchType.EXACT, value: `/${service}/${method}` };
    return { path, headers };
  }
  if (type !== "Exact" && type !== "RegularExpression") throw new Error(`method match type ${type} is not supported`);
  const pattern = (text: string | undefined): string => {
    if (text === undefined) return "[^/]+";
    return type === "Exact" ? RE2JS.quote(text) : `(?:${text})`;
  };
  const value = `/${pattern(service)}/${pattern(method)}`;
  return { path: { type: matchType("RegularExpression", value), value }, headers };
}

/** Of several matches on one name only the first counts. */
function headerMatches(headers: readonly ValueMatchSpec[]): ValueMatchInit[] {
  const names = headers.map(({ name }) => name.toLowerCase());
  return headers.filter((_, i) => names.indexOf(names[i] ?? "") === i).map(valueMatch);
}

function valueMatch({ type = "Exact", name, value }: ValueMatchSpec): ValueMatchInit {
  return { type: matchType(type, value), name, value };
}

function matchType(type: string, value: string): hairpinWaypoint.MatchType {
  if (type === "Exact") return MatchType.EXACT;
  if (type !== "RegularExpression") throw new Error(`match type ${type} is not supported`);
  try {
    RE2JS.compile(value);
  } catch (error) {
    throw new Error(`pattern ${JSON.stringify(value)} is not a valid regular expression (RE2)`, { cause: error });
  }
  return MatchType.REGULAR_EXPRESSION;
}
