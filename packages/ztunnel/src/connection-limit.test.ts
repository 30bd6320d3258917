import { describe, expect, it } from "vitest";
import { ConnectionLimit, connectionsPerThread } from "./connection-limit.ts";

describe("connectionsPerThread", () => {
  it.each([
    [20_000, 1, 8971],
    [20_000, 4, 2242],
    [1024, 1, 432],
    [10, 1, 1],
    [Infinity, 2, Infinity],
  ])("of %d descriptors and %d threads is %d", (descriptors, threads, expected) => {
    expect(connectionsPerThread(descriptors, threads)).toBe(expected);
  });
});

describe("ConnectionLimit", () => {
  it("gives as many as there are, and again what came back", () => {
    const limit = new ConnectionLimit(2);
    expect([limit.take(), limit.take(), limit.take()]).toEqual([true, true, false]);
    limit.release();
    expect([limit.take(), limit.take()]).toEqual([true, false]);
  });
});
