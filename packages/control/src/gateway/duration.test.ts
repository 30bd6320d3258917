import { describe, expect, test } from "vitest";
import { parseGatewayDuration } from "./duration.ts";

describe("parseGatewayDuration", () => {
  test.each([
    ["0s", 0],
    ["500ms", 500],
    ["10s", 10_000],
    ["1m30s", 90_000],
    ["1h2m3s4ms", 3_723_004],
    ["99999h", 359_996_400_000],
  ])("%s is %d ms", (text, expected) => {
    expect(parseGatewayDuration(text)).toBe(expected);
  });

  test.each(["", "5", "1d", "-1s", "1.5s", "100000s", "1s1s1s1s1s", " 1s", "1 s"])("%j is none", (text) => {
    expect(() => parseGatewayDuration(text)).toThrow("is not one such as");
  });
});
