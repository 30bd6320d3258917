import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ByteWriter } from "./byte-writer.ts";
import type { HeaderField } from "./header-field.ts";
import { headerList } from "./header-field.ts";
import { type DecodedBlock, HpackDecoder } from "./hpack-decoder.ts";
import { HpackEncoder } from "./hpack-encoder.ts";

const LIMITS = { maxListBytes: 100_000, maxCount: 1000 };

function decodeHex(decoder: HpackDecoder, hex: string): DecodedBlock {
  const bytes = Buffer.from(hex.replaceAll(" ", ""), "hex");
  return decoder.decode(bytes, 0, bytes.length);
}

function pairs(block: DecodedBlock): [string, string][] {
  return block.fields.map(({ name, value }) => [name, value]);
}

function encode(encoder: HpackEncoder, fields: readonly HeaderField[]): Buffer {
  const writer = new ByteWriter(1);
  encoder.encode(fields, writer);
  return Buffer.from(writer.bytes.subarray(0, writer.length));
}

const REQUESTS = [
  [
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/"],
    [":authority", "www.example.com"],
  ],
  [
    [":method", "GET"],
    [":scheme", "http"],
    [":path", "/"],
    [":authority", "www.example.com"],
    ["cache-control", "no-cache"],
  ],
  [
    [":method", "GET"],
    [":scheme", "https"],
    [":path", "/index.html"],
    [":authority", "www.example.com"],
    ["custom-key", "custom-value"],
  ],
] as const;
const RESPONSES = [
  [
    [":status", "302"],
    ["cache-control", "private"],
    ["date", "Mon, 21 Oct 2013 20:13:21 GMT"],
    ["location", "https://www.example.com"],
  ],
  [
    [":status", "307"],
    ["cache-control", "private"],
    ["date", "Mon, 21 Oct 2013 20:13:21 GMT"],
    ["location", "https://www.example.com"],
  ],
  [
    [":status", "200"],
    ["cache-control", "private"],
    ["date", "Mon, 21 Oct 2013 20:13:22 GMT"],
    ["location", "https://www.example.com"],
    ["content-encoding", "gzip"],
    ["set-cookie", "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1"],
  ],
] as const;

describe("HpackDecoder", () => {
  // RFC 7541 C.2: single fields.
  it.each([
    ["C.2.1", "400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572", "custom-key", "custom-header", 55],
    ["C.2.2", "040c 2f73 616d 706c 652f 7061 7468", ":path", "/sample/path", 0],
    ["C.2.3", "1008 7061 7373 776f 7264 0673 6563 7265 74", "password", "secret", 0],
    ["C.2.4", "82", ":method", "GET", 0],
  ])("decodes the RFC's example %s", (_, hex, name, value, tableSize) => {
    const decoder = new HpackDecoder(LIMITS);
    expect(pairs(decodeHex(decoder, hex))).toEqual([[name, value]]);
    expect(decoder.tableSize).toBe(tableSize);
  });

  it("keeps the mark of a never-indexed field", () => {
    const [field] = decodeHex(new HpackDecoder(LIMITS), "1008 7061 7373 776f 7264 0673 6563 7265 74").fields;
    expect(field).toEqual({ name: "password", value: "secret", sensitive: true });
  });

  it.each([
    [
      "C.3 without Huffman",
      [
        "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "8286 84be 5808 6e6f 2d63 6163 6865",
        "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
      ],
    ],
    [
      "C.4 with Huffman",
      [
        "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
        "8286 84be 5886 a8eb 1064 9cbf",
        "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
      ],
    ],
  ])("decodes the requests of %s", (_, blocks) => {
    const decoder = new HpackDecoder(LIMITS);
    const sizes = [57, 110, 164];
    for (const [i, hex] of blocks.entries()) {
      expect(pairs(decodeHex(decoder, hex))).toEqual(REQUESTS[i]);
      expect(decoder.tableSize).toBe(sizes[i]);
    }
  });

  it.each([
    [
      "C.5 without Huffman",
      [
        "4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
        "4803 3330 37c1 c0bf",
        "88c1 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3220 474d 54c0 5a04 677a 6970 7738 666f 6f3d 4153 444a 4b48 514b 425a 584f 5157 454f 5049 5541 5851 5745 4f49 553b 206d 6178 2d61 6765 3d33 3630 303b 2076 6572 7369 6f6e 3d31",
      ],
    ],
    [
      "C.6 with Huffman",
      [
        "4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6 2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3",
        "4883 640e ffc1 c0bf",
        "88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2 e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07",
      ],
    ],
  ])("decodes the responses of %s in a table of 256 bytes", (_, blocks) => {
    const decoder = new HpackDecoder(LIMITS);
    decodeHex(decoder, "3fe1 01");
    const sizes = [222, 222, 215];
    for (const [i, hex] of blocks.entries()) {
      expect(pairs(decodeHex(decoder, hex))).toEqual(RESPONSES[i]);
      expect(decoder.tableSize).toBe(sizes[i]);
    }
  });

  it.each([
    ["index 0", "80"],
    ["an index past the table", "be"],
    ["a literal whose name index is past the table", "7f 10 01 61"],
    ["an integer that never ends", "ff ff ff ff ff ff ff ff 7f"],
    ["an integer above every limit", "ff 80 80 80 80 7f"],
    ["a string longer than the block", "40 01 61 05 61"],
    ["a block that ends within a field", "40 01"],
    ["a block that ends before a string", "40"],
    ["a wrong Huffman code", "40 81 ff 01 61"],
    ["a table size above the limit", "3f e2 1f"],
    ["a table size update after a field", "82 20"],
    ["three table size updates", "20 20 20"],
  ])("refuses %s", (_, hex) => {
    expect(() => decodeHex(new HpackDecoder(LIMITS), hex)).toThrow(
      expect.objectContaining({ code: "HTTP2_COMPRESSION_ERROR" }),
    );
  });

  it("demands a table size update after its limit was lowered", () => {
    const decoder = new HpackDecoder(LIMITS);
    decoder.setMaxTableSize(0);
    expect(() => decodeHex(decoder, "82")).toThrow(/missing/);
    const obedient = new HpackDecoder(LIMITS);
    obedient.setMaxTableSize(0);
    expect(pairs(decodeHex(obedient, "20 82"))).toEqual([[":method", "GET"]]);
  });

  it("empties its table for an entry that is larger than the table", () => {
    const decoder = new HpackDecoder(LIMITS);
    decodeHex(decoder, "3f 09 40 01 61 01 62");
    expect(decoder.tableSize).toBe(34);
    decodeHex(decoder, "40 03 61 61 61 10 62 62 62 62 62 62 62 62 62 62 62 62 62 62 62 62");
    expect(decoder.tableSize).toBe(0);
  });

  it("stops keeping fields at its limits and stays in step", () => {
    const decoder = new HpackDecoder({ maxListBytes: 100, maxCount: 2 });
    // a: b is 34 bytes; the third field is one too many, and still enters the table.
    expect(decodeHex(decoder, "40 01 61 01 62 be 40 01 63 01 64")).toMatchObject({ exceeded: "headerListBytes" });
    expect(pairs(decodeHex(decoder, "be"))).toEqual([["c", "d"]]);
    const counted = new HpackDecoder({ maxListBytes: 10_000, maxCount: 2 });
    expect(decodeHex(counted, "82 82 82")).toMatchObject({ exceeded: "headerCount", fields: { length: 2 } });
  });

  it("reports a bad field also when it comes from the table", () => {
    const decoder = new HpackDecoder(LIMITS);
    expect(decodeHex(decoder, "40 01 41 01 62").problem).toMatch(/forbidden character/);
    expect(decodeHex(decoder, "be").problem).toMatch(/forbidden character/);
    expect(decodeHex(decoder, "82").problem).toBeUndefined();
  });

  it.each([
    ["an upper-case name", "X", "v"],
    ["a space in a name", "a b", "v"],
    ["an empty name", "", "v"],
    ["CR in a value", "a", "x\ry"],
    ["LF in a value", "a", "x\ny"],
    ["NUL in a value", "a", "x\0y"],
    ["DEL in a value", "a", "x\x7f"],
    ["a leading space", "a", " x"],
    ["a trailing tab", "a", "x\t"],
  ])("finds %s", (_, name, value) => {
    const bytes = Buffer.from([0, name.length, ...Buffer.from(name), value.length, ...Buffer.from(value, "latin1")]);
    expect(new HpackDecoder(LIMITS).decode(bytes, 0, bytes.length).problem).toBeDefined();
  });

  it("never throws anything but a compression error", () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 60 }), { maxLength: 5 }), (blocks) => {
        const decoder = new HpackDecoder(LIMITS);
        try {
          for (const bytes of blocks) decoder.decode(Buffer.from(bytes), 0, bytes.length);
        } catch (error) {
          expect(error).toMatchObject({ code: "HTTP2_COMPRESSION_ERROR" });
        }
        expect(decoder.tableSize).toBeLessThanOrEqual(4096);
      }),
    );
  });
});

describe("HpackEncoder", () => {
  it("codes the first request as RFC 7541 C.4.1", () => {
    const bytes = encode(new HpackEncoder(4096), headerList(REQUESTS[0]));
    expect(bytes.toString("hex")).toBe("828684418cf1e3c2e5f23a6ba0ab90f4ff");
  });

  it.each([
    ["authorization", { name: "authorization", value: "Bearer abc" }],
    ["a short cookie", { name: "cookie", value: "id=1" }],
    ["a field that is marked", { name: "x-token", value: "0123456789", sensitive: true }],
  ])("never indexes %s", (_, field) => {
    const encoder = new HpackEncoder(4096);
    const first = encode(encoder, [field]);
    expect((first[0] as number) & 0xf0).toBe(0x10);
    expect(encode(encoder, [field])).toEqual(first);
    const [decoded] = new HpackDecoder(LIMITS).decode(first, 0, first.length).fields;
    expect(decoded?.sensitive).toBe(true);
  });

  it("indexes a long cookie and writes it in one byte the second time", () => {
    const encoder = new HpackEncoder(4096);
    const field = { name: "cookie", value: "session=0123456789abcdef0123456789abcdef" };
    encode(encoder, [field]);
    expect(encode(encoder, [field])).toHaveLength(1);
  });

  it("announces the smallest and the last table size", () => {
    const encoder = new HpackEncoder(4096);
    encode(encoder, [{ name: "a", value: "b" }]);
    encoder.setPeerMaximum(0);
    encoder.setPeerMaximum(1000);
    const bytes = encode(encoder, [{ name: "a", value: "b" }]);
    expect(bytes.subarray(0, 4).toString("hex")).toBe("203fc907");
    expect(bytes.length).toBeGreaterThan(5);
  });

  it("announces a table smaller than the protocol's default", () => {
    expect(encode(new HpackEncoder(0), [{ name: ":method", value: "GET" }]).toString("hex")).toBe("2082");
  });

  it("is understood by the decoder, whatever is sent and however the tables change", () => {
    const name = fc.oneof(
      fc.constantFrom("a", "b", ":path", "cookie", "authorization", "content-length"),
      fc.stringMatching(/^[a-z0-9-]{1,20}$/),
    );
    const value = fc.oneof(
      fc.constantFrom("", "1", "2", "gzip, deflate"),
      fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes).toString("latin1")),
    );
    const field = fc.record({ name, value, sensitive: fc.boolean() });
    const step = fc.record({
      size: fc.option(fc.integer({ min: 0, max: 8192 })),
      fields: fc.array(field, { maxLength: 12 }),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 20 }), (steps) => {
        const encoder = new HpackEncoder(8192);
        const decoder = new HpackDecoder(LIMITS);
        for (const { size, fields } of steps) {
          if (size !== null) {
            encoder.setPeerMaximum(size);
            decoder.setMaxTableSize(size);
          }
          const bytes = encode(encoder, fields);
          const decoded = decoder.decode(bytes, 0, bytes.length).fields;
          expect(decoded.map(({ name, value }) => ({ name, value }))).toEqual(
            fields.map(({ name, value }) => ({ name, value })),
          );
          for (const [i, original] of fields.entries())
            if (original.sensitive) expect(decoded[i]?.sensitive).toBe(true);
        }
      }),
    );
  });
});
