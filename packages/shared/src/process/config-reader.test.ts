import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ConfigError, ConfigReader } from "./config-reader.ts";

function reader(environment: Record<string, string | undefined>): ConfigReader {
  return new ConfigReader({ environment });
}

function mistakesOf(config: ConfigReader): readonly string[] {
  try {
    config.finish();
  } catch (error) {
    if (error instanceof ConfigError) return error.message.split("\n").slice(1);
    throw error;
  }
  return [];
}

describe("ConfigReader", () => {
  it("reads each kind of setting", () => {
    const config = reader({
      TEXT: "a b",
      NUMBER: "42",
      FLAG: "TRUE",
      OFF: "0",
      TIME: "1h30m",
      CHOICE: "json",
      LIST: "a, b,,c",
      PORT: "15008",
    });
    expect(config.string("TEXT")).toBe("a b");
    expect(config.integer("NUMBER")).toBe(42);
    expect(config.boolean("FLAG")).toBe(true);
    expect(config.boolean("OFF")).toBe(false);
    expect(config.durationMs("TIME")).toBe(5_400_000);
    expect(config.oneOf("CHOICE", ["plain", "json"])).toBe("json");
    expect(config.list("LIST")).toEqual(["a", "b", "c"]);
    expect(config.port("PORT")).toBe(15_008);
    expect(config.optionalString("ABSENT")).toBeUndefined();
    expect(mistakesOf(config)).toEqual([]);
  });

  it("uses defaults for unset and for empty variables", () => {
    const config = reader({ EMPTY: "" });
    expect(config.string("EMPTY", "x")).toBe("x");
    expect(config.integer("ABSENT", 7)).toBe(7);
    expect(config.boolean("ABSENT", false)).toBe(false);
    expect(config.durationMs("ABSENT", 5)).toBe(5);
    expect(config.oneOf("ABSENT", ["a", "b"], "b")).toBe("b");
    expect(mistakesOf(config)).toEqual([]);
  });

  it("tells all mistakes at once: variable, value, what is wrong, what is accepted", () => {
    const config = reader({ NUMBER: "4x", FLAG: "yes", TIME: "5", CHOICE: "xml", BIG: "70000" });
    config.string("NAME");
    config.integer("NUMBER", 1);
    config.boolean("FLAG", true);
    config.durationMs("TIME", 1, { min: 1_000, max: 60_000 });
    config.oneOf("CHOICE", ["plain", "json"], "plain");
    config.port("BIG", 1);
    expect(mistakesOf(config)).toEqual([
      "  NAME is required: give text",
      '  NUMBER="4x" is not accepted: give a whole number from 0 to 9007199254740991',
      '  FLAG="yes" is not accepted: give true or false',
      '  TIME="5" is not accepted: give a duration such as 100ms, 5s, 1m, 24h or 1h30m, at least 1s and at most 1m',
      '  CHOICE="xml" is not accepted: give one of plain, json',
      '  BIG="70000" is not accepted: give a whole number from 1 to 65535',
    ]);
  });

  it.each(["-1", "1.5", "1e3", "0x10", " 1", "99999999999999999999"])("refuses %j as a whole number", (text) => {
    const config = reader({ N: text });
    config.integer("N", 0);
    expect(mistakesOf(config)).toHaveLength(1);
  });

  it("lets callers parse, and adds the reason that a parser throws", () => {
    const config = reader({ A: "x" });
    const parse = (): number => {
      throw new Error("no digits");
    };
    expect(config.parsed("A", "a number", parse, 5)).toBe(5);
    expect(mistakesOf(config)).toEqual(['  A="x" is not accepted (no digits): give a number']);
  });

  it("reads the file that a variable names, and says so when it cannot", () => {
    const path = join(mkdtempSync(join(tmpdir(), "config-reader-")), "root.pem");
    writeFileSync(path, "content");
    const config = reader({ GOOD: path, BAD: "/nowhere/root.pem" });
    expect(config.optionalFile("GOOD")).toBe("content");
    expect(config.optionalFile("ABSENT")).toBeUndefined();
    expect(config.optionalFile("BAD")).toBeUndefined();
    const [line] = mistakesOf(config);
    expect(line).toMatch(
      /^ {2}BAD="\/nowhere\/root.pem" cannot be read \(ENOENT.*\); give the path of a readable file$/,
    );
  });

  it("cuts long values and keeps each mistake on one line", () => {
    const config = reader({ N: `${"9".repeat(500)}\nx` });
    config.integer("N", 0);
    const lines = mistakesOf(config);
    expect(lines).toHaveLength(1);
    expect(lines[0]?.length).toBeLessThan(250);
  });

  it("does not show a secret in the dump", () => {
    const config = reader({ TOKEN: "hunter2", OTHER: "x" });
    config.string("TOKEN", undefined, { secret: true });
    config.optionalString("OTHER");
    expect(config.describe()).toEqual({ OTHER: "x", TOKEN: "<redacted>" });
  });

  it("dumps values in effect, defaults included, sorted by name, and nothing that was not asked for", () => {
    const config = reader({ B: "2", UNASKED: "x" });
    config.integer("B");
    config.string("A", "default");
    expect(JSON.stringify(config.describe())).toBe('{"A":"default","B":2}');
  });

  it("does not take inherited properties for settings", () => {
    expect(reader({}).optionalString("toString")).toBeUndefined();
  });
});
