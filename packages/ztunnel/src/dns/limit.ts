/** Gives one back. Idempotent. */
export type Release = () => void;

/** A bound on how many of something exist at once, in a part and in the whole to which it belongs. */
export class Limit {
  readonly #max: number;
  readonly #whole: Limit | undefined;
  #taken = 0;

  constructor(max: number, whole?: Limit) {
    this.#max = max;
    this.#whole = whole;
  }

  get taken(): number {
    return this.#taken;
  }

  /** Undefined: there are as many as there may be. */
  tryTake(): Release | undefined {
    if (this.#taken >= this.#max) return undefined;
    const releaseWhole = this.#whole?.tryTake();
    if (this.#whole && !releaseWhole) return undefined;
    this.#taken++;
    let released = false;
    return () => {
      if (released) return;
      released = true;
      this.#taken--;
      releaseWhole?.();
    };
  }
}
