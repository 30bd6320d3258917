// The local mesh's API server without its network: objects in memory, each change numbered and told to watchers in order.

import { randomUUID } from "node:crypto";
import { isDeepStrictEqual } from "node:util";
import { type Kind, kindOfObject } from "../object/kinds.ts";
import { type KubernetesObject, namespacedName } from "../object/kubernetes-object.ts";

type ChangeType = "ADDED" | "MODIFIED" | "DELETED";

export interface ObjectChange {
  readonly type: ChangeType;
  readonly object: KubernetesObject;
}

/** What planners read. Lists are in the order of creation. */
export interface StoreView {
  list<T extends KubernetesObject>(kind: Kind<T>, namespace?: string): readonly T[];
  find<T extends KubernetesObject>(kind: Kind<T>, namespace: string | undefined, name: string): T | undefined;
}

export interface ObjectStoreOptions {
  /** Most objects held; more are refused. Default 20,000. */
  readonly maxObjects?: number;
  readonly wallTime?: () => Date;
}

const defaultMaxObjects = 20_000;

export class ObjectStore implements StoreView {
  readonly #objects = new Map<string, Map<string, KubernetesObject>>();
  readonly #listeners = new Set<(change: ObjectChange) => void>();
  readonly #wallTime: () => Date;
  readonly #maxObjects: number;
  #resourceVersion = 0;
  #count = 0;

  constructor(options: ObjectStoreOptions = {}) {
    this.#wallTime = options.wallTime ?? (() => new Date());
    this.#maxObjects = options.maxObjects ?? defaultMaxObjects;
  }

  list<T extends KubernetesObject>(kind: Kind<T>, namespace?: string): readonly T[] {
    const all = [...(this.#objects.get(bucketName(kind))?.values() ?? [])] as T[];
    return namespace === undefined ? all : all.filter((object) => object.metadata.namespace === namespace);
  }

  find<T extends KubernetesObject>(kind: Kind<T>, namespace: string | undefined, name: string): T | undefined {
    const key = kind.namespaced ? `${namespace ?? "default"}/${name}` : name;
    return this.#objects.get(bucketName(kind))?.get(key) as T | undefined;
  }

  all(): readonly KubernetesObject[] {
    return [...this.#objects.values()].flatMap((bucket) => [...bucket.values()]);
  }

  /** The stored object of the same kind and name. */
  findSame(object: KubernetesObject): KubernetesObject | undefined {
    return this.#objects.get(bucketName(requireKind(object)))?.get(namespacedName(object));
  }

  /** Adds an object and gives it uid, resourceVersion, generation and creationTimestamp. Throws when it exists. */
  create(object: KubernetesObject): KubernetesObject {
    const bucket = this.#bucket(requireKind(object));
    const key = namespacedName(object);
    if (bucket.has(key)) throw new Error(`${object.kind} ${key} exists`);
    if (this.#count >= this.#maxObjects)
      throw new Error(`The local mesh holds ${this.#maxObjects} objects and takes no more; delete some first`);
    const created = this.#stamp({
      ...object,
      metadata: {
        ...object.metadata,
        uid: randomUUID(),
        generation: 1,
        creationTimestamp: formatTime(this.#wallTime()),
      },
    });
    bucket.set(key, created);
    this.#count += 1;
    this.#notify({ type: "ADDED", object: created });
    return created;
  }

  /**
   * Replaces an object that exists (else does nothing and returns undefined). System fields of metadata stay; generation grows
   * when anything but metadata and status differs. An equal object changes nothing.
   */
  update(object: KubernetesObject): KubernetesObject | undefined {
    const bucket = this.#bucket(requireKind(object));
    const key = namespacedName(object);
    const current = bucket.get(key);
    if (current === undefined) return undefined;
    const { uid, creationTimestamp, resourceVersion, generation = 1 } = current.metadata;
    const candidate = withoutUndefined({
      ...object,
      metadata: { ...object.metadata, uid, creationTimestamp, resourceVersion, generation },
    }) as KubernetesObject;
    if (isDeepStrictEqual(candidate, current)) return current;
    const desiredChanged = !isDeepStrictEqual(desiredPart(candidate), desiredPart(current));
    const updated = this.#stamp({
      ...candidate,
      metadata: { ...candidate.metadata, generation: desiredChanged ? generation + 1 : generation },
    });
    bucket.set(key, updated);
    this.#notify({ type: "MODIFIED", object: updated });
    return updated;
  }

  /** Removes an object at once; false when it is not there. Callers that want pods to end gracefully set deletionTimestamp. */
  remove(object: KubernetesObject): boolean {
    const bucket = this.#bucket(requireKind(object));
    const key = namespacedName(object);
    const current = bucket.get(key);
    if (current === undefined) return false;
    bucket.delete(key);
    this.#count -= 1;
    this.#notify({ type: "DELETED", object: this.#stamp(current) });
    return true;
  }

  /** Calls back for every change, synchronously and in order. Returns the function that ends it. */
  onChange(listener: (change: ObjectChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #bucket(kind: Kind): Map<string, KubernetesObject> {
    const name = bucketName(kind);
    let bucket = this.#objects.get(name);
    if (bucket === undefined) this.#objects.set(name, (bucket = new Map()));
    return bucket;
  }

  #stamp(object: KubernetesObject): KubernetesObject {
    this.#resourceVersion += 1;
    const metadata = { ...object.metadata, resourceVersion: String(this.#resourceVersion) };
    return withoutUndefined({ ...object, metadata }) as KubernetesObject;
  }

  #notify(change: ObjectChange): void {
    for (const listener of this.#listeners) listener(change);
  }
}

/** Kubernetes writes times in whole seconds. */
export function formatTime(date: Date): string {
  return `${date.toISOString().slice(0, 19)}Z`;
}

function bucketName(kind: Kind): string {
  return `${kind.group}/${kind.kind}`;
}

function requireKind(object: KubernetesObject): Kind {
  const kind = kindOfObject(object);
  if (kind === undefined) throw new Error(`Unknown kind ${object.apiVersion} ${object.kind}`);
  return kind;
}

function desiredPart(object: KubernetesObject): unknown {
  const { metadata: _metadata, status: _status, ...rest } = object;
  return rest;
}

/** A copy without properties that are undefined: JSON drops them, so equality must not see them. */
function withoutUndefined(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((item) => withoutUndefined(item));
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(([, item]) => item !== undefined);
  return Object.fromEntries(entries.map(([key, item]) => [key, withoutUndefined(item)]));
}
