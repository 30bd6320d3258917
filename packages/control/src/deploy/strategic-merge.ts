// Kubernetes' strategic merge patch for the kinds that a waypoint consists of. Pure.

/** A list whose items are found again by a field; items without a shape are merged as plain maps. */
interface KeyedList {
  readonly key: string;
  readonly item: MergeShape;
}

/** Which lists below a map are merged instead of replaced; fields not named are merged (maps) or replaced (all else). */
interface MergeShape {
  readonly maps?: Readonly<Record<string, MergeShape>>;
  readonly lists?: Readonly<Record<string, KeyedList>>;
  /** Lists of scalars that become a union. */
  readonly unions?: readonly string[];
}

const plain: MergeShape = {};
const byName: KeyedList = { key: "name", item: plain };

const container: MergeShape = {
  lists: {
    env: byName,
    ports: { key: "containerPort", item: plain },
    volumeMounts: { key: "mountPath", item: plain },
    volumeDevices: { key: "devicePath", item: plain },
  },
};
const containers: KeyedList = { key: "name", item: container };
const pod: MergeShape = {
  lists: {
    containers,
    initContainers: containers,
    volumes: byName,
    imagePullSecrets: byName,
    schedulingGates: byName,
    resourceClaims: byName,
    hostAliases: { key: "ip", item: plain },
    topologySpreadConstraints: { key: "topologyKey", item: plain },
  },
};
const metadata: MergeShape = { lists: { ownerReferences: { key: "uid", item: plain } }, unions: ["finalizers"] };

/** As `patchStrategy` and `patchMergeKey` in the API's types (k8s.io/api). */
const shapes: Readonly<Record<string, MergeShape>> = {
  Deployment: { maps: { metadata, spec: { maps: { template: { maps: { metadata, spec: pod } } } } } },
  Service: { maps: { metadata, spec: { lists: { ports: { key: "port", item: plain } } } } },
  ServiceAccount: { maps: { metadata }, lists: { secrets: byName, imagePullSecrets: byName } },
  HorizontalPodAutoscaler: { maps: { metadata } },
  PodDisruptionBudget: { maps: { metadata } },
};

type JsonMap = Readonly<Record<string, unknown>>;

const directive = "$patch";
const retainKeys = "$retainKeys";
const deleteFromList = "$deleteFromPrimitiveList/";
const elementOrder = "$setElementOrder/";

/**
 * The object with the patch laid over it: maps are merged, `null` removes, lists are merged by the API's merge keys where it has
 * some and replaced where not. Understands `$patch: replace|delete|merge`, `$retainKeys` and `$deleteFromPrimitiveList/…`;
 * `$setElementOrder/…` is ignored: no order matters here. Throws `Error` that says where for a patch that cannot be laid over.
 */
export function mergeStrategically<T extends { readonly kind: string }>(object: T, patch: unknown): T {
  if (!isMap(patch)) throw new Error("a patch is a mapping");
  return mergeMap(object, patch, {
    shape: shapes[object.kind] ?? plain,
    path: "",
  }) as unknown as T;
}

interface Place {
  readonly shape: MergeShape;
  /** For messages. */
  readonly path: string;
}

function mergeMap(original: JsonMap, patch: JsonMap, { shape, path }: Place): JsonMap {
  const how = patch[directive];
  if (how === "replace") return withoutDirectives(patch);
  if (how === "delete") return {};
  if (how !== undefined && how !== "merge")
    throw new Error(
      `${path === "" ? "the patch" : path}: $patch ${JSON.stringify(how)} is none of merge, replace, delete`,
    );
  const merged: Record<string, unknown> = { ...retained(original, patch) };
  for (const [field, value] of Object.entries(patch)) {
    if (field.startsWith(deleteFromList)) {
      removeScalars(merged, field.slice(deleteFromList.length), value);
      continue;
    }
    if (field === directive || field === retainKeys || field.startsWith(elementOrder)) continue;
    const at = path === "" ? field : `${path}.${field}`;
    // Own properties only, and none that a later reader takes for a prototype.
    if (field === "__proto__") throw new Error(`${at}: not a field`);
    if (value === null) delete merged[field];
    else merged[field] = mergeField(merged[field], value, { field, shape, path: at });
  }
  return merged;
}

function mergeField(original: unknown, patch: unknown, place: Place & { readonly field: string }): unknown {
  const { field, shape, path } = place;
  if (isMap(patch)) {
    const inner = shape.maps?.[field] ?? plain;
    return mergeMap(isMap(original) ? original : {}, patch, { shape: inner, path });
  }
  if (!Array.isArray(patch)) return patch;
  const held: readonly unknown[] = Array.isArray(original) ? original : [];
  const keyed = shape.lists?.[field];
  if (keyed !== undefined) return mergeList(held, patch, { keyed, path });
  if (shape.unions?.includes(field) === true) return [...new Set([...held, ...patch])];
  return patch;
}

function mergeList(
  original: readonly unknown[],
  patch: readonly unknown[],
  { keyed, path }: { readonly keyed: KeyedList; readonly path: string },
): readonly unknown[] {
  const items = patch.map((item, index) => {
    if (!isMap(item)) throw new Error(`${path}[${index}]: an item here is a mapping`);
    return item;
  });
  // An item that is nothing but the directive replaces the list.
  const isReplaced = items.some((item) => item[directive] === "replace" && item[keyed.key] === undefined);
  const merged: unknown[] = isReplaced ? [] : [...original];
  for (const [index, item] of items.entries()) {
    const key = item[keyed.key];
    if (key === undefined && item[directive] === "replace") continue;
    if (key === undefined)
      throw new Error(`${path}[${index}]: the field ${keyed.key} is missing, by which items are found`);
    const found = merged.findIndex((held) => isMap(held) && held[keyed.key] === key);
    if (item[directive] === "delete") {
      if (found >= 0) merged.splice(found, 1);
      continue;
    }
    const held = merged[found];
    const next = mergeMap(isMap(held) ? held : {}, item, { shape: keyed.item, path: `${path}[${index}]` });
    if (found >= 0) merged[found] = next;
    else merged.push(next);
  }
  return merged;
}

/** `$retainKeys`: of the original only these stay, so that one of several exclusive fields can be changed for another. */
function retained(original: JsonMap, patch: JsonMap): JsonMap {
  const kept = patch[retainKeys];
  if (!Array.isArray(kept)) return original;
  return Object.fromEntries(Object.entries(original).filter(([field]) => kept.includes(field)));
}

function removeScalars(merged: Record<string, unknown>, field: string, values: unknown): void {
  const held = merged[field];
  if (Array.isArray(held) && Array.isArray(values)) merged[field] = held.filter((item) => !values.includes(item));
}

function withoutDirectives(patch: JsonMap): JsonMap {
  return Object.fromEntries(Object.entries(patch).filter(([field, value]) => field !== directive && value !== null));
}

function isMap(value: unknown): value is JsonMap {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
