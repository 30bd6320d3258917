import type { hairpinWaypoint } from "@hairpin/shared/api";
import type { HeaderList } from "@hairpin/wire";
import { addField, removeField, setField, type RequestHead } from "../../request-head.ts";
import type { Filter } from "../filter.ts";

/** Fields that frame or address the message: changing them here would tear routing and authorization apart. */
const untouchable = new Set([
  "connection",
  "content-length",
  "transfer-encoding",
  "te",
  "trailer",
  "upgrade",
  "keep-alive",
  "proxy-connection",
]);

/** Set, then add, then remove; names without regard to case (HTTPHeaderFilter). */
function modify(headers: HeaderList, modifier: hairpinWaypoint.HeaderModifier): HeaderList {
  let result = headers;
  for (const { name, value } of modifier.set) if (mayChange(name)) result = setField(result, name, value);
  for (const { name, value } of modifier.add) if (mayChange(name)) result = addField(result, name, value);
  for (const name of modifier.remove) if (mayChange(name)) result = removeField(result, name);
  return result;
}

function mayChange(name: string): boolean {
  return !name.startsWith(":") && !untouchable.has(name.toLowerCase());
}

/** RequestHeaderModifier. Setting `host` changes the authority sent upstream. */
export function requestHeaderModifier(modifier: hairpinWaypoint.HeaderModifier): Filter {
  const host = modifier.set.find(({ name }) => name.toLowerCase() === "host")?.value;
  return {
    onRequest: (head) => {
      const headers = removeField(modify(head.headers, modifier), "host");
      const changed: RequestHead = { ...head, headers, authority: host ?? head.authority };
      return { kind: "continue", head: changed };
    },
  };
}

/** ResponseHeaderModifier. */
export function responseHeaderModifier(modifier: hairpinWaypoint.HeaderModifier): Filter {
  return { onResponse: (headers) => modify(headers, modifier) };
}
