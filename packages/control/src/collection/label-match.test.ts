import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { LabelIndex, hasLabels, matchSelector } from "./label-match.ts";

const labels = fc.dictionary(fc.constantFrom("a", "b", "c"), fc.constantFrom("1", "2"), { maxKeys: 3 });

describe("LabelIndex", () => {
  test("finds exactly what comparing everything finds", () => {
    fc.assert(
      fc.property(fc.array(labels, { maxLength: 20 }), labels, (items, selector) => {
        const index = new LabelIndex(items, (item) => item);
        expect(index.find(selector)).toEqual(items.filter((item) => hasLabels(item, selector)));
      }),
    );
  });
});

describe("matchSelector", () => {
  const held = { team: "a", tier: "web" };
  test.each([
    [{}, true],
    [{ matchLabels: { team: "a" } }, true],
    [{ matchLabels: { team: "b" } }, false],
    [{ matchExpressions: [{ key: "team", operator: "In", values: ["b", "a"] }] }, true],
    [{ matchExpressions: [{ key: "team", operator: "NotIn", values: ["a"] }] }, false],
    [{ matchExpressions: [{ key: "missing", operator: "NotIn", values: ["a"] }] }, true],
    [{ matchExpressions: [{ key: "missing", operator: "In", values: ["a"] }] }, false],
    [{ matchExpressions: [{ key: "tier", operator: "Exists" }] }, true],
    [{ matchExpressions: [{ key: "tier", operator: "DoesNotExist" }] }, false],
    [{ matchExpressions: [{ key: "tier", operator: "Like", values: ["w"] }] }, false],
    [{ matchLabels: { team: "a" }, matchExpressions: [{ key: "tier", operator: "DoesNotExist" }] }, false],
  ])("%j is %s", (selector, expected) => {
    expect(matchSelector(held, selector)).toBe(expected);
  });
});
