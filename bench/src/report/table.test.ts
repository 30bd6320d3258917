import { describe, expect, it } from "vitest";
import { figures } from "../measure/figure.ts";
import { advantage, disturbedMark, formatFigure, markdownTable, renderReport, renderSummary } from "./table.ts";
import { aLane, someResults } from "./test-results.ts";

const figure = (id: string) => {
  const found = figures.find((one) => one.id === id);
  if (!found) throw new Error(`There is no figure ${id}`);
  return found;
};
const summary = (median: number, disturbed = false) => ({ median, values: [median], spread: 0, disturbed });

describe("markdownTable", () => {
  it("aligns columns: text to the left, figures to the right", () => {
    expect(
      markdownTable(
        ["", "a"],
        [
          ["lane", "1"],
          ["x", "1,000"],
        ],
      ),
    ).toBe(["|      |     a |", "| ---- | ----: |", "| lane |     1 |", "| x    | 1,000 |"].join("\n"));
  });
});

describe("formatFigure", () => {
  it("shows the digits of its figure, a mark when disturbed, a dash when there is none", () => {
    expect(formatFigure(figure("cpuPerGbit1"), summary(0.1234))).toBe("0.123");
    expect(formatFigure(figure("churnClient"), summary(12_345.6, true))).toBe(`12,346 ${disturbedMark}`);
    expect(formatFigure(figure("rssIdle"), undefined)).toBe("–");
  });
});

describe("advantage", () => {
  it("is above 1 for what is better, whichever way the figure counts", () => {
    expect(advantage(figure("churnClient"), summary(20), summary(10))).toBe(2);
    expect(advantage(figure("p99Many"), summary(20), summary(10))).toBe(0.5);
  });
});

describe("renderReport", () => {
  const report = renderReport(
    someResults([
      aLane("direct", { gbit1: 40 }),
      aLane("naive", { gbit1: 5, cpuPerGbit1: 0.2 }),
      aLane("hairpin-libssl", { gbit1: 10, cpuPerGbit1: 0.1 }),
      aLane("ztunnel", {}, { absent: "ZTUNNEL_BIN is not set" }),
      aLane("nginx", {}, { kind: "http", failures: ["churn failed: refused"] }),
    ]),
  );

  it("has a row for each lane that was measured, with a dash for what it has not", () => {
    expect(report).toMatch(/\| lane direct +\| +40\.00 \| +– \|/);
    expect(report).toMatch(/\| lane hairpin-libssl +\| +10\.00 \| +0\.100 \|/);
  });

  it("has ratios against the naive pair, and none against what was not measured", () => {
    expect(report).toContain("### Times better than lane naive");
    expect(report).toMatch(/\| lane hairpin-libssl +\| +2\.00 \| +2\.00 \|/);
    expect(report).not.toContain("Times better than lane ztunnel");
  });

  it("says what was absent and what failed", () => {
    expect(report).toContain("- lane ztunnel: not measured, ZTUNNEL_BIN is not set");
    expect(report).toContain("- lane nginx: churn failed: refused");
  });
});

describe("renderSummary", () => {
  it("has a table of pairs and one of HTTP proxies", () => {
    const text = renderSummary(
      someResults([aLane("naive", { gbit1: 5 }), aLane("nginx", { cpuPerRequest: 12 }, { kind: "http" })]),
    );
    expect(text).toMatch(/\| lane naive +\| +5\.00 \|/);
    expect(text).toMatch(/\| lane nginx +\| +– \| +12\.0 \|/);
  });
});
