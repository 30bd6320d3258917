import { isObject } from "./fields.ts";
import type { StoredObject } from "./stored-object.ts";

export type Matcher = (object: StoredObject) => boolean;

/** Label and field selectors of a query: equality, inequality, existence. */
export function parseSelectors(query: URLSearchParams): Matcher {
  const labels = terms(query.get("labelSelector")).map((term) =>
    parseTerm(term, (object, key) => object.metadata.labels?.[key]),
  );
  const fields = terms(query.get("fieldSelector")).map((term) => parseTerm(term, fieldOf));
  return (object) => [...labels, ...fields].every((matches) => matches(object));
}

function terms(text: string | null): string[] {
  return (text ?? "")
    .split(",")
    .map((term) => term.trim())
    .filter((term) => term !== "");
}

function parseTerm(term: string, read: (object: StoredObject, key: string) => string | undefined): Matcher {
  const unequal = /^([^!=]+)!=(.*)$/.exec(term);
  if (unequal !== null) return (object) => read(object, unequal[1] ?? "") !== unequal[2];
  const equal = /^([^=]+)==?(.*)$/.exec(term);
  if (equal !== null) return (object) => (read(object, equal[1] ?? "") ?? "") === equal[2];
  if (term.startsWith("!")) return (object) => read(object, term.slice(1)) === undefined;
  return (object) => read(object, term) !== undefined;
}

function fieldOf(object: StoredObject, path: string): string | undefined {
  let value: unknown = object;
  for (const step of path.split(".")) value = isObject(value) ? value[step] : undefined;
  return typeof value === "string" ? value : undefined;
}
