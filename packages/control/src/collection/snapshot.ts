import type { Kind, KindTypes } from "./kind.ts";
import type { KubernetesObject } from "./kubernetes-object.ts";

/** All objects at one moment; never changes. Lists are ordered by key, so that what is derived from them is stable. */
export class Snapshot {
  readonly #byKind: ReadonlyMap<Kind, ReadonlyMap<string, KubernetesObject>>;
  readonly #lists: Map<Kind, readonly KubernetesObject[]> = new Map();
  readonly #byNamespace: Map<Kind, ReadonlyMap<string, readonly KubernetesObject[]>> = new Map();

  constructor(byKind: ReadonlyMap<Kind, ReadonlyMap<string, KubernetesObject>>) {
    this.#byKind = byKind;
  }

  /** O(1). `namespace` is "" for kinds without one. */
  find<K extends Kind>(kind: K, namespace: string, name: string): KindTypes[K] | undefined {
    const key = namespace === "" ? name : `${namespace}/${name}`;
    return this.#byKind.get(kind)?.get(key);
  }

  list<K extends Kind>(kind: K): readonly KindTypes[K][] {
    let list = this.#lists.get(kind);
    if (list === undefined) {
      const entries = [...(this.#byKind.get(kind) ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
      list = entries.map(([, object]) => object);
      this.#lists.set(kind, list);
    }
    return list;
  }

  listIn<K extends Kind>(kind: K, namespace: string): readonly KindTypes[K][] {
    let index = this.#byNamespace.get(kind);
    if (index === undefined) {
      index = Map.groupBy(this.list(kind) as readonly KubernetesObject[], (object) => object.metadata.namespace ?? "");
      this.#byNamespace.set(kind, index);
    }
    return index.get(namespace) ?? [];
  }
}
