import { ManualClock } from "@hairpin/testkit";
import { describe, expect, test } from "vitest";
import { Recomputation } from "./recomputation.ts";

function counting(busyMs = 0): {
  clock: ManualClock;
  runs: number[];
  recomputation: Recomputation;
  finish: () => void;
} {
  const clock = new ManualClock();
  const runs: number[] = [];
  let finish = (): void => {};
  const recomputation = new Recomputation({
    clock,
    work: async () => {
      runs.push(clock.now());
      await new Promise<void>((resolve) => (finish = resolve));
      return busyMs;
    },
  });
  return { clock, runs, recomputation, finish: () => finish() };
}

describe("Recomputation", () => {
  test("runs once for a burst, soon after its end", async () => {
    const { clock, runs, recomputation } = counting();
    recomputation.request();
    await clock.advance(3);
    recomputation.request();
    await clock.advance(4);
    expect(runs).toEqual([]);
    await clock.advance(1);
    expect(runs).toEqual([8]);
  });

  test("is not put off for longer than 20 ms by changes that do not stop", async () => {
    const { clock, runs, recomputation } = counting();
    for (let i = 0; i < 10; i++) {
      recomputation.request();
      await clock.advance(4);
    }
    expect(runs[0]).toBe(20);
  });

  test("runs again, never at the same time and after a rest, when something changed while it ran", async () => {
    const { clock, runs, recomputation, finish } = counting(100);
    recomputation.request();
    await clock.advance(5);
    recomputation.request();
    await clock.advance(100);
    expect(runs).toEqual([5]);
    finish();
    await clock.advance(0);
    // It rests as long as the first run was busy.
    await clock.advance(99);
    expect(runs).toEqual([5]);
    await clock.advance(1);
    expect(runs).toEqual([5, 205]);
  });

  test("waits for the work under way when stopped, and does nothing afterwards", async () => {
    const { clock, runs, recomputation, finish } = counting();
    recomputation.request();
    await clock.advance(5);
    let stopped = false;
    const stopping = recomputation.stop().then(() => (stopped = true));
    await clock.advance(0);
    expect(stopped).toBe(false);
    finish();
    await stopping;
    recomputation.request();
    await clock.advance(100);
    expect(runs).toHaveLength(1);
  });
});
