import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { readLines } from "./read-lines.ts";

async function* chunksOf(bytes: Uint8Array, cuts: readonly number[]): AsyncGenerator<Uint8Array> {
  const ends = [...new Set(cuts.map((cut) => cut % (bytes.length + 1)))].sort((a, b) => a - b);
  let begin = 0;
  for (const end of [...ends, bytes.length]) {
    yield bytes.subarray(begin, end);
    begin = end;
  }
}

describe("readLines", () => {
  test("gives the same lines however the bytes are split, inside characters too", async () => {
    const line = fc.string({ unit: "grapheme" }).map((text) => text.replaceAll("\n", "é"));
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 8 }), fc.array(fc.nat(), { maxLength: 8 }), async (lines, cuts) => {
        const bytes = new TextEncoder().encode(lines.map((text) => `${text}\n`).join(""));
        const read = await Array.fromAsync(readLines(chunksOf(bytes, cuts)));
        expect(read).toEqual(lines.filter((text) => text !== ""));
      }),
    );
  });

  test("refuses a line without end", async () => {
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) yield new Uint8Array(8 * 1024 * 1024).fill(65);
    }
    await expect(Array.fromAsync(readLines(endless()))).rejects.toThrow("longer than");
  });
});
