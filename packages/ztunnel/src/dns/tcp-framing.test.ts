import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { frameMessage, MessageReader } from "./tcp-framing.ts";

describe("MessageReader", () => {
  it("gives the same messages however the bytes are cut", () => {
    const messages = fc.array(fc.uint8Array({ maxLength: 400 }), { maxLength: 6 });
    fc.assert(
      fc.property(messages, fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1 }), (sent, sizes) => {
        const stream = Buffer.concat(sent.map((message) => frameMessage(Buffer.from(message))));
        const reader = new MessageReader();
        const received: Buffer[] = [];
        for (let offset = 0, i = 0; offset < stream.length; i++) {
          const size = sizes[i % sizes.length] ?? 1;
          const shared = Buffer.from(stream.subarray(offset, offset + size));
          received.push(...reader.push(shared));
          // Whoever lent the chunk uses its memory again.
          shared.fill(0xee);
          offset += size;
        }
        expect(received.map((message) => [...message])).toEqual(sent.map((message) => [...message]));
      }),
    );
  });

  it("carries the longest message", () => {
    const longest = Buffer.alloc(65_535, 7);
    expect(new MessageReader().push(frameMessage(longest))).toEqual([longest]);
    expect(() => frameMessage(Buffer.alloc(65_536))).toThrow(RangeError);
  });
});
