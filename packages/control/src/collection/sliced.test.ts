import type { Clock } from "@hairpin/shared/process";
import { ManualClock } from "@hairpin/testkit";
import { describe, expect, test } from "vitest";
import { type Sliced, runInSlices, runWhole } from "./sliced.ts";

/** Five steps of 4 ms; writes down what `look` sees at each. */
function* work(clock: Clock & { ms: number }, seen: number[], look: () => number): Sliced<string> {
  for (let step = 0; step < 5; step++) {
    clock.ms += 4;
    seen.push(look());
    yield;
  }
  return "whole";
}

function createClock(): Clock & { ms: number } {
  const clock = Object.assign(new ManualClock(), { ms: 0, now: () => clock.ms });
  return clock;
}

describe("runInSlices", () => {
  test("lets others in whenever a slice is over, and counts only its own time", async () => {
    const clock = createClock();
    const seen: number[] = [];
    let turns = 0;
    const takeTurn = (): void => {
      turns++;
      if (turns < 10) setImmediate(takeTurn);
    };
    setImmediate(takeTurn);
    const run = runInSlices(
      work(clock, seen, () => turns),
      { clock, sliceMs: 8 },
    );
    expect(await run).toEqual({ value: "whole", busyMs: 20 });
    expect(seen).toEqual([0, 0, 1, 1, 2]);
  });

  test("rejects with what the work throws", async () => {
    const clock = createClock();
    const failing = (function* (): Sliced<never> {
      yield;
      throw new Error("broken");
    })();
    await expect(runInSlices(failing, { clock, sliceMs: 8 })).rejects.toThrow("broken");
  });
});

describe("runWhole", () => {
  test("comes to the same without letting anybody in", () => {
    expect(runWhole(work(createClock(), [], () => 0))).toBe("whole");
  });
});
