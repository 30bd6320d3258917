import type { MessageInitShape } from "@bufbuild/protobuf";
import { hairpinWaypoint } from "@hairpin/shared/api";
import type { GrpcRouteMatch, HttpRouteMatch, RouteObject, RouteRuleSpec } from "../collection/kubernetes-object.ts";
import { type BackendContext, buildBackend } from "./backend.ts";
import { parseGatewayDuration } from "./duration.ts";
import { buildFilters } from "./filter.ts";
import type { RouteFinding } from "./route-finding.ts";
import { buildGrpcMatch, buildHttpMatch } from "./route-match.ts";

type RuleInit = MessageInitShape<typeof hairpinWaypoint.RouteRuleSchema>;
type MatchInit = MessageInitShape<typeof hairpinWaypoint.RouteMatchSchema>;

/** Routes by their kind: matches and defaults differ, everything else is shared. */
export type AnyRoute =
  | { readonly kind: "HTTPRoute"; readonly object: RouteObject<HttpRouteMatch> }
  | { readonly kind: "GRPCRoute"; readonly object: RouteObject<GrpcRouteMatch> }
  | { readonly kind: "TCPRoute"; readonly object: RouteObject<never> };

export interface BuiltRules {
  readonly rules: readonly RuleInit[];
  readonly findings: readonly RouteFinding[];
  /** How many rules were written. */
  readonly written: number;
}

export function buildRules(route: AnyRoute, context: BackendContext): BuiltRules {
  const findings: RouteFinding[] = [];
  const build = <Match>(specs: readonly RouteRuleSpec<Match>[], match: (match: Match) => MatchInit): BuiltRules => {
    const rules = specs.flatMap((spec) => buildRule(spec, match, context, findings));
    return { rules, findings, written: specs.length };
  };
  switch (route.kind) {
    case "HTTPRoute":
      return build(route.object.spec?.rules ?? [{}], buildHttpMatch);
    case "GRPCRoute":
      return build(route.object.spec?.rules ?? [{}], buildGrpcMatch);
    case "TCPRoute":
      return build(route.object.spec?.rules ?? [], () => ({}));
  }
  return route satisfies never;
}

/** Nothing when the rule cannot be evaluated at all. */
function buildRule<Match>(
  spec: RouteRuleSpec<Match>,
  buildMatch: (match: Match) => MatchInit,
  context: BackendContext,
  findings: RouteFinding[],
): RuleInit[] {
  try {
    const matches = (spec.matches ?? []).map(buildMatch);
    const request = parseGatewayDuration(spec.timeouts?.request ?? "0s");
    const backendRequest = parseGatewayDuration(spec.timeouts?.backendRequest ?? "0s");
    for (const field of ["retry", "sessionPersistence"] as const)
      if (spec[field] !== undefined) findings.push({ kind: "ignored", message: `${field} is not supported yet` });
    return [
      {
        name: spec.name ?? "",
        matches,
        filters: buildFilters(spec.filters ?? [], onlyPrefix(matches), findings),
        backends: (spec.backendRefs ?? []).map((reference) => buildBackend(reference, context, findings)),
        requestTimeoutMs: request,
        backendRequestTimeoutMs: backendRequest,
      },
    ];
  } catch (error) {
    findings.push({ kind: "dropped", message: error instanceof Error ? error.message : String(error) });
    return [];
  }
}

/** The prefix that a rule matches by, when that is its only match. A rule without matches has the prefix "/". */
function onlyPrefix(matches: readonly MatchInit[]): string | undefined {
  if (matches.length === 0) return "/";
  const path = matches[0]?.path;
  return matches.length === 1 && path?.type === hairpinWaypoint.MatchType.PREFIX ? path.value : undefined;
}
