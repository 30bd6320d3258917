import { globSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { formatScenarioPage, readScenarios } from "./scenario-table.ts";

const root = join(import.meta.dirname, "../..");

describe("readScenarios", () => {
  it("reads names, of tables too, under their describe", () => {
    const text = `describe("a call", () => {
  it("is \\"served\\"", async () => {});
  it.each<[string, number]>([
    ["a", 1],
  ])("goes %s by %i", async () => {});
  it.each([...kinds])(
    "writes \`$kind\`",
    async () => {},
  );
});
`;
    expect(readScenarios(text)).toEqual([
      { group: "a call", name: 'is "served"' },
      { group: "a call", name: "goes … by …" },
      { group: "a call", name: "writes `…`" },
    ]);
  });

  it("reads why a group is skipped in a cluster", () => {
    const text =
      'describeLocally("a command", "it is local", () => {\n  it("works", () => {});\n});\ndescribe("b", () => {\n  it("c");';
    expect(readScenarios(text)).toEqual([
      { group: "a command", name: "works", onlyLocal: "it is local" },
      { group: "b", name: "c" },
    ]);
  });
});

describe("docs/scenarios.md", () => {
  const files = globSync("e2e/*.{mesh,cluster}.test.ts", { cwd: root })
    .toSorted()
    .map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));

  it.each(files)("has every scenario of $path", ({ text }) => {
    const written = text.match(/^ {2}it\b/gm) ?? [];
    expect(readScenarios(text)).toHaveLength(written.length);
  });

  it("is up to date (vitest -u writes it)", async () => {
    await expect(formatScenarioPage(files)).toMatchFileSnapshot(join(root, "docs/scenarios.md"));
  });
});
