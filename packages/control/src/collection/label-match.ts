import type { KubernetesObject, LabelSelector } from "./kubernetes-object.ts";

type Labels = Readonly<Record<string, string>>;

export function label(object: Pick<KubernetesObject, "metadata">, key: string): string | undefined {
  return object.metadata.labels?.[key];
}

export function annotation(object: Pick<KubernetesObject, "metadata">, key: string): string | undefined {
  return object.metadata.annotations?.[key];
}

/** Every label of `wanted` is there with that value. An empty `wanted` matches. */
export function hasLabels(labels: Labels | undefined, wanted: Labels): boolean {
  return Object.entries(wanted).every(([key, value]) => labels?.[key] === value);
}

/** Kubernetes' LabelSelector; an unknown operator matches nothing. */
export function matchSelector(labels: Labels | undefined, selector: LabelSelector): boolean {
  if (!hasLabels(labels, selector.matchLabels ?? {})) return false;
  return (selector.matchExpressions ?? []).every(({ key, operator, values }) => {
    const value = labels?.[key];
    if (operator === "Exists") return value !== undefined;
    if (operator === "DoesNotExist") return value === undefined;
    if (operator === "In") return value !== undefined && (values ?? []).includes(value);
    if (operator === "NotIn") return value === undefined || !(values ?? []).includes(value);
    return false;
  });
}

/**
 * Finds labelled things by selector without walking all of them: the rarest label of the selector decides. Only labels that are
 * asked for are indexed.
 */
export class LabelIndex<T> {
  readonly all: readonly T[];
  readonly #byLabel: Map<string, ReadonlyMap<string | undefined, readonly T[]>> = new Map();
  readonly #labelsOf: (item: T) => Labels | undefined;

  constructor(items: readonly T[], labelsOf: (item: T) => Labels | undefined) {
    this.all = items;
    this.#labelsOf = labelsOf;
  }

  /** In the order given to the constructor. An empty selector matches all. */
  find(selector: Labels): readonly T[] {
    const entries = Object.entries(selector);
    let rarest: readonly T[] = this.all;
    for (const [key, value] of entries) {
      const held = this.#indexOf(key).get(value) ?? [];
      if (held.length < rarest.length) rarest = held;
    }
    return entries.length < 2 ? rarest : rarest.filter((item) => hasLabels(this.#labelsOf(item), selector));
  }

  #indexOf(key: string): ReadonlyMap<string | undefined, readonly T[]> {
    let index = this.#byLabel.get(key);
    if (index === undefined) {
      index = Map.groupBy(this.all, (item) => this.#labelsOf(item)?.[key]);
      this.#byLabel.set(key, index);
    }
    return index;
  }
}
