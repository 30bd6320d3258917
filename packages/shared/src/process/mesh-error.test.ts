import { describe, expect, it } from "vitest";
import { errorCode, errorMessage, MeshError } from "./mesh-error.ts";

describe("MeshError", () => {
  it("carries code, origin, details and cause, and is not retryable unless it says so", () => {
    const cause = new Error("below");
    const error = new MeshError("Above", { code: "X_FAILED", origin: "upstream", details: { port: 1 }, cause });
    expect(error).toMatchObject({
      code: "X_FAILED",
      origin: "upstream",
      retryable: false,
      details: { port: 1 },
      cause,
    });
    expect(error.name).toBe("MeshError");
  });

  it("names itself after the subclass", () => {
    class OtherError extends MeshError {}
    expect(new OtherError("x", { code: "C", origin: "internal" }).name).toBe("OtherError");
  });
});

describe("errorMessage", () => {
  it.each([
    ["the message", new Error("a"), "a"],
    ["the causes after it", new Error("a", { cause: new Error("b", { cause: new Error("c") }) }), "a: b: c"],
    ["no cause twice", new Error("a: b", { cause: new Error("b") }), "a: b"],
    ["one line", new Error("a\n  b"), "a b"],
    ["the name of an error without message", new TypeError(), "TypeError"],
    ["the parts of a silent aggregate", new AggregateError([new Error("a"), new Error("b")], ""), "a; b"],
    ["what is no error as text", "text", "text"],
  ])("gives %s", (_, error, text) => {
    expect(errorMessage(error)).toBe(text);
  });

  it("ends on a circular cause", () => {
    const a = new Error("a");
    const b = new Error("b", { cause: a });
    a.cause = b;
    expect(errorMessage(a)).toBe("a: b");
  });
});

describe("errorCode", () => {
  it.each([
    [Object.assign(new Error("x"), { code: "ECONNREFUSED" }), "ECONNREFUSED"],
    [new Error("x"), "UNKNOWN"],
    [Object.assign(new Error("x"), { code: 14 }), "UNKNOWN"],
    [undefined, "UNKNOWN"],
  ])("of %o is %s", (error, code) => {
    expect(errorCode(error)).toBe(code);
  });
});
