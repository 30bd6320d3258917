import type { FieldPath } from "./problem.ts";

/**
 * Which fields an object may have. The Kubernetes API drops or refuses fields that it does not know; a typing mistake in a
 * policy must not silently widen it, so we refuse them and say which name is known.
 * - `leaf`: a scalar or something we do not look into
 * - an object: exactly these fields
 * - `listOf` / `mapOf`: every item or value has the shape
 */
export type Shape = Leaf | ListShape | MapShape | { readonly [field: string]: Shape };

interface Leaf {
  readonly kind$: "leaf";
}
interface ListShape {
  readonly kind$: "list";
  readonly item$: Shape;
}
interface MapShape {
  readonly kind$: "map";
  readonly value$: Shape;
}

export const leaf: Leaf = { kind$: "leaf" };

export function listOf(item: Shape): ListShape {
  return { kind$: "list", item$: item };
}

export function mapOf(value: Shape): MapShape {
  return { kind$: "map", value$: value };
}

/** Several leaves at once: `fields("name", "port")`. */
export function fields(...names: readonly string[]): { readonly [field: string]: Shape } {
  return Object.fromEntries(names.map((name) => [name, leaf]));
}

/** A field that the shape does not have. */
export interface UnknownField {
  readonly path: FieldPath;
  readonly name: string;
  /** The known name most like it, when one is close. */
  readonly suggestion: string | undefined;
}

/** Lists the fields of `value` that are not in the shape. Wrong types are not its business: the schema finds them. */
export function findUnknownFields(value: unknown, shape: Shape, path: FieldPath = []): UnknownField[] {
  if (isList(shape)) {
    if (!Array.isArray(value)) return [];
    return value.flatMap((item, index) => findUnknownFields(item, shape.item$, [...path, index]));
  }
  if (isLeaf(shape) || typeof value !== "object" || value === null || Array.isArray(value)) return [];
  return Object.entries(value).flatMap(([name, child]) => {
    const childPath = [...path, name];
    const childShape = isMap(shape) ? shape.value$ : Object.hasOwn(shape, name) ? shape[name] : undefined;
    if (childShape) return findUnknownFields(child, childShape, childPath);
    return [{ path: childPath, name, suggestion: closest(name, Object.keys(shape)) }];
  });
}

function isLeaf(shape: Shape): shape is Leaf {
  return shape["kind$"] === "leaf";
}

function isList(shape: Shape): shape is ListShape {
  return shape["kind$"] === "list";
}

function isMap(shape: Shape): shape is MapShape {
  return shape["kind$"] === "map";
}

/** The candidate within two edits of the name (one for short names), or equal but for case. */
export function closest(name: string, candidates: readonly string[]): string | undefined {
  const allowed = name.length < 5 ? 1 : 2;
  let best: string | undefined;
  let bestDistance = allowed + 1;
  for (const candidate of candidates) {
    // No fewer edits than the lengths differ by; a name may have a megabyte.
    if (Math.abs(name.length - candidate.length) > allowed) continue;
    const distance = editDistance(name.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, i) => i);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substituted = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substituted, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
