import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ByteWriter } from "./byte-writer.ts";
import { huffmanDecode, huffmanEncode, huffmanLength } from "./huffman.ts";

function encode(text: string): Buffer {
  const writer = new ByteWriter(1);
  writer.reserve(huffmanLength(text));
  huffmanEncode(text, writer);
  return Buffer.from(writer.bytes.subarray(0, writer.length));
}

function decode(bytes: Buffer): string | undefined {
  const target = Buffer.alloc(bytes.length * 2);
  const length = huffmanDecode(bytes, 0, bytes.length, target);
  return length < 0 ? undefined : target.toString("latin1", 0, length);
}

describe("Huffman code", () => {
  // RFC 7541 appendix C.4 and C.6.
  it.each([
    ["www.example.com", "f1e3c2e5f23a6ba0ab90f4ff"],
    ["no-cache", "a8eb10649cbf"],
    ["custom-key", "25a849e95ba97d7f"],
    ["custom-value", "25a849e95bb8e8b4bf"],
    ["302", "6402"],
    ["private", "aec3771a4b"],
    ["Mon, 21 Oct 2013 20:13:21 GMT", "d07abe941054d444a8200595040b8166e082a62d1bff"],
    ["https://www.example.com", "9d29ad171863c78f0b97c8e9ae82ae43d3"],
    [
      "foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1",
      "94e7821dd7f2e6c7b335dfdfcd5b3960d5af27087f3672c1ab270fb5291f9587316065c003ed4ee5b1063d5007",
    ],
  ])("codes %s as the RFC does", (text, hex) => {
    expect(encode(text).toString("hex")).toBe(hex);
    expect(decode(Buffer.from(hex, "hex"))).toBe(text);
  });

  it("gives back any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        const text = Buffer.from(bytes).toString("latin1");
        const coded = encode(text);
        expect(coded.length).toBe(huffmanLength(text));
        expect(decode(coded)).toBe(text);
      }),
    );
  });

  it("has a code for every byte and no two alike", () => {
    const all = Array.from({ length: 256 }, (_, byte) => String.fromCharCode(byte)).join("");
    expect(decode(encode(all))).toBe(all);
  });

  it("says so when a character is no byte", () => {
    expect(huffmanLength("€")).toBe(-1);
  });

  it.each([
    ["padding of eight ones", "f1e3c2e5f23a6ba0ab90f4ffff"],
    ["padding with a zero", "06"],
    ["EOS", "ffffffff"],
    ["EOS after a symbol", "1fffffffff"],
    ["only padding, a whole byte", "ff"],
  ])("refuses %s", (_, hex) => {
    expect(decode(Buffer.from(hex, "hex"))).toBeUndefined();
  });

  it("ends on anything", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), (bytes) => {
        const text = decode(Buffer.from(bytes));
        // What decodes must be the only way to write it (RFC 7541 §5.2 allows no other padding).
        if (text !== undefined) expect(encode(text)).toEqual(Buffer.from(bytes));
      }),
    );
  });
});
