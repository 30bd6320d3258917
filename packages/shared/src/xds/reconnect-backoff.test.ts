import { status } from "@grpc/grpc-js";
import { describe, expect, it } from "vitest";
import { ReconnectBackoff, type StreamEnd } from "./reconnect-backoff.ts";

const middle = (): number => 0.5;
const end = (fields: Partial<StreamEnd>): StreamEnd => ({
  connected: true,
  responded: true,
  code: status.OK,
  details: "",
  ...fields,
});
const refused = end({ connected: false, responded: false, code: status.UNAVAILABLE });

describe("ReconnectBackoff", () => {
  it.each([
    { name: "a clean end", at: end({}), next: { reason: "Complete", delayMs: 0 } },
    {
      name: "a server that went away",
      at: end({ code: status.UNAVAILABLE }),
      next: { reason: "Reconnect", delayMs: 10 },
    },
    { name: "a cancelled stream", at: end({ code: status.CANCELLED }), next: { reason: "Reconnect", delayMs: 10 } },
    {
      name: "a refusal",
      at: end({ responded: false, code: status.UNAUTHENTICATED }),
      next: { reason: "Error", delayMs: 10 },
    },
    { name: "no connection", at: refused, next: { reason: "ConnectionError", delayMs: 10 } },
  ])("after $name: $next", ({ at, next }) => {
    expect(new ReconnectBackoff(middle).next(at)).toEqual(next);
  });

  it("doubles to 15 s while it fails, and starts again once a stream worked", () => {
    const backoff = new ReconnectBackoff(middle);
    const delays = Array.from({ length: 13 }, () => backoff.next(refused).delayMs);
    expect(delays.slice(0, 4)).toEqual([10, 20, 40, 80]);
    expect(delays.slice(-2)).toEqual([15_000, 15_000]);
    backoff.next(end({}));
    expect(backoff.next(refused).delayMs).toBe(10);
  });

  it("does not hammer a server that accepts and hangs up without a word", () => {
    const backoff = new ReconnectBackoff(middle);
    const mute = end({ responded: false });
    expect([backoff.next(mute), backoff.next(mute), backoff.next(mute)].map((next) => next.delayMs)).toEqual([
      10, 20, 40,
    ]);
  });

  it("spreads by a fifth either way", () => {
    expect(new ReconnectBackoff(() => 0).next(refused).delayMs).toBe(8);
    expect(new ReconnectBackoff(() => 1).next(refused).delayMs).toBeCloseTo(12);
  });
});
