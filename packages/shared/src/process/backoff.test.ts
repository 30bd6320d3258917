import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { backoffMs } from "./backoff.ts";

const bounds = { firstMs: 1_000, maxMs: 150_000 };

describe("backoffMs", () => {
  test("doubles up to its maximum", () => {
    const waits = Array.from({ length: 10 }, (_, index) => backoffMs(index + 1, bounds, () => 0.5));
    expect(waits).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 150, 150].map((seconds) => seconds * 1000));
  });

  test("differs by a fifth either way, and never exceeds its maximum", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 10_000 }),
        fc.double({ min: 0, max: 0.999, noNaN: true }),
        (failures, random) => {
          const base = Math.min(150_000, 1000 * 2 ** (failures - 1));
          const wait = backoffMs(failures, bounds, () => random);
          expect(wait).toBeGreaterThanOrEqual(base * 0.8 - 1e-6);
          expect(wait).toBeLessThanOrEqual(Math.min(150_000, base * 1.2));
        },
      ),
    );
  });

  test.each([
    [1, 0, 800],
    [1, 0.999_999, 1200],
    [9, 0, 120_000],
    [9, 0.999_999, 150_000],
  ])("after failure %d with random %d it is about %d ms", (failures, random, expected) => {
    expect(backoffMs(failures, bounds, () => random)).toBeCloseTo(expected, 0);
  });
});
