// Server-side apply: who owns which field (metadata.managedFields), and what an apply does to the object.

import { ApiRefusal } from "./refusal.ts";
import {
  type Json,
  describePath,
  fromFieldsV1,
  isObject,
  listFields,
  mergeFields,
  sameValue,
  toFieldsV1,
  withoutField,
} from "./fields.ts";
import type { ServedKind } from "./served-kind.ts";
import type { StoredObject } from "./stored-object.ts";

interface Owner {
  readonly manager: string;
  readonly operation: "Apply" | "Update";
  readonly subresource: string;
}

/** Who writes. */
export interface Writer {
  readonly manager: string;
  /** "status", or "" for the object itself. */
  readonly subresource: string;
}

interface ManagedFieldsEntry {
  readonly manager: string;
  readonly operation: Owner["operation"];
  readonly subresource?: string;
  readonly fieldsV1: Json;
}

/** Fields that are nobody's. */
const unownedMetadata = new Set([
  "name",
  "namespace",
  "uid",
  "resourceVersion",
  "generation",
  "creationTimestamp",
  "deletionTimestamp",
  "managedFields",
  "selfLink",
]);

/** The object after an apply; throws 409 when others own a field that would change and `force` is false. */
export function applyFields(
  served: ServedKind,
  current: StoredObject,
  applied: Json,
  writer: Writer,
  force: boolean,
): StoredObject {
  const owners = readOwners(current);
  const own = ownerKey({ ...writer, operation: "Apply" });
  const before = owners.get(own) ?? new Set<string>();
  const wanted = listFields(ownable(applied), served.listKeys);
  const present = listFields(ownable(current), served.listKeys);
  const conflicts: string[] = [];
  for (const [key, paths] of owners) {
    if (key === own) continue;
    for (const path of paths) {
      if (!wanted.has(path) || sameValue(wanted.get(path), present.get(path))) continue;
      conflicts.push(`conflict with "${(JSON.parse(key) as Owner).manager}": ${describePath(path)}`);
      if (force) paths.delete(path);
    }
  }
  if (conflicts.length > 0 && !force)
    throw new ApiRefusal(409, "Conflict", `Apply failed with ${conflicts.length} conflict(s): ${conflicts.join(", ")}`);
  owners.delete(own);
  let result: unknown = current;
  for (const path of before) {
    const isOthers = [...owners.values()].some((paths) => paths.has(path));
    if (!wanted.has(path) && !isOthers) result = withoutField(result, path);
  }
  result = mergeFields(result, ownable(applied), served.listKeys);
  if (wanted.size > 0) owners.set(own, new Set(wanted.keys()));
  return writeOwners(result as StoredObject, owners);
}

/** After a plain write: what changed belongs to the writer now. */
export function updateOwnership(
  served: ServedKind,
  before: StoredObject | undefined,
  after: StoredObject,
  writer: Writer,
): StoredObject {
  const owners = before === undefined ? new Map<string, Set<string>>() : readOwners(before);
  const old = before === undefined ? new Map<string, unknown>() : listFields(ownable(before), served.listKeys);
  const now = listFields(ownable(after), served.listKeys);
  const changed = [...now].filter(([path, value]) => !sameValue(value, old.get(path))).map(([path]) => path);
  for (const paths of owners.values())
    for (const path of paths) if (!now.has(path) || changed.includes(path)) paths.delete(path);
  const key = ownerKey({ ...writer, operation: "Update" });
  owners.set(key, new Set([...(owners.get(key) ?? []), ...changed]));
  return writeOwners(after, owners);
}

function ownable(object: Json): Json {
  const { apiVersion: _version, kind: _kind, metadata, ...rest } = object;
  const kept = Object.entries(isObject(metadata) ? metadata : {}).filter(([name]) => !unownedMetadata.has(name));
  return kept.length === 0 ? rest : { ...rest, metadata: Object.fromEntries(kept) };
}

function ownerKey({ manager, operation, subresource }: Owner): string {
  return JSON.stringify({ manager, operation, subresource });
}

function readOwners(object: StoredObject): Map<string, Set<string>> {
  const entries = (object.metadata.managedFields ?? []) as readonly ManagedFieldsEntry[];
  return new Map(
    entries.map(({ manager, operation, subresource = "", fieldsV1 }) => [
      ownerKey({ manager, operation, subresource }),
      new Set(fromFieldsV1(fieldsV1)),
    ]),
  );
}

function writeOwners(object: StoredObject, owners: ReadonlyMap<string, ReadonlySet<string>>): StoredObject {
  const managedFields = [...owners]
    .filter(([, paths]) => paths.size > 0)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, paths]) => {
      const { manager, operation, subresource } = JSON.parse(key) as Owner;
      return {
        manager,
        operation,
        apiVersion: object.apiVersion,
        fieldsType: "FieldsV1",
        fieldsV1: toFieldsV1(paths),
        ...(subresource === "" ? {} : { subresource }),
      };
    });
  return { ...object, metadata: { ...object.metadata, managedFields } };
}
