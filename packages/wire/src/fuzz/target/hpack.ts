import { ByteWriter } from "../../http2/byte-writer.ts";
import { ErrorCode, Http2Error } from "../../http2/error.ts";
import { type HeaderList, headerList } from "../../http2/header-field.ts";
import { HpackDecoder } from "../../http2/hpack-decoder.ts";
import { HpackEncoder } from "../../http2/hpack-encoder.ts";
import type { FuzzTarget } from "../fuzz.ts";

const limits = { maxListBytes: 4096, maxCount: 32 };
const tableSizes = [4096, 0, 64, 1024];

/** Inputs are blocks, each behind its length in two bytes, after one byte that chooses the table sizes. */
function blocks(...lists: readonly HeaderList[]): Buffer {
  const encoder = new HpackEncoder(4096);
  const parts = [Buffer.from([0])];
  for (const list of lists) {
    const writer = new ByteWriter(256);
    encoder.encode(list, writer);
    parts.push(
      Buffer.from([writer.length >> 8, writer.length & 0xff]),
      Buffer.from(writer.bytes.subarray(0, writer.length)),
    );
  }
  return Buffer.concat(parts);
}

const connect = headerList({ ":method": "CONNECT", ":authority": "10.0.0.1:8080", baggage: "k8s.namespace.name=a" });
const response = headerList({ ":status": "200", server: "hairpin", "x-long": "v".repeat(300) });

/** A decoder that never breaks its limits, and an encoder whose blocks it reads back. */
export const hpackTarget: FuzzTarget = {
  name: "hpack",
  seeds: [
    blocks(connect),
    blocks(connect, connect, response),
    blocks(response, headerList({ cookie: "a=b", authorization: "secret", "x-bin": "\u00ff\u0000\u0080" })),
    Buffer.from([0, 0, 1, 0x20, 0, 2, 0x3f, 0xe1]),
  ],
  dictionary: [
    Buffer.from([0x3f, 0xe1, 0x1f]),
    Buffer.from([0x20]),
    Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f]),
    Buffer.from([0xbe]),
  ],
  run(input) {
    const [choice = 0] = input;
    const decoder = new HpackDecoder(limits);
    const maximum = tableSizes[choice & 3] as number;
    if (maximum !== 4096) decoder.setMaxTableSize(maximum);
    const echo = new Echo(tableSizes[(choice >> 2) & 3] as number);
    for (const block of readBlocks(input.subarray(1))) {
      const fields = decode(decoder, block);
      if (decoder.tableSize > 4096) throw new Error(`The table holds ${decoder.tableSize} bytes`);
      if (fields === undefined) return;
      echo.check(fields);
    }
  },
};

function* readBlocks(input: Uint8Array): Generator<Buffer> {
  for (let at = 0; at + 2 <= input.length;) {
    const length = ((input[at] as number) << 8) | (input[at + 1] as number);
    yield Buffer.from(input.subarray(at + 2, at + 2 + length));
    at += 2 + length;
  }
}

/** The fields; empty when a limit bit, undefined when the block was refused. */
function decode(decoder: HpackDecoder, block: Buffer): HeaderList | undefined {
  const surrounded = Buffer.concat([Buffer.alloc(8, 0x82), block, Buffer.alloc(8, 0x82)]);
  try {
    const { fields, exceeded } = decoder.decode(surrounded, 8, 8 + block.length);
    const bytes = fields.reduce((sum, { name, value }) => sum + 32 + name.length + value.length, 0);
    if (bytes > limits.maxListBytes || fields.length > limits.maxCount) throw new Error(`A list of ${bytes} bytes`);
    return exceeded === undefined ? fields : [];
  } catch (error) {
    if (error instanceof Http2Error && error.errorCode === ErrorCode.COMPRESSION_ERROR) return undefined;
    throw error;
  }
}

/** Our encoder and a decoder of its own, in step. */
class Echo {
  readonly #encoder: HpackEncoder;
  readonly #decoder = new HpackDecoder({ maxListBytes: 1 << 20, maxCount: 1 << 10 });

  constructor(tableSize: number) {
    this.#encoder = new HpackEncoder(tableSize);
  }

  check(fields: HeaderList): void {
    const writer = new ByteWriter(64);
    this.#encoder.encode(fields, writer);
    const back = this.#decoder.decode(Buffer.from(writer.bytes.subarray(0, writer.length)), 0, writer.length).fields;
    const plain = (list: HeaderList): string => JSON.stringify(list.map(({ name, value }) => [name, value]));
    if (plain(back) !== plain(fields)) throw new Error(`Sent ${plain(fields)}, read back ${plain(back)}`);
  }
}
