import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ByteQueue } from "./byte-queue.ts";

describe("ByteQueue", () => {
  it("gives back what was appended, in order, however it is taken", () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant("append" as const), length: fc.integer({ min: 0, max: 200_000 }) }),
      fc.record({ kind: fc.constant("move" as const), length: fc.integer({ min: 1, max: 150_000 }) }),
      fc.record({ kind: fc.constant("shift" as const), length: fc.constant(0) }),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const queue = new ByteQueue();
        let written = 0;
        let read = 0;
        const check = (bytes: Uint8Array): void => {
          for (const byte of bytes) if (byte !== read++ % 251) throw new Error(`byte ${read - 1} is wrong`);
        };
        for (const { kind, length } of steps) {
          if (kind === "append") {
            queue.append(Buffer.from(Array.from({ length }, (_, i) => (written + i) % 251)), 0, length);
            written += length;
          } else if (kind === "move") {
            const target = Buffer.alloc(length);
            check(target.subarray(0, queue.moveTo(target, 0, length)));
          } else {
            const piece = queue.shift();
            if (piece !== undefined) {
              check(piece.block.subarray(piece.start, piece.end));
              ByteQueue.release(piece);
            }
          }
          expect(queue.length).toBe(written - read);
        }
      }),
      { numRuns: 30 },
    );
  });

  it("lends a block to nobody else before its piece is released", () => {
    const queue = new ByteQueue();
    const other = new ByteQueue();
    const large = Buffer.alloc(65_536, 1);
    queue.append(large, 0, large.length);
    const piece = queue.shift();
    if (piece === undefined) throw new Error("nothing was queued");
    other.append(Buffer.alloc(65_536, 2), 0, 65_536);
    expect(piece.block.subarray(piece.start, piece.end).every((byte) => byte === 1)).toBe(true);
    ByteQueue.release(piece);
  });

  it("says how much it dropped", () => {
    const queue = new ByteQueue();
    queue.append(Buffer.alloc(3000), 0, 3000);
    queue.moveTo(Buffer.alloc(10), 0, 10);
    expect(queue.clear()).toBe(2990);
    expect(queue.length).toBe(0);
    expect(queue.shift()).toBeUndefined();
  });
});
