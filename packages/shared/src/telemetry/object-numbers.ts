/**
 * A short name for each value of the mesh, to make keys of series from: a changed workload is another value, with labels of its own.
 * Holds no value alive.
 */
export class ObjectNumbers {
  readonly #numbers = new WeakMap<object, number>();
  #last = 0;

  /** 0: not known. */
  of(value: object | undefined): number {
    if (value === undefined) return 0;
    let number = this.#numbers.get(value);
    if (number === undefined) {
      number = ++this.#last;
      this.#numbers.set(value, number);
    }
    return number;
  }
}
