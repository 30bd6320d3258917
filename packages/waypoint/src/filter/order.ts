// The order of filters: as the route lists them (Gateway API: "SHOULD be applied in the order"), the rule's before the
// backend's. Responses pass them in reverse. A new kind of filter gets a folder here and a case in `compileFilter`.
import type { hairpinWaypoint } from "@hairpin/shared/api";
import type { HeaderList } from "@hairpin/wire";
import type { RequestHead } from "../request-head.ts";
import type { Filter, FilterContext, FilterResult } from "./filter.ts";
import { requestHeaderModifier, responseHeaderModifier } from "./header-modifier/filter.ts";
import { requestRedirect } from "./request-redirect/filter.ts";
import { urlRewrite } from "./url-rewrite/filter.ts";

export function compileFilters(filters: readonly hairpinWaypoint.Filter[]): Filter[] {
  return filters.map(compileFilter);
}

function compileFilter({ filter }: hairpinWaypoint.Filter): Filter {
  switch (filter.case) {
    case "requestHeaderModifier":
      return requestHeaderModifier(filter.value);
    case "responseHeaderModifier":
      return responseHeaderModifier(filter.value);
    case "requestRedirect":
      return requestRedirect(filter.value);
    case "urlRewrite":
      return urlRewrite(filter.value);
    case "unsupported":
      return unsupported(filter.value);
    case undefined:
      return unsupported("unknown");
    default:
      return filter satisfies never;
  }
}

/** A filter that cannot run must not be skipped: it may have been there to refuse. */
function unsupported(name: string): Filter {
  const answer: FilterResult = {
    kind: "respond",
    status: 500,
    headers: [],
    body: `filter ${name} is not supported\n`,
    reason: `filter ${name} is not supported`,
  };
  return { onRequest: () => answer };
}

export function runRequestFilters(filters: readonly Filter[], head: RequestHead, context: FilterContext): FilterResult {
  let result: FilterResult = { kind: "continue", head };
  for (const filter of filters) {
    if (result.kind === "respond") break;
    result = filter.onRequest?.(result.head, context) ?? result;
  }
  return result;
}

export function runResponseFilters(filters: readonly Filter[], headers: HeaderList): HeaderList {
  if (filters.length === 0) return headers;
  return filters.reduceRight((fields, filter) => filter.onResponse?.(fields) ?? fields, headers);
}
