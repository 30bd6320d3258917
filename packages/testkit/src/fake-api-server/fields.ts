// Which fields an object has, as server-side apply names them: `f:spec`, `k:{"type":"Ready"}`.

import type { ServedKind } from "./served-kind.ts";

export type Json = Record<string, unknown>;
type ListKeys = ServedKind["listKeys"];

/** Paths of leaves with their values; a path is its steps as JSON. A leaf is anything that is replaced whole. */
export type FieldSet = ReadonlyMap<string, unknown>;

export function isObject(value: unknown): value is Json {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

export function listFields(value: unknown, listKeys: ListKeys): FieldSet {
  const fields = new Map<string, unknown>();
  const walk = (item: unknown, steps: readonly string[], name: string): void => {
    const keys = listKeys[name];
    if (isObject(item) && Object.keys(item).length > 0)
      for (const [key, inner] of Object.entries(item)) walk(inner, [...steps, `f:${key}`], key);
    else if (Array.isArray(item) && keys !== undefined)
      for (const inner of item) walk(inner, [...steps, `k:${keyOf(inner, keys)}`], "");
    else fields.set(JSON.stringify(steps), item);
  };
  walk(value, [], "");
  return fields;
}

/** The list item's identity among its siblings. */
function keyOf(item: unknown, keys: readonly string[]): string {
  return JSON.stringify(Object.fromEntries(keys.map((key) => [key, isObject(item) ? item[key] : undefined])));
}

/** `overlay` on top of `base`: objects field by field, keyed lists item by item, everything else replaced. */
export function mergeFields(base: unknown, overlay: unknown, listKeys: ListKeys, name = ""): unknown {
  const keys = listKeys[name];
  if (isObject(base) && isObject(overlay)) {
    const merged: Json = { ...base };
    for (const [key, value] of Object.entries(overlay)) merged[key] = mergeFields(base[key], value, listKeys, key);
    return merged;
  }
  if (Array.isArray(base) && Array.isArray(overlay) && keys !== undefined) {
    const merged = new Map<string, unknown>(base.map((item) => [keyOf(item, keys), item]));
    for (const item of overlay)
      merged.set(keyOf(item, keys), mergeFields(merged.get(keyOf(item, keys)), item, listKeys));
    return [...merged.values()];
  }
  return overlay;
}

/** Without the leaf at `path`; containers that it leaves empty go too. */
export function withoutField(value: unknown, path: string): unknown {
  return remove(value, JSON.parse(path) as string[]);
}

function remove(value: unknown, [step, ...rest]: readonly string[]): unknown {
  if (step === undefined) return undefined;
  if (isObject(value) && step.startsWith("f:")) {
    const name = step.slice(2);
    const { [name]: inner, ...others } = value;
    const left = inner === undefined ? undefined : remove(inner, rest);
    return left === undefined ? (Object.keys(others).length === 0 ? undefined : others) : { ...others, [name]: left };
  }
  if (Array.isArray(value) && step.startsWith("k:")) {
    const wanted = JSON.parse(step.slice(2)) as Json;
    const left = value.flatMap((item: unknown) => {
      if (!isObject(item) || !Object.entries(wanted).every(([key, held]) => item[key] === held)) return [item];
      // An item is known by its keys: they stay until nothing else is left of it.
      const kept = rest[0]?.startsWith("f:") === true && rest[0].slice(2) in wanted ? item : remove(item, rest);
      const isEmpty = !isObject(kept) || Object.keys(kept).every((key) => key in wanted);
      return isEmpty ? [] : [kept];
    });
    return left.length === 0 ? undefined : left;
  }
  return value;
}

/** FieldsV1, the form in `metadata.managedFields`. */
export function toFieldsV1(paths: Iterable<string>): Json {
  const root: Json = {};
  for (const path of paths) {
    let at = root;
    for (const step of JSON.parse(path) as string[]) at = (at[step] ??= {}) as Json;
  }
  return root;
}

export function fromFieldsV1(fields: Json, steps: readonly string[] = []): string[] {
  const inner = Object.entries(fields);
  if (inner.length === 0) return steps.length === 0 ? [] : [JSON.stringify(steps)];
  return inner.flatMap(([step, below]) => fromFieldsV1(below as Json, [...steps, step]));
}

/** For messages: `.spec.ports[port=80]`. */
export function describePath(path: string): string {
  return (JSON.parse(path) as string[])
    .map((step) => (step.startsWith("f:") ? `.${step.slice(2)}` : `[${step.slice(2)}]`))
    .join("");
}

export function sameValue(a: unknown, b: unknown): boolean {
  return canonical(a) === canonical(b);
}

function canonical(value: unknown): string | undefined {
  return JSON.stringify(value, (_, item: unknown) =>
    isObject(item) ? Object.fromEntries(Object.entries(item).sort(([x], [y]) => (x < y ? -1 : 1))) : item,
  );
}
