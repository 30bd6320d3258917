import { describe, expect, it } from "vitest";
import { median, summarize } from "./statistics.ts";

const quiet = (values: readonly number[]) => values.map((value) => ({ value, foreignShare: 0 }));

describe("median", () => {
  it.each([
    [[3], 3],
    [[9, 1, 2], 2],
    [[4, 1, 2, 3], 2.5],
  ])("of %j is %d", (values, expected) => {
    expect(median(values)).toBe(expected);
  });

  it("of nothing is no number", () => {
    expect(median([])).toBeNaN();
  });
});

describe("summarize", () => {
  it("keeps the values and trusts repeats that agree", () => {
    expect(summarize(quiet([100, 110, 105]))).toEqual({
      median: 105,
      values: [100, 110, 105],
      spread: 10 / 105,
      disturbed: false,
    });
  });

  it("marks repeats that differ by more than a quarter of their median", () => {
    expect(summarize(quiet([100, 126, 100])).disturbed).toBe(true);
    expect(summarize(quiet([100, 125, 100])).disturbed).toBe(false);
  });

  it("marks a figure of which one repeat was made while other programs were busy", () => {
    const samples = [...quiet([100, 100]), { value: 100, foreignShare: 0.06 }];
    expect(summarize(samples).disturbed).toBe(true);
  });

  it("does not divide by a median of 0", () => {
    expect(summarize(quiet([0, 0])).spread).toBe(0);
  });
});
