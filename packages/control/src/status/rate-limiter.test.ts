import { ManualClock } from "@hairpin/testkit";
import { describe, expect, test } from "vitest";
import { RateLimiter } from "./rate-limiter.ts";

describe("RateLimiter", () => {
  test("lets a burst pass, then so many a second, in order", async () => {
    const clock = new ManualClock();
    const limiter = new RateLimiter(clock, { perSecond: 10, burst: 2 });
    const passed: number[] = [];
    for (let caller = 0; caller < 5; caller++) void limiter.take().then(() => passed.push(caller));
    await clock.advance(0);
    expect(passed).toEqual([0, 1]);
    await clock.advance(100);
    expect(passed).toEqual([0, 1, 2]);
    await clock.advance(200);
    expect(passed).toEqual([0, 1, 2, 3, 4]);
    await clock.advance(10_000);
    void limiter.take().then(() => passed.push(5));
    await clock.advance(0);
    expect(passed).toHaveLength(6);
  });
});
