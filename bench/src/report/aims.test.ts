import { describe, expect, it } from "vitest";
import { checkAims, formatAim } from "./aims.ts";
import { aLane, someResults } from "./test-results.ts";

const fast = { cpuPerGbit1: 0.1, churnClient: 5000, churnServer: 5000, p99Many: 1000 };
const slow = { cpuPerGbit1: 0.2, churnClient: 4000, churnServer: 6000, p99Many: 1900 };

describe("checkAims", () => {
  it("compares with the naive pair, with Istio's ztunnel and with nginx", () => {
    const aims = checkAims(
      someResults([
        aLane("hairpin-libssl", fast),
        aLane("naive", slow),
        aLane("ztunnel", slow),
        aLane("engine", { cpuPerRequest: 20 }, { kind: "http" }),
        aLane("nginx", { cpuPerRequest: 12 }, { kind: "http" }),
      ]),
    );
    expect(aims.map(({ ratio, reached }) => [ratio?.toFixed(2), reached])).toEqual([
      ["0.50", true],
      ["0.50", true],
      ["1.25", true],
      ["0.83", false],
      ["0.53", false],
      ["0.60", true],
    ]);
  });

  it("leaves open what was not measured", () => {
    const aims = checkAims(someResults([aLane("hairpin-libssl", fast)]));
    expect(aims.map(({ reached }) => reached)).toEqual(aims.map(() => undefined));
    expect(aims.map(formatAim).every((line) => line.startsWith("not measured"))).toBe(true);
  });

  it("says when a figure was disturbed", () => {
    const naive = aLane("naive", slow);
    const disturbed = {
      ...naive,
      figures: { cpuPerGbit1: { median: 0.2, values: [0.2], spread: 0, disturbed: true } },
    };
    const [first] = checkAims(someResults([aLane("hairpin-libssl", fast), disturbed]));
    expect(first && formatAim(first)).toMatch(/^reached .*\(0\.50, disturbed\)$/);
  });
});
