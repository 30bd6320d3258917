import { maxMessageBytes } from "./message.ts";

/** A message as it goes over TCP: its length in two bytes, then itself (RFC 1035 §4.2.2). It must not exceed 65,535 bytes. */
export function frameMessage(message: Buffer): Buffer {
  if (message.length > maxMessageBytes) throw new RangeError(`A DNS message has at most ${maxMessageBytes} bytes`);
  const framed = Buffer.allocUnsafe(2 + message.length);
  framed.writeUInt16BE(message.length, 0);
  message.copy(framed, 2);
  return framed;
}

/** Cuts a stream of bytes into messages. Holds at most one incomplete message. */
export class MessageReader {
  /** The first byte of a length whose second has not come. */
  #lengthHead: number | undefined;
  #message: Buffer | undefined;
  #filled = 0;

  /** The messages that this chunk completes, in memory of their own. An empty message counts as one. */
  push(chunk: Uint8Array): Buffer[] {
    const messages: Buffer[] = [];
    let offset = 0;
    while (offset < chunk.length) {
      if (!this.#message) {
        const byte = chunk[offset++] ?? 0;
        if (this.#lengthHead === undefined) {
          this.#lengthHead = byte;
          continue;
        }
        this.#message = Buffer.alloc((this.#lengthHead << 8) | byte);
        this.#lengthHead = undefined;
        this.#filled = 0;
      }
      const taken = chunk.subarray(offset, offset + this.#message.length - this.#filled);
      this.#message.set(taken, this.#filled);
      this.#filled += taken.length;
      offset += taken.length;
      if (this.#filled < this.#message.length) break;
      messages.push(this.#message);
      this.#message = undefined;
    }
    return messages;
  }
}
