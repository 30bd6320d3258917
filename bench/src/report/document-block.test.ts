import { describe, expect, it } from "vitest";
import { replaceBlock } from "./document-block.ts";

describe("replaceBlock", () => {
  const text = "before\n<!-- speed:begin -->\nold\n<!-- speed:end -->\nafter\n";

  it("replaces what is between the comments and nothing else", () => {
    expect(replaceBlock(text, "speed", "new $& text\n")).toBe(
      "before\n<!-- speed:begin -->\n\nnew $& text\n\n<!-- speed:end -->\nafter\n",
    );
  });

  it("refuses a document without the block", () => {
    expect(() => replaceBlock(text, "figures", "new")).toThrow(/figures:begin/);
  });
});
