import { describe, expect, test } from "vitest";
import { eventually } from "./eventually.ts";

describe("eventually", () => {
  test("gives the value of the first attempt that succeeds, whether it throws or rejects before", async () => {
    let attempts = 0;
    const value = await eventually(
      () => {
        attempts++;
        if (attempts === 1) throw new Error("thrown");
        return attempts < 4 ? Promise.reject(new Error("rejected")) : "done";
      },
      { intervalMs: 1 },
    );
    expect([value, attempts]).toEqual(["done", 4]);
  });

  test("throws the last error once the time is up", async () => {
    let attempts = 0;
    const failing = eventually(() => Promise.reject(new Error(`attempt ${++attempts}`)), {
      timeoutMs: 20,
      intervalMs: 5,
    });
    await expect(failing).rejects.toThrow(/^attempt \d+$/);
    expect(attempts).toBeGreaterThan(1);
  });

  test("tries at least once", async () => {
    await expect(eventually(() => 7, { timeoutMs: 0 })).resolves.toBe(7);
  });
});
