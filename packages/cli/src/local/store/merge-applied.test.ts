import { describe, expect, it } from "vitest";
import { mergeApplied } from "./merge-applied.ts";

describe("mergeApplied", () => {
  it.each([
    ["sets what is wanted", {}, { a: 1 }, { b: 2 }, { a: 1, b: 2 }],
    ["keeps what a controller added", { a: 1 }, { a: 1 }, { a: 1, added: true }, { a: 1, added: true }],
    ["removes what the user took out", { a: 1, b: 2 }, { a: 1 }, { a: 1, b: 2, c: 3 }, { a: 1, c: 3 }],
    ["merges maps at any depth", { m: { x: 1 } }, { m: { y: 2 } }, { m: { x: 1, z: 3 } }, { m: { y: 2, z: 3 } }],
    ["replaces lists as a whole", { l: [1, 2] }, { l: [3] }, { l: [1, 2] }, { l: [3] }],
    ["replaces a map by a value", {}, { a: 1 }, { a: { b: 2 } }, { a: 1 }],
  ])("%s", (_name, lastApplied, desired, current, merged) => {
    expect(mergeApplied(lastApplied, desired, current)).toEqual(merged);
  });
});
