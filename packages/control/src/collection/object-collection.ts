import { type Kind, kindOf, objectKey } from "./kind.ts";
import type { KubernetesObject } from "./kubernetes-object.ts";
import { Snapshot } from "./snapshot.ts";

/**
 * The objects that a source delivered. Sources write, builders read {@link ObjectCollection.snapshot}; listeners are told
 * that something changed, not what: everything derived is computed anew from the snapshot (recomputation.ts).
 */
export class ObjectCollection {
  readonly #byKind: Map<Kind, Map<string, KubernetesObject>> = new Map();
  readonly #listeners: Set<() => void> = new Set();
  #snapshot: Snapshot | undefined;
  #synced = false;

  /** True once a source delivered everything it has. */
  get synced(): boolean {
    return this.#synced;
  }

  get size(): number {
    let size = 0;
    for (const objects of this.#byKind.values()) size += objects.size;
    return size;
  }

  /** Adds or replaces an object. Kinds that control does not read are dropped. */
  put(object: KubernetesObject): void {
    const kind = kindOf(object);
    if (kind === undefined) return;
    let objects = this.#byKind.get(kind);
    if (objects === undefined) this.#byKind.set(kind, (objects = new Map()));
    objects.set(objectKey(object), object);
    this.#changed();
  }

  remove(object: KubernetesObject): void {
    const kind = kindOf(object);
    if (kind !== undefined && this.#byKind.get(kind)?.delete(objectKey(object)) === true) this.#changed();
  }

  /** By {@link objectKey}. */
  find(kind: Kind, key: string): KubernetesObject | undefined {
    return this.#byKind.get(kind)?.get(key);
  }

  /** Makes one kind exactly these objects. A source that lists kind by kind says with {@link markSynced} when it has all. */
  replaceKind(kind: Kind, objects: readonly KubernetesObject[]): void {
    this.#byKind.set(kind, new Map(objects.map((object) => [objectKey(object), object])));
    this.#changed();
  }

  /** Everything has been delivered once. */
  markSynced(): void {
    this.#synced = true;
    this.#changed();
  }

  /** Makes the collection exactly these objects: the end of a source's full listing. */
  replaceAll(objects: Iterable<KubernetesObject>): void {
    this.#byKind.clear();
    for (const object of objects) this.put(object);
    this.markSynced();
  }

  snapshot(): Snapshot {
    // Copied only when asked after a change; a burst of changes costs one copy.
    this.#snapshot ??= new Snapshot(new Map([...this.#byKind].map(([kind, objects]) => [kind, new Map(objects)])));
    return this.#snapshot;
  }

  /** Returns what takes the listener off. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #changed(): void {
    this.#snapshot = undefined;
    for (const listener of this.#listeners) listener();
  }
}
