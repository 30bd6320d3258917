/** Numbers that follow from a seed (xorshift32): the same run on every machine. Not for secrets. */
export class Random {
  #state: number;

  constructor(seed: number) {
    // Zero would stay zero.
    this.#state = seed >>> 0 || 0x9e3779b9;
    for (let i = 0; i < 8; i++) this.int(2);
  }

  /** 0 … `limit` - 1. */
  int(limit: number): number {
    this.#state ^= this.#state << 13;
    this.#state ^= this.#state >>> 17;
    this.#state ^= this.#state << 5;
    return (this.#state >>> 0) % limit;
  }

  chance(oneIn: number): boolean {
    return this.int(oneIn) === 0;
  }

  pick<T>(values: readonly T[]): T {
    return values[this.int(values.length)] as T;
  }
}
