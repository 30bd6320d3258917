import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createChildSpan, createTraceContext, formatTraceparent, parseTraceparent } from "./trace-context.ts";

const trace = "4bf92f3577b34da6a3ce929d0e0e4736";
const span = "00f067aa0ba902b7";

describe("parseTraceparent", () => {
  it.each([
    [`00-${trace}-${span}-01`, true],
    [`00-${trace}-${span}-00`, false],
    [`00-${trace}-${span}-03`, true],
    [`00-${trace}-${span}-fe`, false],
    [`cc-${trace}-${span}-01`, true],
    [`cc-${trace}-${span}-01-what-the-future-brings`, true],
  ])("reads %s", (text, sampled) => {
    expect(parseTraceparent(text)).toEqual({ traceId: trace, spanId: span, sampled });
  });

  // The cases of the W3C test suite.
  it.each([
    "",
    `00-${trace}-${span}`,
    `00-${trace}-${span}-01-more`,
    `00-${trace}-${span}-01.`,
    `cc-${trace}-${span}-01.more`,
    `ff-${trace}-${span}-01`,
    `0-${trace}-${span}-01`,
    `.0-${trace}-${span}-01`,
    `00-${trace.toUpperCase()}-${span}-01`,
    `00-${"0".repeat(32)}-${span}-01`,
    `00-${trace}-${"0".repeat(16)}-01`,
    `00-${trace.slice(1)}-${span}-01`,
    `00-${trace}x-${span}-01`,
    `00-${trace}-${span}-1`,
    `00-${trace}-${span}-.1`,
    ` 00-${trace}-${span}-01`,
    `00-${trace}-${span}-01\n`,
    `cc-${trace}-${span}-01-${"x".repeat(10_000)}`,
  ])("is undefined for %j", (text) => {
    expect(parseTraceparent(text)).toBeUndefined();
  });

  it("reads back what formatTraceparent writes", () => {
    fc.assert(
      fc.property(fc.boolean(), (sampled) => {
        const context = createTraceContext({ sampled });
        expect(parseTraceparent(formatTraceparent(context))).toEqual(context);
      }),
    );
  });
});

describe("createChildSpan", () => {
  it("stays in the trace and changes the span", () => {
    const parent = createTraceContext({ sampled: true });
    const child = createChildSpan(parent);
    expect(child).toMatchObject({ traceId: parent.traceId, sampled: true });
    expect(child.spanId).not.toBe(parent.spanId);
  });
});
