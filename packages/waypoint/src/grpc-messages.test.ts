import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { GrpcMessageCounter } from "./grpc-messages.ts";

function frame(length: number): Buffer {
  const bytes = Buffer.alloc(5 + length, 1);
  bytes[0] = 0;
  bytes.writeUInt32BE(length, 1);
  return bytes;
}

describe("GrpcMessageCounter", () => {
  it("counts messages however their bytes are split", () => {
    const lengths = fc.array(fc.integer({ min: 0, max: 700 }), { maxLength: 10 });
    fc.assert(
      fc.property(lengths, fc.integer({ min: 1, max: 50 }), (messages, step) => {
        const stream = Buffer.concat(messages.map(frame));
        const counter = new GrpcMessageCounter();
        for (let at = 0; at < stream.length; at += step) counter.push(stream.subarray(at, at + step));
        expect(counter.count).toBe(messages.length);
      }),
    );
  });

  it("takes a length of 2^32 - 1 for what it is", () => {
    const counter = new GrpcMessageCounter();
    counter.push(Buffer.from([0, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0]));
    expect(counter.count).toBe(1);
  });
});
