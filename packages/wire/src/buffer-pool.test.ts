import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { BufferPool, threadBufferPool } from "./buffer-pool.ts";
import { WriteBacklog } from "./write-backlog.ts";

describe("BufferPool", () => {
  it("gives a buffer that fits, reuses it, and counts", () => {
    const pool = new BufferPool(1024 * 1024);
    const small = pool.acquire(100);
    const large = pool.acquire(5_000_000);
    expect([small.length, large.length]).toEqual([4096, 131_072]);
    expect(pool.stats).toEqual({ bytesInUse: 135_168, buffersInUse: 2, bytesFree: 0, buffersFree: 0 });
    pool.release(small);
    expect(pool.stats).toEqual({ bytesInUse: 131_072, buffersInUse: 1, bytesFree: 4096, buffersFree: 1 });
    expect(pool.acquire(4096)).toBe(small);
  });

  it("keeps no more than its limit", () => {
    const pool = new BufferPool(8192);
    const buffers = Array.from({ length: 5 }, () => pool.acquire(1));
    for (const buffer of buffers) pool.release(buffer);
    expect(pool.stats).toEqual({ bytesInUse: 0, buffersInUse: 0, bytesFree: 8192, buffersFree: 2 });
  });
});

describe("WriteBacklog", () => {
  it("gives back what was appended, in order, whatever the sizes and the order of calls", () => {
    const step = fc.oneof(
      fc.record({ append: fc.oneof(fc.integer({ min: 0, max: 300 }), fc.integer({ min: 0, max: 300_000 })) }),
      fc.constant("take" as const),
      fc.constant("release" as const),
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const backlog = new WriteBacklog();
        let next = 0;
        let expected = 0;
        let taken: Buffer | undefined;
        let appended = 0;
        const release = (): void => {
          if (taken === undefined) return;
          for (const byte of taken) if (byte !== expected++ % 251) throw new Error(`wrong byte at ${expected - 1}`);
          taken = undefined;
          backlog.releaseHead();
        };
        for (const action of steps) {
          if (action === "take") taken ??= backlog.takeHead();
          else if (action === "release") release();
          else {
            const bytes = Uint8Array.from({ length: action.append }, () => next++ % 251);
            backlog.append(bytes);
            bytes.fill(255);
            appended += action.append;
          }
          expect(backlog.size).toBe(appended - expected);
        }
        release();
        while ((taken = backlog.takeHead()) !== undefined) release();
        expect(expected).toBe(appended);
      }),
      { numRuns: 60 },
    );
    expect(threadBufferPool.stats.bytesInUse).toBe(0);
  });

  it("packs small writes together and gives everything back when cleared", () => {
    const backlog = new WriteBacklog();
    for (let index = 0; index < 100; index++) backlog.append(Buffer.alloc(17, index));
    expect(threadBufferPool.stats.buffersInUse).toBe(1);
    expect(backlog.takeHead()?.length).toBe(1700);
    backlog.append(Buffer.alloc(1)); // the head is being written: not into it
    expect(threadBufferPool.stats.buffersInUse).toBe(2);
    backlog.clear();
    expect(threadBufferPool.stats.buffersInUse).toBe(0);
    expect(backlog.takeHead()).toBeUndefined();
  });
});
