import { hairpinWaypoint } from "@hairpin/shared/api";
import type { RequestHead } from "../request-head.ts";
import { compareRank, compileMatch, matchAll, type CompiledMatch } from "./match-request.ts";

/** The rule that a request goes by. */
export interface RouteChoice {
  /** `namespace/name` of the route. */
  readonly route: string;
  readonly rule: hairpinWaypoint.RouteRule;
  /** For `ReplacePrefixMatch`. */
  readonly pathPrefix: string | undefined;
}

/**
 * The routes of one service port. `"default"`: there are none, go straight to the service. `undefined` from `choose`: there
 * are some and none matches (404; gRPC: UNIMPLEMENTED).
 */
export interface RouteTable {
  choose(head: RequestHead, clientNamespace: string | undefined): RouteChoice | "default" | undefined;
}

interface Candidate {
  readonly match: CompiledMatch;
  readonly choice: RouteChoice;
}

/**
 * Compiles HTTP and gRPC routes, given in the order of precedence that is left when matches are equally specific (oldest,
 * then by name). Consumer routes replace the producer's for clients of their namespace (GEP-1324).
 */
export function compileRouteTable(routes: readonly hairpinWaypoint.Route[]): RouteTable {
  const httpRoutes = routes.filter(({ kind }) => kind !== hairpinWaypoint.RouteKind.TCP_ROUTE);
  const producer = compileCandidates(httpRoutes.filter(({ onlyFromNamespace }) => onlyFromNamespace === ""));
  const consumers = new Map<string, readonly Candidate[]>();
  for (const namespace of new Set(httpRoutes.map(({ onlyFromNamespace }) => onlyFromNamespace))) {
    if (namespace !== "")
      consumers.set(namespace, compileCandidates(httpRoutes.filter((route) => route.onlyFromNamespace === namespace)));
  }
  return {
    choose: (head, clientNamespace) => {
      const candidates = consumers.get(clientNamespace ?? "") ?? producer;
      if (candidates.length === 0) return "default";
      return candidates.find(({ match }) => match.matches(head))?.choice;
    },
  };
}

/** Most specific first; the sort is stable, so equal ones keep the order of routes, rules and matches. */
function compileCandidates(routes: readonly hairpinWaypoint.Route[]): Candidate[] {
  const candidates = routes.flatMap((route) =>
    route.rules.flatMap((rule) => {
      const matches = rule.matches.length === 0 ? [matchAll] : rule.matches.map(compileMatch);
      const name = `${route.namespace}/${route.name}`;
      return matches.map((match) => ({ match, choice: { route: name, rule, pathPrefix: match.pathPrefix } }));
    }),
  );
  return candidates.toSorted((a, b) => compareRank(a.match.rank, b.match.rank));
}
