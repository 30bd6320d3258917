// The shape of JSON: which keys objects have and of what type their values are, whatever the values are.

/** `{ key: shape }`, `[shape of all elements]`, or the name of a type; several types are joined by `|`. */
export type Shape = string | readonly [Shape] | { readonly [key: string]: Shape };

/** Keys of objects that are maps: `a.*.b` says that the keys of `a` are names, not fields. */
export function shapeOf(values: readonly unknown[], isMap: (path: string) => boolean, path = ""): Shape {
  const present = values.filter((value) => value !== undefined && value !== null);
  if (present.length === 0) return "null";
  if (present.every((value) => Array.isArray(value))) {
    const elements = present.flat();
    return elements.length === 0 ? ["null"] : [shapeOf(elements, isMap, `${path}[]`)];
  }
  if (present.every((value): value is Record<string, unknown> => typeof value === "object" && !Array.isArray(value))) {
    if (isMap(path))
      return {
        "*": shapeOf(
          present.flatMap((value) => Object.values(value)),
          isMap,
          `${path}.*`,
        ),
      };
    const keys = [...new Set(present.flatMap((value) => Object.keys(value)))].toSorted();
    return Object.fromEntries(
      keys.map((key) => [
        key,
        shapeOf(
          present.map((value) => value[key]),
          isMap,
          path === "" ? key : `${path}.${key}`,
        ),
      ]),
    );
  }
  return [...new Set(present.map((value) => (Array.isArray(value) ? "array" : typeof value)))].toSorted().join("|");
}

/** Where `found` lacks something of `wanted` or has it of another type. An empty list or null says nothing of its type. */
export function missingFrom(found: Shape, wanted: Shape, path = ""): readonly string[] {
  if (wanted === "null" || found === "null") return [];
  if (typeof wanted === "string" || typeof found === "string") {
    return JSON.stringify(found) === JSON.stringify(wanted)
      ? []
      : [`${path} is ${JSON.stringify(found)}, not ${JSON.stringify(wanted)}`];
  }
  if (isList(wanted) || isList(found)) {
    return isList(wanted) && isList(found)
      ? missingFrom(found[0], wanted[0], `${path}[]`)
      : [`${path} is ${isList(found) ? "a list" : "no list"}`];
  }
  return Object.entries(wanted).flatMap(([key, shape]) => {
    const own = found[key];
    return own === undefined ? [`${path}.${key} is missing`] : missingFrom(own, shape, `${path}.${key}`);
  });
}

function isList(shape: Shape): shape is readonly [Shape] {
  return Array.isArray(shape);
}
