import { describe, expect, it } from "vitest";
import { parseOptions, UsageError } from "./options.ts";

describe("parseOptions", () => {
  it("measures everything by default, with the peers that the environment names", () => {
    expect(parseOptions([], { ZTUNNEL_BIN: "/z" })).toEqual({
      only: [],
      seconds: 2,
      repeat: 3,
      quick: false,
      profile: false,
      ztunnel: "/z",
      envoy: undefined,
    });
  });

  it("takes options over the environment, and the dashes that pnpm passes on", () => {
    const words = ["--", "--only", "naive,churn", "--seconds", "0.5", "--repeat", "5", "--envoy", "/e"];
    expect(parseOptions(words, { ENVOY_BIN: "/other" })).toMatchObject({
      only: ["naive", "churn"],
      seconds: 0.5,
      repeat: 5,
      envoy: "/e",
    });
  });

  it("is shorter when it shall be quick", () => {
    expect(parseOptions(["--quick"], {})).toMatchObject({ quick: true, seconds: 0.8, repeat: 1 });
  });

  it.each([[["--seconds", "none"]], [["--repeat", "-1"]], [["--wrong"]], [["stray"]]])("refuses %j", (words) => {
    expect(() => parseOptions(words, {})).toThrow(UsageError);
  });

  it("gives nothing to do when help is asked for", () => {
    expect(parseOptions(["--help"], {})).toBeUndefined();
  });
});
