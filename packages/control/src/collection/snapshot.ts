import type { Kind, KindTypes } from "./kind.ts";
import type { KubernetesObject } from "./kubernetes-object.ts";
import type { NamespaceObjects } from "./namespace-objects.ts";

/**
 * All objects at one moment; never changes. Lists are ordered by `namespace/name`, so that what is derived from them is stable. A
 * list of which nothing changed since the snapshot before is the same array, and a namespace the same object: what was derived
 * from them still holds (memo.ts).
 */
export class Snapshot {
  /** Those with objects, in the order of lists. Objects without a namespace are in that named "". */
  readonly namespaces: readonly NamespaceObjects[];
  readonly #byName: ReadonlyMap<string, NamespaceObjects>;
  readonly #lists: Map<Kind, readonly KubernetesObject[]>;

  /** `unchanged`: the snapshot before, and the kinds of which nothing changed since. */
  constructor(
    byName: ReadonlyMap<string, NamespaceObjects>,
    unchanged?: { readonly before: Snapshot; isSame(kind: Kind): boolean },
  ) {
    this.#byName = byName;
    // As "name/" sorts among keys: "a-b/x" comes before "a/x".
    this.namespaces = [...byName.values()].sort((a, b) => (`${a.name}/` < `${b.name}/` ? -1 : 1));
    this.#lists = new Map();
    if (unchanged === undefined) return;
    for (const [kind, list] of unchanged.before.#lists) if (unchanged.isSame(kind)) this.#lists.set(kind, list);
  }

  /** O(1). `namespace` is "" for kinds without one. */
  find<K extends Kind>(kind: K, namespace: string, name: string): KindTypes[K] | undefined {
    return this.#byName.get(namespace)?.find(kind, name);
  }

  list<K extends Kind>(kind: K): readonly KindTypes[K][] {
    let list = this.#lists.get(kind);
    if (list === undefined) this.#lists.set(kind, (list = this.namespaces.flatMap((held) => held.list(kind))));
    return list;
  }

  listIn<K extends Kind>(kind: K, namespace: string): readonly KindTypes[K][] {
    return this.#byName.get(namespace)?.list(kind) ?? [];
  }
}
