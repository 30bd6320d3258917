import type { hairpinWaypoint } from "@hairpin/shared/api";
import type { Filter } from "../filter.ts";
import { modifyPath } from "../path-modifier.ts";

/** URLRewrite: another host or path towards the backend; the query stays. */
export function urlRewrite(rewrite: hairpinWaypoint.UrlRewrite): Filter {
  return {
    onRequest: (head, context) => ({
      kind: "continue",
      head: {
        ...head,
        authority: rewrite.hostname === "" ? head.authority : rewrite.hostname,
        path: modifyPath(head.path, rewrite.path, context.pathPrefix),
      },
    }),
  };
}
