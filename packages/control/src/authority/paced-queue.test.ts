import { describe, expect, test } from "vitest";
import { PacedQueue } from "./paced-queue.ts";

/** Keeps the processor for so long. */
function burn(ms: number): void {
  const end = performance.now() + ms;
  while (performance.now() < end);
}

describe("PacedQueue", () => {
  test("gives everything else its turn between many jobs, and keeps their order", async () => {
    const queue = new PacedQueue();
    const order: number[] = [];
    let turns = 0;
    let isDone = false;
    const tick = (): void => {
      turns++;
      if (!isDone) setImmediate(tick);
    };
    setImmediate(tick);
    const jobs = Array.from({ length: 40 }, (_, index) =>
      queue.run(() => {
        burn(2);
        return order.push(index);
      }),
    );
    await Promise.all(jobs);
    isDone = true;
    expect(order).toEqual([...Array.from({ length: 40 }).keys()]);
    // 80 ms of work in turns of 8 ms.
    expect(turns).toBeGreaterThanOrEqual(8);
  });

  test("hands back what a job threw, and goes on", async () => {
    const queue = new PacedQueue();
    const failing = queue.run(() => {
      throw new Error("no");
    });
    const next = queue.run(() => "yes");
    await expect(failing).rejects.toThrow("no");
    await expect(next).resolves.toBe("yes");
  });

  test("refuses jobs at once when too many wait", async () => {
    const queue = new PacedQueue();
    const jobs = Array.from({ length: 20_000 }, () => queue.run(() => undefined));
    await expect(queue.run(() => undefined)).rejects.toMatchObject({ code: "CA_OVERLOADED" });
    await Promise.all(jobs);
  });
});
