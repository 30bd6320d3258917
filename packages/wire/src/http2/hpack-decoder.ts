import { ErrorCode, type Http2Error, ConnectionFault } from "./error.ts";
import { findFieldProblem } from "./field-syntax.ts";
import { DEFAULT_TABLE_SIZE } from "./frame.ts";
import type { HeaderField } from "./header-field.ts";
import { createEntry, DynamicTable, STATIC_TABLE, type TableEntry } from "./hpack-table.ts";
import { huffmanDecode } from "./huffman.ts";

export interface HpackDecoderLimits {
  /** §4.1 bytes of one list. */
  readonly maxListBytes: number;
  readonly maxCount: number;
}

export interface DecodedBlock {
  /** Complete only when `exceeded` is undefined. */
  readonly fields: HeaderField[];
  /** The first field that breaks RFC 9113 §8.2.1: the message is malformed. */
  readonly problem: string | undefined;
  /** The limit that bit. The tables were kept in step all the same, so other streams go on. */
  readonly exceeded: "headerListBytes" | "headerCount" | undefined;
}

/** No integer we accept is longer: no limit of ours is above 2^28. */
const MAX_INTEGER = 0x0fffffff;
/** §4.2: a block may begin with the smallest size meanwhile and the final one. */
const MAX_SIZE_UPDATES = 2;

/** Huffman text is decoded here, then copied out as a string before anything else runs. */
let scratch: Buffer = Buffer.allocUnsafeSlow(4096);

/**
 * One direction's decoder (RFC 7541). An error of the format throws COMPRESSION_ERROR and ends the connection: the table is no
 * longer in step.
 */
export class HpackDecoder {
  readonly #limits: HpackDecoderLimits;
  readonly #table: DynamicTable = new DynamicTable(DEFAULT_TABLE_SIZE);
  /** The largest size that a size update may name. */
  #maxTableSize = DEFAULT_TABLE_SIZE;
  /** We lowered the limit below what the peer used: its next block must begin with an update (§4.2). */
  #updateOwed = false;

  #source: Buffer = scratch;
  #at = 0;
  #end = 0;

  constructor(limits: HpackDecoderLimits) {
    this.#limits = limits;
  }

  /** Bytes in the dynamic table. */
  get tableSize(): number {
    return this.#table.size;
  }

  /** The peer acknowledged our SETTINGS_HEADER_TABLE_SIZE. */
  setMaxTableSize(size: number): void {
    this.#maxTableSize = size;
    if (size < this.#table.maxSize) this.#updateOwed = true;
  }

  /** Decodes one whole block, `source[start, end)`. */
  decode(source: Buffer, start: number, end: number): DecodedBlock {
    this.#source = source;
    this.#at = start;
    this.#end = end;
    const fields: HeaderField[] = [];
    let problem: string | undefined;
    let exceeded: DecodedBlock["exceeded"];
    let listBytes = 0;
    let sizeUpdates = 0;
    let begun = false;
    while (this.#at < end) {
      const first = source[this.#at] as number;
      if ((first & 0xe0) === 0x20) {
        if (begun || ++sizeUpdates > MAX_SIZE_UPDATES) throw compressionError("a table size update is out of place");
        this.#updateTableSize();
        continue;
      }
      if (this.#updateOwed) throw compressionError("the table size update that our SETTINGS asked for is missing");
      begun = true;
      const entry = this.#readField(first);
      listBytes += entry.size;
      if (exceeded !== undefined) continue;
      if (listBytes > this.#limits.maxListBytes) exceeded = "headerListBytes";
      else if (fields.length === this.#limits.maxCount) exceeded = "headerCount";
      else fields.push(entry.field);
      problem ??= entry.problem;
    }
    return { fields, problem, exceeded };
  }

  #updateTableSize(): void {
    const size = this.#readInteger(5);
    if (size > this.#maxTableSize) throw compressionError(`a table size of ${size} is above ${this.#maxTableSize}`);
    this.#table.resize(size);
    this.#updateOwed = false;
  }

  #readField(first: number): TableEntry {
    if ((first & 0x80) !== 0) return this.#lookUp(this.#readInteger(7));
    const incremental = (first & 0x40) !== 0;
    const nameIndex = this.#readInteger(incremental ? 6 : 4);
    const name = nameIndex === 0 ? this.#readString() : this.#lookUp(nameIndex).field.name;
    const value = this.#readString();
    const sensitive = (first & 0xf0) === 0x10;
    const entry = createEntry({ name, value, sensitive }, findFieldProblem(name, value));
    if (incremental) this.#table.insert(entry);
    return entry;
  }

  #lookUp(index: number): TableEntry {
    const entry =
      index <= STATIC_TABLE.length ? STATIC_TABLE[index - 1] : this.#table.at(index - 1 - STATIC_TABLE.length);
    if (entry === undefined) throw compressionError(`table index ${index} does not exist`);
    return entry;
  }

  /** §5.1, with a prefix of `bits` in the current byte. */
  #readInteger(bits: number): number {
    const mask = (1 << bits) - 1;
    let value = this.#readByte() & mask;
    if (value < mask) return value;
    for (let shift = 0; shift <= 28; shift += 7) {
      const next = this.#readByte();
      value += (next & 0x7f) * 2 ** shift;
      if (value > MAX_INTEGER) break;
      if ((next & 0x80) === 0) return value;
    }
    throw compressionError("an integer is too large");
  }

  #readByte(): number {
    if (this.#at >= this.#end) throw compressionError("a header block ends in the middle of a field");
    return this.#source[this.#at++] as number;
  }

  #readString(): string {
    const huffman = this.#at < this.#end && ((this.#source[this.#at] as number) & 0x80) !== 0;
    const length = this.#readInteger(7);
    const start = this.#at;
    const end = start + length;
    if (end > this.#end) throw compressionError("a string is longer than its header block");
    this.#at = end;
    if (!huffman) return this.#source.toString("latin1", start, end);
    // The shortest code has 5 bits.
    if (scratch.length < length * 2) scratch = Buffer.allocUnsafeSlow(length * 2);
    const decoded = huffmanDecode(this.#source, start, end, scratch);
    if (decoded < 0) throw compressionError("a Huffman code is wrong");
    return scratch.toString("latin1", 0, decoded);
  }
}

function compressionError(message: string): Http2Error {
  return new ConnectionFault(ErrorCode.COMPRESSION_ERROR, `Header compression: ${message}`);
}
