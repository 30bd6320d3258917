import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatDuration, tryParseDuration } from "./duration.ts";

describe("tryParseDuration", () => {
  it.each([
    ["5s", 5_000],
    ["1m", 60_000],
    ["24h", 86_400_000],
    ["100ms", 100],
    ["1h30m", 5_400_000],
    ["1.5s", 1_500],
    ["250us", 0.25],
    ["250µs", 0.25],
    ["2d", 172_800_000],
    ["1w", 604_800_000],
    ["0", 0],
    ["0s", 0],
  ])("reads %s as %d ms", (text, ms) => {
    expect(tryParseDuration(text)).toBeCloseTo(ms, 6);
  });

  it.each([
    "",
    "5",
    "s",
    "5 s",
    "-5s",
    "+5s",
    "5S",
    "5x",
    "5s5",
    "1e3s",
    ".5s",
    "5.s",
    "1000000w",
    "9".repeat(60) + "s",
    "5s\n",
  ])("refuses %j", (text) => {
    expect(tryParseDuration(text)).toBeUndefined();
  });

  it("reads back what formatDuration writes", () => {
    fc.assert(
      fc.property(fc.nat(1_000_000_000), (ms) => {
        expect(tryParseDuration(formatDuration(ms))).toBe(ms);
      }),
    );
  });
});
