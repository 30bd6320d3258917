import { WireError } from "../errors.ts";

/** Tags of the few ASN.1 types that a certificate's path to its names has. */
export const derTag = {
  boolean: 0x01,
  integer: 0x02,
  octetString: 0x04,
  objectIdentifier: 0x06,
  sequence: 0x30,
} as const;

/** One element: its tag byte and where its content lies. */
export interface DerElement {
  readonly tag: number;
  readonly start: number;
  readonly end: number;
}

/**
 * Walks one level of DER between two offsets. Strict (X.690 §10): definite, minimal lengths, nothing beyond the enclosing
 * element, one-byte tags. It never recurses, so depth costs nothing.
 */
export class DerReader {
  readonly #bytes: Uint8Array;
  readonly #end: number;
  #offset: number;

  constructor(bytes: Uint8Array, start: number = 0, end: number = bytes.length) {
    this.#bytes = bytes;
    this.#offset = start;
    this.#end = end;
  }

  get done(): boolean {
    return this.#offset === this.#end;
  }

  /** The next element if it has this tag. */
  optional(tag: number): DerElement | undefined {
    return !this.done && this.#bytes[this.#offset] === tag ? this.next() : undefined;
  }

  /** The next element, which must have this tag. */
  expect(tag: number, what: string): DerElement {
    const element = this.optional(tag);
    if (element === undefined) throw malformed(`${what} expected at byte ${this.#offset}`);
    return element;
  }

  next(): DerElement {
    const tag = this.#byte();
    if ((tag & 0x1f) === 0x1f) throw malformed(`multi-byte tag at byte ${this.#offset - 1}`);
    const length = this.#length();
    const start = this.#offset;
    if (length > this.#end - start) throw malformed(`element at byte ${start} is longer than what encloses it`);
    this.#offset = start + length;
    return { tag, start, end: this.#offset };
  }

  /** A reader of what an element of this level contains. */
  inside(element: DerElement): DerReader {
    return new DerReader(this.#bytes, element.start, element.end);
  }

  expectDone(what: string): void {
    if (!this.done) throw malformed(`unexpected bytes after ${what} at byte ${this.#offset}`);
  }

  #length(): number {
    const first = this.#byte();
    if (first < 0x80) return first;
    const count = first & 0x7f;
    if (count === 0 || count > 3) throw malformed(`indefinite or huge length at byte ${this.#offset - 1}`);
    let length = 0;
    for (let index = 0; index < count; index++) length = length * 256 + this.#byte();
    if (length < 0x80 || length < 256 ** (count - 1)) throw malformed(`length not minimal at byte ${this.#offset - 1}`);
    return length;
  }

  #byte(): number {
    if (this.#offset >= this.#end) throw malformed(`cut off at byte ${this.#end}`);
    return this.#bytes[this.#offset++] as number;
  }
}

export function malformed(reason: string): WireError {
  return new WireError("CERTIFICATE_MALFORMED", `Certificate is not valid DER: ${reason}`);
}
