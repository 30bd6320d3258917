// The tables of RFC 7541 §2.3: the static one of appendix A, and the bounded dynamic one that each direction keeps.

import type { HeaderField } from "./header-field.ts";

/** §4.1: what an entry costs beyond its bytes. */
export const ENTRY_OVERHEAD = 32;

export interface TableEntry {
  readonly field: HeaderField;
  readonly size: number;
  /** Why the field breaks RFC 9113 §8.2.1, found once when it was decoded. */
  readonly problem: string | undefined;
}

export function createEntry(field: HeaderField, problem: string | undefined): TableEntry {
  return { field, size: field.name.length + field.value.length + ENTRY_OVERHEAD, problem };
}

/** Appendix A, in order from index 1. `name` or `name: value`. */
const STATIC_TEXT: readonly string[] = [
  ":authority",
  ":method: GET",
  ":method: POST",
  ":path: /",
  ":path: /index.html",
  ":scheme: http",
  ":scheme: https",
  ":status: 200",
  ":status: 204",
  ":status: 206",
  ":status: 304",
  ":status: 400",
  ":status: 404",
  ":status: 500",
  "accept-charset",
  "accept-encoding: gzip, deflate",
  "accept-language",
  "accept-ranges",
  "accept",
  "access-control-allow-origin",
  "age",
  "allow",
  "authorization",
  "cache-control",
  "content-disposition",
  "content-encoding",
  "content-language",
  "content-length",
  "content-location",
  "content-range",
  "content-type",
  "cookie",
  "date",
  "etag",
  "expect",
  "expires",
  "from",
  "host",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "if-range",
  "if-unmodified-since",
  "last-modified",
  "link",
  "location",
  "max-forwards",
  "proxy-authenticate",
  "proxy-authorization",
  "range",
  "referer",
  "refresh",
  "retry-after",
  "server",
  "set-cookie",
  "strict-transport-security",
  "transfer-encoding",
  "user-agent",
  "vary",
  "via",
  "www-authenticate",
];

/** Entry 0 is static index 1. */
export const STATIC_TABLE: readonly TableEntry[] = STATIC_TEXT.map((text) => {
  const colon = text.indexOf(": ", 1);
  const name = colon < 0 ? text : text.slice(0, colon);
  const value = colon < 0 ? "" : text.slice(colon + 2);
  return createEntry(Object.freeze({ name, value, sensitive: false }), undefined);
});

/** Newest first, bounded by the sum of entry sizes; a ring, so that insertion and eviction cost the same whatever the size. */
export class DynamicTable {
  #ring: (TableEntry | undefined)[] = Array.from({ length: 16 });
  /** Position of the oldest entry. */
  #oldest = 0;
  #count = 0;
  #size = 0;
  #maxSize: number;
  readonly #onEvict: ((entry: TableEntry) => void) | undefined;

  constructor(maxSize: number, onEvict?: (entry: TableEntry) => void) {
    this.#maxSize = maxSize;
    this.#onEvict = onEvict;
  }

  get maxSize(): number {
    return this.#maxSize;
  }

  get size(): number {
    return this.#size;
  }

  /** 0 is the newest; undefined past the oldest. */
  at(index: number): TableEntry | undefined {
    if (index >= this.#count) return undefined;
    return this.#ring[(this.#oldest + this.#count - 1 - index) & (this.#ring.length - 1)];
  }

  /** §4.4: evicts until the entry fits; one larger than the table empties it and is not kept (returns false). */
  insert(entry: TableEntry): boolean {
    this.#evictTo(this.#maxSize - entry.size);
    if (entry.size > this.#maxSize) return false;
    if (this.#count === this.#ring.length) this.#grow();
    this.#ring[(this.#oldest + this.#count) & (this.#ring.length - 1)] = entry;
    this.#count++;
    this.#size += entry.size;
    return true;
  }

  resize(maxSize: number): void {
    this.#maxSize = maxSize;
    this.#evictTo(maxSize);
  }

  #evictTo(size: number): void {
    while (this.#count > 0 && this.#size > size) {
      const entry = this.#ring[this.#oldest] as TableEntry;
      this.#ring[this.#oldest] = undefined;
      this.#oldest = (this.#oldest + 1) & (this.#ring.length - 1);
      this.#count--;
      this.#size -= entry.size;
      this.#onEvict?.(entry);
    }
  }

  #grow(): void {
    const entries = Array.from({ length: this.#count }, (_, i) => this.at(this.#count - 1 - i));
    this.#ring = [...entries, ...Array.from({ length: this.#ring.length * 2 - this.#count }, () => undefined)];
    this.#oldest = 0;
  }
}
