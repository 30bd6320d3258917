import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type FetchPriority, fetchPriority, FetchQueue } from "./fetch-queue.ts";

/** A queue whose jobs end when told to. */
class Bench {
  readonly started: string[] = [];
  readonly #ends = new Map<string, () => void>();
  readonly queue: FetchQueue;

  constructor(concurrency: number) {
    this.queue = new FetchQueue(concurrency);
  }

  push(key: string, priority: FetchPriority = "warmup"): void {
    this.queue.push(key, priority, async () => {
      this.started.push(key);
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#ends.set(key, resolve);
      await promise;
    });
  }

  get running(): number {
    return this.#ends.size;
  }

  /** Ends the oldest running job and lets the next begin. */
  async endOne(): Promise<void> {
    for (const [key, end] of this.#ends) {
      this.#ends.delete(key);
      end();
      break;
    }
    for (let turn = 0; turn < 5; turn++) await Promise.resolve();
  }

  async endAll(): Promise<string[]> {
    while (this.running > 0) await this.endOne();
    return this.started;
  }
}

describe("FetchQueue", () => {
  test("runs as many at once as allowed, the next when one has ended", async () => {
    const bench = new Bench(2);
    for (const key of ["a", "b", "c", "d"]) bench.push(key);
    expect(bench.started).toEqual(["a", "b"]);
    await bench.endOne();
    expect(bench.started).toEqual(["a", "b", "c"]);
    expect(await bench.endAll()).toEqual(["a", "b", "c", "d"]);
  });

  test("takes the most urgent first, equals in order", async () => {
    const bench = new Bench(1);
    bench.push("first", "background");
    bench.push("renewal", "background");
    bench.push("prefetch 1", "warmup");
    bench.push("traffic 1", "realtime");
    bench.push("prefetch 2", "warmup");
    bench.push("traffic 2", "realtime");
    expect(await bench.endAll()).toEqual(["first", "traffic 1", "traffic 2", "prefetch 1", "prefetch 2", "renewal"]);
  });

  test("a raised job overtakes, and is never lowered nor run twice", async () => {
    const bench = new Bench(1);
    for (const key of ["first", "a", "b", "c"]) bench.push(key);
    bench.queue.raise("c", "realtime");
    bench.queue.raise("c", "background");
    bench.queue.raise("b", "background");
    bench.queue.raise("first", "realtime");
    bench.queue.raise("unknown", "realtime");
    expect(await bench.endAll()).toEqual(["first", "c", "a", "b"]);
  });

  test("a job that was taken back does not run; one that runs is not disturbed", async () => {
    const bench = new Bench(1);
    for (const key of ["first", "a", "b"]) bench.push(key);
    bench.queue.remove("first");
    bench.queue.remove("a");
    bench.queue.remove("unknown");
    expect(await bench.endAll()).toEqual(["first", "b"]);
  });

  test("whatever is pushed, the limit holds, each job runs once, and urgency decides at every turn", async () => {
    const priorities = Object.keys(fetchPriority) as FetchPriority[];
    const jobs = fc.array(fc.constantFrom(...priorities), { maxLength: 40 });
    await fc.assert(
      fc.asyncProperty(jobs, fc.integer({ min: 1, max: 8 }), async (list, concurrency) => {
        const bench = new Bench(concurrency);
        list.forEach((priority, index) => bench.push(`${index}`, priority));
        expect(bench.running).toBe(Math.min(concurrency, list.length));
        const order = (await bench.endAll()).map(Number);
        expect(order.toSorted((a, b) => a - b)).toEqual(list.map((_, index) => index));
        const waited = order.slice(concurrency).map((index) => fetchPriority[list[index] ?? "realtime"] * 1000 + index);
        expect(waited).toEqual(waited.toSorted((a, b) => a - b));
      }),
    );
  });
});
