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

/** Finds labelled things by selector without walking all of them: the rarest label of the selector decides. */
export class LabelIndex<T> {
  readonly #byLabel: Map<string, T[]> = new Map();
  readonly #all: readonly T[];
  readonly #labelsOf: (item: T) => Labels | undefined;

  constructor(items: readonly T[], labelsOf: (item: T) => Labels | undefined) {
    this.#all = items;
    this.#labelsOf = labelsOf;
    for (const item of items) {
      for (const [key, value] of Object.entries(labelsOf(item) ?? {})) {
        const held = this.#byLabel.get(`${key}=${value}`);
        if (held === undefined) this.#byLabel.set(`${key}=${value}`, [item]);
        else held.push(item);
      }
    }
  }

  /** In the order given to the constructor. An empty selector matches all. */
  find(selector: Labels): readonly T[] {
    let rarest: readonly T[] = this.#all;
    for (const [key, value] of Object.entries(selector)) {
      const held = this.#byLabel.get(`${key}=${value}`);
      if (held === undefined) return [];
      if (held.length < rarest.length) rarest = held;
    }
    return rarest.filter((item) => hasLabels(this.#labelsOf(item), selector));
  }
}
