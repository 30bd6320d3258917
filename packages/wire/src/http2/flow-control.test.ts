import { describe, expect, it } from "vitest";
import { createHttp2Budget } from "./flood-budget.ts";
import { ReceiveWindow, SendWindow } from "./flow-control.ts";

describe("ReceiveWindow", () => {
  it("owes an update once half of the window was taken by the consumer", () => {
    const window = new ReceiveWindow(1000);
    window.take(400);
    window.release(400);
    expect(window.takeDueUpdate()).toBe(0);
    window.take(100);
    window.release(100);
    expect(window.takeDueUpdate()).toBe(500);
    expect(window.remaining).toBe(1000);
  });

  it("does not open while the bytes are held", () => {
    const window = new ReceiveWindow(1000);
    window.take(1000);
    expect(window.takeDueUpdate()).toBe(0);
    expect(window.remaining).toBe(0);
  });

  it("never leaves the peer without window while it owes any", () => {
    const window = new ReceiveWindow(1000);
    window.take(990);
    window.take(10);
    window.release(10);
    expect(window.takeDueUpdate()).toBe(10);
  });

  it("notices a peer that sends more than it may", () => {
    const window = new ReceiveWindow(10);
    expect(window.take(10)).toBe(true);
    expect(window.take(1)).toBe(false);
  });
});

describe("SendWindow", () => {
  it("ends at 2^31-1", () => {
    const window = new SendWindow(0x7ffffffe);
    expect(window.grow(1)).toBe(true);
    expect(window.grow(1)).toBe(false);
  });
});

describe("Http2Budget", () => {
  const options = { burst: 3, perSecond: 2, usefulBytesPerToken: 100 };

  it("allows the burst and no more", () => {
    const budget = createHttp2Budget(options);
    expect([1, 2, 3, 4].map(() => budget.spend(0, 0))).toEqual([true, true, true, false]);
  });

  it("is refilled by time and by useful bytes, up to the burst", () => {
    const budget = createHttp2Budget(options);
    for (let i = 0; i < 3; i++) budget.spend(0, 0);
    expect(budget.spend(500, 0)).toBe(true);
    expect(budget.spend(500, 100)).toBe(true);
    expect([1, 2, 3, 4].map(() => budget.spend(1_000_000, 1e9))).toEqual([true, true, true, false]);
  });

  it("earns nothing from another session's smaller byte count", () => {
    const budget = createHttp2Budget(options);
    budget.spend(0, 1_000_000);
    expect([1, 2, 3].map(() => budget.spend(0, 5))).toEqual([true, true, false]);
  });
});
