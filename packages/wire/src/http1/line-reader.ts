import { Http1Error, type Http1ErrorCode } from "./errors.ts";
import { isTextByte } from "./syntax.ts";

const carriageReturn = 0x0d;
const lineFeed = 0x0a;
const nothing = Buffer.alloc(0);

/** The errors of one kind of line. */
export interface LineErrors {
  /** A control character inside the line. */
  readonly control: Http1ErrorCode;
  readonly tooLarge: Http1ErrorCode;
  readonly tooLargeStatus: number;
}

/**
 * Collects one line up to its CRLF out of any number of chunks. Each byte is looked at once, and copied only when its line
 * spans chunks. A bare CR or LF is an error: some servers take it for a line end and some do not (RFC 9112 §2.2).
 */
export class LineReader {
  /** The completed line without its CRLF, one character a byte. */
  line = "";
  /** Bytes of the current section (head, chunk line, trailers) so far, line ends included. The owner resets it. */
  sectionBytes = 0;
  #carry = nothing;
  #carryLength = 0;
  #sawCarriageReturn = false;

  /** Bytes of an unfinished line are held. */
  get partial(): boolean {
    return this.#carryLength > 0 || this.#sawCarriageReturn;
  }

  /**
   * Reads on from `offset`. Returns the offset after the line, or -1 when the chunk ended first. `maxSectionBytes` bounds
   * `sectionBytes`; the first byte beyond it is `errors.tooLarge`, wherever the chunks are split.
   */
  read(chunk: Buffer, offset: number, maxSectionBytes: number, errors: LineErrors): number {
    const limit = offset + maxSectionBytes - this.sectionBytes;
    const end = Math.min(chunk.length, limit);
    let index = offset;
    if (!this.#sawCarriageReturn) {
      while (index < end && isTextByte(chunk[index] as number)) index++;
      if (index + 1 < end && chunk[index] === carriageReturn && chunk[index + 1] === lineFeed) {
        return this.#complete(chunk, offset, index, index + 2);
      }
      this.#keep(chunk, offset, index);
      if (index < end) {
        if (chunk[index] !== carriageReturn) throw badByte(chunk[index] as number, errors);
        this.#sawCarriageReturn = true;
        index++;
      }
      this.sectionBytes += index - offset;
    }
    if (index === chunk.length) return -1;
    if (index === limit) {
      throw new Http1Error(errors.tooLarge, `More than ${maxSectionBytes} bytes`, errors.tooLargeStatus);
    }
    if (chunk[index] !== lineFeed) throw badByte(carriageReturn, errors);
    return this.#complete(chunk, index, index, index + 1);
  }

  #complete(chunk: Buffer, start: number, textEnd: number, end: number): number {
    if (this.#carryLength === 0) {
      this.line = chunk.toString("latin1", start, textEnd);
    } else {
      this.#keep(chunk, start, textEnd);
      this.line = this.#carry.toString("latin1", 0, this.#carryLength);
      this.#carryLength = 0;
    }
    this.#sawCarriageReturn = false;
    this.sectionBytes += end - start;
    return end;
  }

  #keep(chunk: Buffer, start: number, end: number): void {
    const length = this.#carryLength + end - start;
    if (length > this.#carry.length) {
      const larger = Buffer.allocUnsafeSlow(Math.max(256, length * 2));
      this.#carry.copy(larger, 0, 0, this.#carryLength);
      this.#carry = larger;
    }
    chunk.copy(this.#carry, this.#carryLength, start, end);
    this.#carryLength = length;
  }
}

/**
 * The offset after the empty line that ends a head, when the head lies between `offset` and `end` whole, with at least one
 * line and nothing that {@link LineReader} would refuse. Else -1.
 */
export function findHeadEnd(chunk: Buffer, offset: number, end: number): number {
  let index = offset;
  while (index < end) {
    const lineStart = index;
    while (index < end && isTextByte(chunk[index] as number)) index++;
    if (index + 1 >= end || chunk[index] !== carriageReturn || chunk[index + 1] !== lineFeed) return -1;
    index += 2;
    if (index === lineStart + 2) return lineStart === offset ? -1 : index;
  }
  return -1;
}

function badByte(byte: number, errors: LineErrors): Http1Error {
  if (byte === carriageReturn) return new Http1Error("HTTP1_BAD_LINE_END", "CR without LF");
  if (byte === lineFeed) return new Http1Error("HTTP1_BAD_LINE_END", "LF without CR");
  return new Http1Error(errors.control, `Control character 0x${byte.toString(16).padStart(2, "0")}`);
}
