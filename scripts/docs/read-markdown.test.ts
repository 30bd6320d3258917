import { describe, expect, it } from "vitest";
import { readAnchors, readLinks, readRows } from "./read-markdown.ts";

describe("readRows", () => {
  it("gives the names of the first column of tables with that title", () => {
    const text =
      "## Part\n\n| code | means |\n| --- | --- |\n| `A`, `B` | `not this` |\n\n| other | x |\n| --- | --- |\n| `C` | |\n";
    expect(readRows(text, "code")).toEqual([
      { name: "A", line: 5, heading: "Part" },
      { name: "B", line: 5, heading: "Part" },
    ]);
  });

  it("passes over fenced code and keeps escaped pipes", () => {
    const text = "```\n| code |\n| `A` |\n```\n| code | x |\n| --- | --- |\n| `a \\| b` | |\n";
    expect(readRows(text, "code").map(({ name }) => name)).toEqual(["a \\| b"]);
  });
});

describe("readLinks", () => {
  it("gives relative links and leaves addresses and code alone", () => {
    const text = "[a](b.md#c) `[x](y)` [d](https://e.example/)\n[f](#g)";
    expect(readLinks(text)).toEqual([
      { target: "b.md#c", line: 1 },
      { target: "#g", line: 2 },
    ]);
  });
});

describe("readAnchors", () => {
  it("makes anchors of headings, numbered when they repeat", () => {
    expect([...readAnchors("# The command `hairpin`\n## What's new?\n## What's new?\n")]).toEqual([
      "the-command-hairpin",
      "whats-new",
      "whats-new-1",
    ]);
  });
});
