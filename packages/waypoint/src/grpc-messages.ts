/**
 * Counts the messages of one direction of a gRPC call: each is a flag byte, a length of four bytes and that many bytes, split
 * over chunks in any way. Looks at the prefixes only.
 */
export class GrpcMessageCounter {
  count = 0;
  /** Bytes of the current message that are still to come. */
  #payloadLeft = 0;
  /** Bytes of the prefix that were read: 0 to 4 (flag, then length). */
  #prefixRead = 0;
  #length = 0;

  push(chunk: Uint8Array): void {
    let offset = 0;
    while (offset < chunk.length) {
      const skipped = Math.min(this.#payloadLeft, chunk.length - offset);
      this.#payloadLeft -= skipped;
      offset += skipped;
      while (this.#payloadLeft === 0 && offset < chunk.length && !this.#prefixByte(chunk[offset++] ?? 0));
    }
  }

  /** True when the prefix is complete. */
  #prefixByte(byte: number): boolean {
    // Multiplied, not shifted: lengths above 2^31 are no negative numbers.
    if (this.#prefixRead > 0) this.#length = this.#length * 256 + byte;
    if (++this.#prefixRead < 5) return false;
    this.count++;
    this.#payloadLeft = this.#length;
    this.#prefixRead = 0;
    this.#length = 0;
    return true;
  }
}
