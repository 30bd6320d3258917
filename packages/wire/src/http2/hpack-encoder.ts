import type { ByteWriter } from "./byte-writer.ts";
import { Http2Error } from "./error.ts";
import { DEFAULT_TABLE_SIZE } from "./frame.ts";
import type { HeaderField, HeaderList } from "./header-field.ts";
import { createEntry, DynamicTable, STATIC_TABLE, type TableEntry } from "./hpack-table.ts";
import { huffmanEncode, huffmanLength } from "./huffman.ts";

/** Values that rarely repeat: an entry would only push out useful ones. */
const NOT_WORTH_INDEXING: ReadonlySet<string> = new Set([
  ":path",
  "age",
  "content-length",
  "content-range",
  "date",
  "etag",
  "expires",
  "forwarded",
  "grpc-timeout",
  "if-modified-since",
  "if-none-match",
  "last-modified",
  "location",
  "range",
  "set-cookie",
  "traceparent",
  "tracestate",
  "x-b3-spanid",
  "x-b3-traceid",
  "x-forwarded-for",
  "x-request-id",
]);
const ALWAYS_SENSITIVE: ReadonlySet<string> = new Set(["authorization", "proxy-authorization"]);
/** RFC 7541 §7.1.3: a short cookie could be guessed through the table's hits. */
const SHORT_COOKIE = 20;

/** Where the values of one name are. */
interface NameIndex {
  /** The static index of the name, or 0. */
  readonly staticIndex: number;
  readonly staticValues: ReadonlyMap<string, number>;
}

const STATIC_NAMES: ReadonlyMap<string, NameIndex> = indexStaticTable();

function indexStaticTable(): Map<string, NameIndex> {
  const names = new Map<string, { staticIndex: number; staticValues: Map<string, number> }>();
  for (const [i, { field }] of STATIC_TABLE.entries()) {
    let name = names.get(field.name);
    if (name === undefined) names.set(field.name, (name = { staticIndex: i + 1, staticValues: new Map() }));
    if (field.value !== "") name.staticValues.set(field.value, i + 1);
  }
  return names;
}

/** Dynamic entries of one name: value → how many insertions came before it; `latest` is the newest of them. */
interface DynamicName {
  readonly values: Map<string, number>;
  latest: number;
  count: number;
}

/** One direction's encoder (RFC 7541). It uses Huffman codes where they are shorter. */
export class HpackEncoder {
  readonly #table: DynamicTable;
  readonly #ownMaximum: number;
  readonly #names = new Map<string, DynamicName>();
  #inserted = 0;
  /** Smallest size since the last block, when one has to be announced (§4.2). */
  #announce: number | undefined;

  /** `maximum`: bytes we are ready to keep, whatever the peer allows. */
  constructor(maximum: number) {
    this.#ownMaximum = maximum;
    this.#table = new DynamicTable(DEFAULT_TABLE_SIZE, (entry) => this.#forget(entry));
    if (maximum < DEFAULT_TABLE_SIZE) this.setPeerMaximum(DEFAULT_TABLE_SIZE);
  }

  /** The peer's SETTINGS_HEADER_TABLE_SIZE. */
  setPeerMaximum(size: number): void {
    const next = Math.min(size, this.#ownMaximum);
    if (next === this.#table.maxSize) return;
    this.#announce = Math.min(this.#announce ?? next, next);
    this.#table.resize(next);
  }

  /** Appends the block of `headers`, which were validated (header-rules.ts). */
  encode(headers: HeaderList, target: ByteWriter): void {
    if (this.#announce !== undefined) {
      if (this.#announce < this.#table.maxSize) writeInteger(target, 0x20, 5, this.#announce);
      writeInteger(target, 0x20, 5, this.#table.maxSize);
      this.#announce = undefined;
    }
    for (const field of headers) this.#encodeField(field, target);
  }

  #encodeField(field: HeaderField, target: ByteWriter): void {
    const { name, value } = field;
    const known = STATIC_NAMES.get(name);
    const dynamic = this.#names.get(name);
    const nameIndex = known?.staticIndex ?? (dynamic === undefined ? 0 : this.#indexOf(dynamic.latest));
    if (isSensitive(field)) {
      writeInteger(target, 0x10, 4, nameIndex);
      this.#writeLiteral(name, value, nameIndex, target);
      return;
    }
    const staticMatch = known?.staticValues.get(value);
    if (staticMatch !== undefined) {
      writeInteger(target, 0x80, 7, staticMatch);
      return;
    }
    const dynamicMatch = dynamic?.values.get(value);
    if (dynamicMatch !== undefined) {
      writeInteger(target, 0x80, 7, this.#indexOf(dynamicMatch));
      return;
    }
    const entry = createEntry(field, undefined);
    const index = !NOT_WORTH_INDEXING.has(name) && entry.size <= this.#table.maxSize * 0.75;
    writeInteger(target, index ? 0x40 : 0x00, index ? 6 : 4, nameIndex);
    this.#writeLiteral(name, value, nameIndex, target);
    if (index) this.#remember(entry);
  }

  #writeLiteral(name: string, value: string, nameIndex: number, target: ByteWriter): void {
    if (nameIndex === 0) writeString(target, name);
    writeString(target, value);
  }

  #indexOf(insertion: number): number {
    return STATIC_TABLE.length + this.#inserted - insertion;
  }

  #remember(entry: TableEntry): void {
    if (!this.#table.insert(entry)) return;
    const insertion = this.#inserted++;
    const { name, value } = entry.field;
    let known = this.#names.get(name);
    if (known === undefined) this.#names.set(name, (known = { values: new Map(), latest: insertion, count: 0 }));
    known.values.set(value, insertion);
    known.latest = insertion;
    known.count++;
  }

  /** Entries leave in the order they came, so an evicted value's number is its own: no duplicate is ever inserted. */
  #forget(entry: TableEntry): void {
    const known = this.#names.get(entry.field.name);
    if (known === undefined) return;
    known.values.delete(entry.field.value);
    if (--known.count === 0) this.#names.delete(entry.field.name);
  }
}

function isSensitive(field: HeaderField): boolean {
  if (field.sensitive === true || ALWAYS_SENSITIVE.has(field.name)) return true;
  return field.name === "cookie" && field.value.length < SHORT_COOKIE;
}

/** §5.1: `pattern` holds the bits above the prefix. */
function writeInteger(target: ByteWriter, pattern: number, prefixBits: number, value: number): void {
  target.reserve(6);
  const mask = (1 << prefixBits) - 1;
  if (value < mask) {
    target.bytes[target.length++] = pattern | value;
    return;
  }
  target.bytes[target.length++] = pattern | mask;
  let rest = value - mask;
  while (rest > 0x7f) {
    target.bytes[target.length++] = (rest & 0x7f) | 0x80;
    rest >>>= 7;
  }
  target.bytes[target.length++] = rest;
}

function writeString(target: ByteWriter, text: string): void {
  const coded = huffmanLength(text);
  if (coded < 0) {
    throw new Http2Error("A header has a character above U+00FF; values are bytes as Latin-1 text", {
      code: "HTTP2_INVALID_HEADERS",
    });
  }
  const huffman = coded < text.length;
  writeInteger(target, huffman ? 0x80 : 0x00, 7, huffman ? coded : text.length);
  target.reserve(text.length);
  if (huffman) huffmanEncode(text, target);
  else target.length += target.bytes.write(text, target.length, "latin1");
}
