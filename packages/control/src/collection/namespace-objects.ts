import type { Kind, KindTypes } from "./kind.ts";
import type { KubernetesObject } from "./kubernetes-object.ts";

/** By kind, then name: what was put, or undefined for what was removed. */
export type NamespaceChanges = ReadonlyMap<Kind, ReadonlyMap<string, KubernetesObject | undefined>>;

const none: readonly never[] = [];

/** The objects of one namespace at one moment; never changes. Lists are ordered by name. */
export class NamespaceObjects {
  readonly name: string;
  readonly #byKind: ReadonlyMap<Kind, KindObjects>;

  constructor(name: string, byKind: ReadonlyMap<Kind, KindObjects> = new Map()) {
    this.name = name;
    this.#byKind = byKind;
  }

  get isEmpty(): boolean {
    return this.#byKind.size === 0;
  }

  find<K extends Kind>(kind: K, name: string): KindTypes[K] | undefined {
    return this.#byKind.get(kind)?.byName.get(name);
  }

  list<K extends Kind>(kind: K): readonly KindTypes[K][] {
    return this.#byKind.get(kind)?.list ?? none;
  }

  /** The next state. Lists of kinds without a change stay the same arrays. */
  with(changes: NamespaceChanges): NamespaceObjects {
    const byKind = new Map(this.#byKind);
    for (const [kind, changed] of changes) {
      const next = applied(byKind.get(kind), changed);
      if (next.list.length === 0) byKind.delete(kind);
      else byKind.set(kind, next);
    }
    return new NamespaceObjects(this.name, byKind);
  }
}

interface KindObjects {
  readonly byName: ReadonlyMap<string, KubernetesObject>;
  readonly list: readonly KubernetesObject[];
}

function applied(
  held: KindObjects | undefined,
  changes: ReadonlyMap<string, KubernetesObject | undefined>,
): KindObjects {
  const byName = new Map(held?.byName);
  for (const [name, object] of changes) {
    if (object === undefined) byName.delete(name);
    else byName.set(name, object);
  }
  return { byName, list: merged(held?.list ?? none, changes) };
}

/** Both in order, the changed in place of the held: one walk, as sorting thousands for one change would take milliseconds. */
function merged(
  held: readonly KubernetesObject[],
  changes: ReadonlyMap<string, KubernetesObject | undefined>,
): readonly KubernetesObject[] {
  const list: KubernetesObject[] = [];
  let at = 0;
  for (const [name, object] of [...changes].sort(([a], [b]) => (a < b ? -1 : 1))) {
    for (let next = held[at]; next !== undefined && next.metadata.name < name; next = held[++at]) list.push(next);
    if (held[at]?.metadata.name === name) at++;
    if (object !== undefined) list.push(object);
  }
  for (; at < held.length; at++) list.push(held[at] as KubernetesObject);
  return list;
}
