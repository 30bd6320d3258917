import { describe, expect, test } from "vitest";
import { ManualClock } from "./manual-clock.ts";

describe("ManualClock", () => {
  test("stands still until it is moved", async () => {
    const clock = new ManualClock(new Date("2026-11-21T12:00:00Z"));
    let fired = 0;
    clock.setTimer(0, () => fired++);
    await Promise.resolve();
    expect([fired, clock.now(), clock.wallTime().toISOString()]).toEqual([0, 0, "2026-11-21T12:00:00.000Z"]);
    await clock.advance(0);
    expect(fired).toBe(1);
  });

  test("fires what is due, in order of time, then of setting, at the time it was set for", async () => {
    const clock = new ManualClock();
    const fired: string[] = [];
    const set = (name: string, ms: number): void =>
      void clock.setTimer(ms, () => fired.push(`${name} at ${clock.now()}`));
    set("late", 30);
    set("first", 10);
    set("second", 10);
    set("beyond", 31);
    await clock.advance(30);
    expect(fired).toEqual(["first at 10", "second at 10", "late at 30"]);
    expect([clock.pendingTimers, clock.nextTimerMs]).toEqual([1, 1]);
  });

  test("fires timers that timers and their promises set, when they fall due in the same advance", async () => {
    const clock = new ManualClock();
    const fired: number[] = [];
    const again = (): void => {
      fired.push(clock.now());
      void Promise.resolve().then(() => clock.setTimer(10, again));
    };
    clock.setTimer(10, again);
    await clock.advance(35);
    expect([fired, clock.now(), clock.nextTimerMs]).toEqual([[10, 20, 30], 35, 5]);
  });

  test("does not fire a cancelled timer", async () => {
    const clock = new ManualClock();
    let fired = 0;
    const timer = clock.setTimer(10, () => fired++);
    timer.cancel();
    timer.cancel();
    await clock.advance(20);
    expect([fired, clock.pendingTimers, clock.nextTimerMs]).toEqual([0, 0, undefined]);
  });

  test("the date can be set without the timers noticing", async () => {
    const clock = new ManualClock();
    let fired = 0;
    clock.setTimer(10, () => fired++);
    clock.setWallTime(new Date("2030-01-01T00:00:00Z"));
    await clock.advance(9);
    expect([fired, clock.wallTime().toISOString()]).toEqual([0, "2030-01-01T00:00:00.009Z"]);
    await clock.advance(1);
    expect([fired, clock.now()]).toEqual([1, 10]);
  });
});
