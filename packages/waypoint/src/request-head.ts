import type { HeaderField, HeaderList } from "@hairpin/wire";

/** A request as routing, filters and policies see it, whichever HTTP version it came by. */
export interface RequestHead {
  readonly method: string;
  readonly scheme: string;
  /** Host, with port where one was given. */
  readonly authority: string;
  /** Canonical, see canonical-path.ts. */
  readonly path: string;
  /** With `?`, or empty. */
  readonly query: string;
  /** Ordinary fields with lower-cased names; no pseudo-header and no `host` field. */
  readonly headers: HeaderList;
}

/** The values of a field, one per line; `host` is the authority. Pseudo-header fields are fields here, as in Envoy. */
export function headerValues(head: RequestHead, name: string): string[] {
  const lowerName = name.toLowerCase();
  if (lowerName === "host" || lowerName === ":authority") return [head.authority];
  if (lowerName === ":method") return [head.method];
  if (lowerName === ":path") return [head.path + head.query];
  return head.headers.filter((field) => field.name === lowerName).map(({ value }) => value);
}

/** Replaces all fields of a name by one. */
export function setField(headers: HeaderList, name: string, value: string): HeaderField[] {
  return [...removeField(headers, name), { name: name.toLowerCase(), value }];
}

/** Appends to the value that is there as a comma list (RFC 9110 §5.2), or makes the field; `set-cookie` gets a line of its own. */
export function addField(headers: HeaderList, name: string, value: string): HeaderField[] {
  const lowerName = name.toLowerCase();
  const existing = headers.filter((field) => field.name === lowerName);
  if (existing.length === 0 || lowerName === "set-cookie") return [...headers, { name: lowerName, value }];
  return setField(headers, lowerName, [...existing.map((field) => field.value), value].join(","));
}

export function removeField(headers: HeaderList, name: string): HeaderField[] {
  const lowerName = name.toLowerCase();
  return headers.filter((field) => field.name !== lowerName);
}
