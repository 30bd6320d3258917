import { randomUUID } from "node:crypto";
import { type Json, isObject, sameValue } from "./fields.ts";
import { type Writer, applyFields, updateOwnership } from "./ownership.ts";
import { ApiRefusal } from "./refusal.ts";
import type { ServedKind } from "./served-kind.ts";
import type { StoredObject } from "./stored-object.ts";

/** One change, as watchers are told. */
export interface StoreEvent {
  readonly revision: number;
  readonly served: ServedKind;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly object: StoredObject;
  /** What it was before; for watchers with selectors. */
  readonly before: StoredObject | undefined;
}

/** All objects with their history: writes as Kubernetes does them (versions, generations, ownership of fields). */
export class ObjectStore {
  readonly #objects = new Map<ServedKind, Map<string, StoredObject>>();
  readonly #listeners = new Set<(event: StoreEvent) => void>();
  #history: StoreEvent[] = [];
  #revision = 1;
  /** Events up to here are forgotten. */
  #compacted = 0;

  get revision(): number {
    return this.#revision;
  }

  find(served: ServedKind, namespace: string, name: string): StoredObject | undefined {
    return this.#objects.get(served)?.get(`${namespace}/${name}`);
  }

  /** By namespace and name. */
  list(served: ServedKind): StoredObject[] {
    const entries = [...(this.#objects.get(served) ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
    return entries.map(([, object]) => object);
  }

  create(served: ServedKind, object: StoredObject, writer: Writer): StoredObject {
    const { namespace = "", name } = object.metadata;
    if (this.find(served, namespace, name) !== undefined)
      throw new ApiRefusal(409, "AlreadyExists", `${served.plural} "${name}" already exists`);
    const { status: _ignored, ...withoutStatus } = object;
    return this.#insert(served, served.hasStatus ? withoutStatus : object, (fresh) =>
      updateOwnership(served, undefined, fresh, writer),
    );
  }

  /** PUT, and what a merge patch comes to. */
  replace(served: ServedKind, object: StoredObject, writer: Writer): StoredObject {
    const current = this.#require(served, object);
    const next = restrict(served, current, object, writer.subresource);
    return this.#store(served, current, updateOwnership(served, current, next, writer));
  }

  /** Server-side apply. */
  apply(served: ServedKind, object: StoredObject, writer: Writer, force: boolean): StoredObject {
    const { namespace = "", name, uid } = object.metadata;
    const current = this.find(served, namespace, name);
    if (current === undefined) {
      if (uid !== undefined) throw new ApiRefusal(409, "Conflict", `uid mismatch: there is no ${served.kind} ${name}`);
      if (writer.subresource !== "") throw notFound(served, name);
      const { status: _ignored, ...withoutStatus } = object;
      return this.#insert(served, skeletonOf(object), (fresh) =>
        applyFields(served, fresh, withoutStatus, writer, force),
      );
    }
    checkVersion(current, object);
    const { status, ...withoutStatus } = object;
    const applied: Json = writer.subresource === "status" ? { status } : served.hasStatus ? withoutStatus : object;
    return this.#store(served, current, applyFields(served, current, applied, writer, force));
  }

  delete(served: ServedKind, namespace: string, name: string): StoredObject | undefined {
    const current = this.find(served, namespace, name);
    if (current === undefined) return undefined;
    this.#objects.get(served)?.delete(`${namespace}/${name}`);
    const gone = this.#stamp(current);
    this.#record({ served, type: "DELETED", object: gone, before: current });
    return gone;
  }

  /** What happened after `revision`; undefined when that is too long ago. */
  since(revision: number): readonly StoreEvent[] | undefined {
    if (revision < this.#compacted) return undefined;
    return this.#history.filter((event) => event.revision > revision);
  }

  /** Forgets all history, as etcd does every few minutes. */
  compact(): void {
    this.#history = [];
    this.#compacted = this.#revision;
  }

  onEvent(listener: (event: StoreEvent) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #require(served: ServedKind, object: StoredObject): StoredObject {
    const { namespace = "", name } = object.metadata;
    const current = this.find(served, namespace, name);
    if (current === undefined) throw notFound(served, name);
    checkVersion(current, object);
    return current;
  }

  #insert(served: ServedKind, object: StoredObject, own: (fresh: StoredObject) => StoredObject): StoredObject {
    const metadata = {
      ...object.metadata,
      uid: object.metadata.uid ?? randomUUID(),
      generation: object.metadata.generation ?? 1,
      creationTimestamp: object.metadata["creationTimestamp"] ?? `${new Date().toISOString().slice(0, 19)}Z`,
    };
    const stored = this.#stamp(own({ ...object, metadata }));
    this.#put(served, stored);
    this.#record({ served, type: "ADDED", object: stored, before: undefined });
    return stored;
  }

  /** A write that changes nothing is none: no new version, no event. */
  #store(served: ServedKind, current: StoredObject, next: StoredObject): StoredObject {
    if (sameValue(current, next)) return current;
    const isNewSpec = !sameValue(desired(current), desired(next));
    const generation = (current.metadata.generation ?? 1) + (isNewSpec ? 1 : 0);
    const stored = this.#stamp({ ...next, metadata: { ...next.metadata, generation } });
    this.#put(served, stored);
    this.#record({ served, type: "MODIFIED", object: stored, before: current });
    return stored;
  }

  #put(served: ServedKind, object: StoredObject): void {
    const objects = this.#objects.get(served) ?? new Map<string, StoredObject>();
    this.#objects.set(served, objects.set(`${object.metadata.namespace ?? ""}/${object.metadata.name}`, object));
  }

  #stamp(object: StoredObject): StoredObject {
    return { ...object, metadata: { ...object.metadata, resourceVersion: String(++this.#revision) } };
  }

  #record(change: Omit<StoreEvent, "revision">): void {
    const event = { ...change, revision: this.#revision };
    this.#history.push(event);
    for (const listener of this.#listeners) listener(event);
  }
}

function checkVersion(current: StoredObject, { metadata }: StoredObject): void {
  const { resourceVersion, uid } = metadata;
  const isOther =
    (resourceVersion !== undefined && resourceVersion !== current.metadata.resourceVersion) ||
    (uid !== undefined && uid !== current.metadata.uid);
  if (isOther) throw new ApiRefusal(409, "Conflict", `the object ${current.metadata.name} has been modified`);
}

/** The current object with what this path may write; the server's own metadata stays. */
function restrict(served: ServedKind, current: StoredObject, next: StoredObject, subresource: string): StoredObject {
  if (subresource === "status") {
    // A pod's status path takes its labels and annotations too, as the paths of all built-in kinds do; others' does not.
    const { labels, annotations } = served.kind === "Pod" ? next.metadata : current.metadata;
    const metadata = { ...current.metadata, labels, annotations };
    return { ...current, metadata, status: next["status"] } as StoredObject;
  }
  const { uid, creationTimestamp, generation, managedFields } = current.metadata;
  const metadata = { ...next.metadata, uid, creationTimestamp, generation, managedFields };
  const { status: _ignored, ...withoutStatus } = next;
  if (!served.hasStatus) return { ...next, metadata } as StoredObject;
  const status = isObject(current["status"]) ? { status: current["status"] } : {};
  return { ...withoutStatus, ...status, metadata } as StoredObject;
}

function skeletonOf({ apiVersion, kind, metadata: { name, namespace } }: StoredObject): StoredObject {
  return { apiVersion, kind, metadata: namespace === undefined ? { name } : { name, namespace } };
}

/** What counts for `generation`. */
function desired({ metadata: _metadata, status: _status, apiVersion: _apiVersion, ...rest }: StoredObject): unknown {
  return rest;
}

export function notFound(served: ServedKind, name: string): ApiRefusal {
  return new ApiRefusal(404, "NotFound", `${served.plural} "${name}" not found`, { name });
}
