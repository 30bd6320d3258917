import type { hairpinWaypoint } from "@hairpin/shared/api";
import type { Filter } from "../filter.ts";
import { modifyPath } from "../path-modifier.ts";

const defaultPorts: Readonly<Record<string, number>> = { http: 80, https: 443 };

/** RequestRedirect: answers with a Location made of the request's URL and the parts that the filter replaces. */
export function requestRedirect(redirect: hairpinWaypoint.Redirect): Filter {
  return {
    onRequest: (head, context) => {
      const scheme = redirect.scheme === "" ? head.scheme : redirect.scheme;
      const hostname = redirect.hostname === "" ? hostOf(head.authority) : redirect.hostname;
      const port =
        redirect.port !== 0
          ? redirect.port
          : redirect.scheme === ""
            ? context.port
            : (defaultPorts[scheme] ?? context.port);
      const portText = port === defaultPorts[scheme] ? "" : `:${port}`;
      const path = modifyPath(head.path, redirect.path, context.pathPrefix);
      const location = `${scheme}://${hostname}${portText}${path}${head.query}`;
      const status = redirect.statusCode === 0 ? 302 : redirect.statusCode;
      return {
        kind: "respond",
        status,
        headers: [{ name: "location", value: location }],
        body: "",
        reason: "redirected",
      };
    },
  };
}

/** The authority without its port; an IPv6 literal keeps its brackets. */
function hostOf(authority: string): string {
  return authority.replace(/:[0-9]*$/, "");
}
