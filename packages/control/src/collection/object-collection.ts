import { type Kind, kindOf, objectKey } from "./kind.ts";
import type { KubernetesObject } from "./kubernetes-object.ts";
import { NamespaceObjects } from "./namespace-objects.ts";
import { Snapshot } from "./snapshot.ts";

/**
 * The objects that a source delivered. Sources write, builders read {@link ObjectCollection.snapshot}; listeners are told
 * that something changed, not what: everything derived is asked for anew from the snapshot (recomputation.ts), and builders
 * reuse what they made from objects that are still the same (memo.ts).
 */
export class ObjectCollection {
  readonly #byKind: Map<Kind, Map<string, KubernetesObject>> = new Map();
  readonly #listeners: Set<() => void> = new Set();
  /** What the last snapshot does not show yet: by namespace, kind and name; undefined was removed. */
  readonly #unseen = new Map<string, Map<Kind, Map<string, KubernetesObject | undefined>>>();
  /** By name: those of the last snapshot. */
  #namespaces: ReadonlyMap<string, NamespaceObjects> = new Map();
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
    this.#note(kind, object, object);
    this.#changed();
  }

  remove(object: KubernetesObject): void {
    const kind = kindOf(object);
    if (kind === undefined || this.#byKind.get(kind)?.delete(objectKey(object)) !== true) return;
    this.#note(kind, object, undefined);
    this.#changed();
  }

  /** By {@link objectKey}. */
  find(kind: Kind, key: string): KubernetesObject | undefined {
    return this.#byKind.get(kind)?.get(key);
  }

  /** Makes one kind exactly these objects. A source that lists kind by kind says with {@link markSynced} when it has all. */
  replaceKind(kind: Kind, objects: readonly KubernetesObject[]): void {
    for (const object of this.#byKind.get(kind)?.values() ?? []) this.#note(kind, object, undefined);
    this.#byKind.set(kind, new Map(objects.map((object) => [objectKey(object), object])));
    for (const object of objects) this.#note(kind, object, object);
    this.#changed();
  }

  /** Everything has been delivered once. */
  markSynced(): void {
    this.#synced = true;
    this.#changed();
  }

  /** Makes the collection exactly these objects: the end of a source's full listing. */
  replaceAll(objects: Iterable<KubernetesObject>): void {
    for (const kind of this.#byKind.keys()) this.replaceKind(kind, []);
    for (const object of objects) this.put(object);
    this.markSynced();
  }

  /** Costs as much as what changed since the last one, and a copy of the lists that it changed. */
  snapshot(): Snapshot {
    const before = this.#snapshot;
    if (before !== undefined && this.#unseen.size === 0) return before;
    const namespaces = new Map(this.#namespaces);
    const changedKinds = new Set<Kind>();
    for (const [name, changes] of this.#unseen) {
      for (const kind of changes.keys()) changedKinds.add(kind);
      const next = (namespaces.get(name) ?? new NamespaceObjects(name)).with(changes);
      if (next.isEmpty) namespaces.delete(name);
      else namespaces.set(name, next);
    }
    this.#unseen.clear();
    this.#namespaces = namespaces;
    const isSame = (kind: Kind): boolean => !changedKinds.has(kind);
    this.#snapshot = new Snapshot(namespaces, before && { before, isSame });
    return this.#snapshot;
  }

  /** Returns what takes the listener off. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #note(kind: Kind, { metadata }: KubernetesObject, now: KubernetesObject | undefined): void {
    const { namespace = "", name } = metadata;
    const ofNamespace = this.#unseen.get(namespace) ?? new Map<Kind, Map<string, KubernetesObject | undefined>>();
    const ofKind = ofNamespace.get(kind) ?? new Map<string, KubernetesObject | undefined>();
    this.#unseen.set(namespace, ofNamespace.set(kind, ofKind.set(name, now)));
  }

  #changed(): void {
    for (const listener of this.#listeners) listener();
  }
}
