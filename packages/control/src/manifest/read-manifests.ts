import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { LineCounter, parseAllDocuments, isCollection, type Document, type Node as YamlNode } from "yaml";
import { findKind } from "./kinds.ts";
import { formatFieldPath, type FieldPath, type Problem } from "./problem.ts";
import { validateObject, type PlainObject } from "./validate-object.ts";

/** An object and the place in a file that it came from. */
export interface ManifestObject {
  readonly object: PlainObject;
  readonly file: string;
  /** First line of the document, from 1. */
  readonly line: number;
  /** The line of a field, or of its nearest ancestor that is written down. */
  lineOf(path: FieldPath): number;
}

export interface ManifestSet {
  /** The objects that are good; a bad one is left out and has its problems listed. */
  readonly objects: readonly ManifestObject[];
  readonly problems: readonly Problem[];
}

/** `Kind namespace/name`, with what is there. */
export function describeObject(object: PlainObject): string {
  const { kind, metadata } = object as { kind?: unknown; metadata?: { name?: unknown; namespace?: unknown } };
  const name = [metadata?.namespace, metadata?.name]
    .filter((part) => typeof part === "string" && part !== "")
    .join("/");
  return `${typeof kind === "string" ? kind : "object"} ${name}`.trim();
}

/**
 * Reads YAML or JSON files; a folder means all `.yaml`, `.yml` and `.json` files below it, in the order of their names.
 * `-` reads what `readStdin` gives. A file that cannot be read is a problem like any other; nothing is thrown for bad input.
 */
export async function readManifests(paths: readonly string[], readStdin?: () => Promise<string>): Promise<ManifestSet> {
  const sets: ManifestSet[] = [];
  for (const path of paths) {
    try {
      if (path === "-" && readStdin) sets.push(parseManifest(await readStdin(), "-"));
      else for (const file of await listFiles(path)) sets.push(parseManifest(await readFile(file, "utf8"), file));
    } catch (error) {
      const reason = `cannot be read: ${error instanceof Error ? error.message : String(error)}`;
      sets.push({ objects: [], problems: [{ severity: "error", file: path, line: 1, path: "", reason }] });
    }
  }
  return { objects: sets.flatMap(({ objects }) => objects), problems: sets.flatMap(({ problems }) => problems) };
}

/** Reads the documents of one file and validates each. Namespaced objects without a namespace get `default`. */
export function parseManifest(text: string, file: string): ManifestSet {
  const lines = new LineCounter();
  const lineAt = (offset: number): number => Math.max(1, lines.linePos(offset).line);
  const objects: ManifestObject[] = [];
  const problems: Problem[] = [];
  const documents = parseAllDocuments(text, { lineCounter: lines, uniqueKeys: true });
  for (const document of Array.isArray(documents) ? documents : []) {
    const syntax = document.errors.map((error) => problem(error.pos[0], [], `not YAML: ${firstLine(error.message)}`));
    problems.push(...syntax);
    if (syntax.length > 0) continue;
    let content: unknown;
    try {
      content = document.toJS({ maxAliasCount: 100 });
    } catch (error) {
      problems.push(
        problem(document.range[0], [], `not YAML: ${error instanceof Error ? error.message : String(error)}`),
      );
      continue;
    }
    if (content === null) continue;
    for (const [prefix, value] of expandLists(content)) readObject(document, prefix, value);
  }
  return { objects, problems };

  function readObject(document: Document, prefix: FieldPath, value: unknown): void {
    const lineOf = (path: FieldPath): number => lineAt(offsetOf(document, [...prefix, ...path]));
    const faults = validateObject(value);
    if (faults.length === 0) {
      objects.push({ object: withNamespace(value as PlainObject), file, line: lineOf([]), lineOf });
      return;
    }
    const object = describeObject((value ?? {}) as PlainObject);
    for (const { path, reason } of faults)
      problems.push({ severity: "error", file, line: lineOf(path), path: formatFieldPath(path), reason, object });
  }

  function problem(offset: number, path: FieldPath, reason: string): Problem {
    return { severity: "error", file, line: lineAt(offset), path: formatFieldPath(path), reason };
  }
}

/** `kind: List` holds objects in `items`. */
function expandLists(content: unknown): [FieldPath, unknown][] {
  const items = content as { kind?: unknown; items?: unknown } | null;
  if (items?.kind === "List" && Array.isArray(items.items))
    return items.items.map((item: unknown, index) => [["items", index], item]);
  return [[[], content]];
}

function withNamespace(object: PlainObject): PlainObject {
  const metadata = object["metadata"] as PlainObject;
  const namespaced = findKind(String(object["kind"]))?.namespaced === true;
  return namespaced && metadata["namespace"] === undefined
    ? { ...object, metadata: { ...metadata, namespace: "default" } }
    : object;
}

/** Where the deepest node of the path begins that the document has. */
function offsetOf(document: Document, path: FieldPath): number {
  for (let length = path.length; length >= 0; length--) {
    const offset = offsetAt(document, path.slice(0, length));
    if (offset !== undefined) return offset;
  }
  return 0;
}

function offsetAt(document: Document, path: FieldPath): number | undefined {
  const last = path.at(-1);
  const parent =
    path.length === 0 ? document.contents : (document.getIn(path.slice(0, -1), true) as YamlNode | undefined);
  if (path.length === 0 || typeof last === "number") {
    const node = document.getIn(path, true) as YamlNode | null | undefined;
    return node?.range?.[0];
  }
  // The key's own line: a value may begin on the next one.
  if (!isCollection(parent)) return undefined;
  for (const pair of parent.items as { key?: { value?: unknown; range?: [number, number, number] } }[]) {
    if (pair.key?.value === last) return pair.key?.range?.[0];
  }
  return undefined;
}

async function listFiles(path: string): Promise<string[]> {
  if (!(await stat(path)).isDirectory()) return [path];
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile() && /\.(ya?ml|json)$/.test(entry.name))
    .map((entry) => join(entry.parentPath, entry.name))
    .toSorted();
}

function firstLine(text: string): string {
  return text.split("\n")[0]?.replace(/ at line \d+, column \d+:?$/, "") ?? text;
}
