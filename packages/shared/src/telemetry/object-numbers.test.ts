import { describe, expect, it } from "vitest";
import { ObjectNumbers } from "./object-numbers.ts";

describe("ObjectNumbers", () => {
  it("gives each value one number of its own, and none to nothing", () => {
    const numbers = new ObjectNumbers();
    const [a, b] = [{}, {}];
    expect([numbers.of(a), numbers.of(b), numbers.of(a), numbers.of(undefined)]).toEqual([1, 2, 1, 0]);
  });
});
