import { describe, expect, it } from "vitest";
import { Limit } from "./limit.ts";

describe("Limit", () => {
  it("gives no more than there may be, of the part and of the whole, and takes each back once", () => {
    const whole = new Limit(3);
    const one = new Limit(2, whole);
    const other = new Limit(2, whole);
    const release = one.tryTake();
    one.tryTake();
    expect(one.tryTake()).toBeUndefined();
    expect(whole.taken).toBe(2);
    other.tryTake();
    expect(other.tryTake()).toBeUndefined();
    expect(other.taken).toBe(1);
    release?.();
    release?.();
    expect([one.taken, whole.taken]).toEqual([1, 2]);
    expect(other.tryTake()).toBeDefined();
  });
});
