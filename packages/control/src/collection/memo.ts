/**
 * Remembers what was last built from each object, and builds anew only when one of its inputs is another than before. Objects of
 * a snapshot never change, so the same inputs mean the same result: a memo saves time and holds no state that could be wrong.
 * What belongs to an object goes with it.
 */
export class Memo<K extends object, V> {
  readonly #held = new WeakMap<K, { readonly inputs: readonly unknown[]; readonly value: V }>();

  /** `inputs`: everything else that `build` reads; objects count by identity. What throws is not remembered. */
  get(key: K, inputs: readonly unknown[], build: () => V): V {
    const held = this.find(key, inputs);
    return held === undefined ? this.keep(key, inputs, build()).value : held.value;
  }

  /** For builders that run in slices: {@link Memo.get} in two halves. */
  find(key: K, inputs: readonly unknown[]): { readonly value: V } | undefined {
    const held = this.#held.get(key);
    return held !== undefined && areSame(held.inputs, inputs) ? held : undefined;
  }

  keep(key: K, inputs: readonly unknown[], value: V): { readonly value: V } {
    const held = { inputs, value };
    this.#held.set(key, held);
    return held;
  }
}

function areSame(a: readonly unknown[], b: readonly unknown[]): boolean {
  if (a.length !== b.length) return false;
  for (let index = 0; index < a.length; index++) if (a[index] !== b[index]) return false;
  return true;
}
