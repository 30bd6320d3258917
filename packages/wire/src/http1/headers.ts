/**
 * Header fields in the order and the letter case they came in. Lookups take lower-cased names. There is no object keyed
 * by names of the peer, so `__proto__` is a name like any other.
 */
export class Http1Headers implements Iterable<readonly [name: string, value: string]> {
  #names: string[] = [];
  #lowerNames: string[] = [];
  #values: string[] = [];

  /** Copies pairs; nothing is validated here, the writer validates what it writes. */
  static from(pairs: Iterable<readonly [name: string, value: string]>): Http1Headers {
    const list = new Http1Headers();
    for (const [name, value] of pairs) list.append(name, value);
    return list;
  }

  get size(): number {
    return this.#names.length;
  }

  /** `lowerName`: the name in lower case, where the caller knows it. */
  append(name: string, value: string, lowerName: string = name.toLowerCase()): void {
    this.#names.push(name);
    this.#lowerNames.push(lowerName);
    this.#values.push(value);
  }

  /** Of the field at that place, from 0 up to `size`: for loops that run for every message. */
  nameAt(index: number): string {
    return this.#names[index] as string;
  }

  /** As {@link nameAt}, in lower case. */
  lowerNameAt(index: number): string {
    return this.#lowerNames[index] as string;
  }

  /** As {@link nameAt}. */
  valueAt(index: number): string {
    return this.#values[index] as string;
  }

  has(lowerName: string): boolean {
    return this.#lowerNames.includes(lowerName);
  }

  /** The first value, or undefined. For fields that may repeat use {@link getAll} or {@link getJoined}. */
  get(lowerName: string): string | undefined {
    const index = this.#lowerNames.indexOf(lowerName);
    return index < 0 ? undefined : this.#values[index];
  }

  /** There is more than one field of that name. */
  isRepeated(lowerName: string): boolean {
    return this.#lowerNames.indexOf(lowerName) !== this.#lowerNames.lastIndexOf(lowerName);
  }

  /** Every value, in order. */
  getAll(lowerName: string): string[] {
    const values: string[] = [];
    for (
      let index = this.#lowerNames.indexOf(lowerName);
      index >= 0;
      index = this.#lowerNames.indexOf(lowerName, index + 1)
    ) {
      values.push(this.#values[index] as string);
    }
    return values;
  }

  /** The values as one list (RFC 9110 §5.2), or undefined. Not for `set-cookie`. */
  getJoined(lowerName: string): string | undefined {
    return this.has(lowerName) ? this.getAll(lowerName).join(", ") : undefined;
  }

  /** Replaces the first field of that name in its place and removes the others; appends when there is none. */
  set(name: string, value: string): void {
    const first = this.#lowerNames.indexOf(name.toLowerCase());
    if (first < 0) return this.append(name, value);
    this.#removeFrom(first + 1, name.toLowerCase());
    this.#names[first] = name;
    this.#values[first] = value;
  }

  /** Removes every field of that name. True when there was one. */
  delete(lowerName: string): boolean {
    return this.#removeFrom(0, lowerName);
  }

  clone(): Http1Headers {
    const copy = new Http1Headers();
    copy.#names = this.#names.slice();
    copy.#lowerNames = this.#lowerNames.slice();
    copy.#values = this.#values.slice();
    return copy;
  }

  /** Name as it came, and value. */
  *[Symbol.iterator](): IterableIterator<readonly [name: string, value: string]> {
    for (let index = 0; index < this.#names.length; index++) {
      yield [this.#names[index] as string, this.#values[index] as string];
    }
  }

  /** As {@link Symbol.iterator}, with the lower-cased name: what HTTP/2 and policies want. */
  *lowerCased(): IterableIterator<readonly [lowerName: string, value: string]> {
    for (let index = 0; index < this.#names.length; index++) {
      yield [this.#lowerNames[index] as string, this.#values[index] as string];
    }
  }

  #removeFrom(start: number, lowerName: string): boolean {
    let kept = start;
    for (let index = start; index < this.#names.length; index++) {
      if (this.#lowerNames[index] === lowerName) continue;
      this.#names[kept] = this.#names[index] as string;
      this.#lowerNames[kept] = this.#lowerNames[index] as string;
      this.#values[kept] = this.#values[index] as string;
      kept++;
    }
    const removed = kept < this.#names.length;
    this.#names.length = kept;
    this.#lowerNames.length = kept;
    this.#values.length = kept;
    return removed;
  }
}
