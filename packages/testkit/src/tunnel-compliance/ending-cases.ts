import { randomBytes } from "node:crypto";
import { expect } from "vitest";
import { sha256 } from "./channel-probe.ts";
import { eventually } from "../eventually.ts";
import { caseFor, directions, type TunnelFixture } from "./fixture.ts";
import { exchangeAndEnd, sendAndEnd } from "./transfer-cases.ts";
import type { TunnelTraits } from "./tunnel-pair.ts";

/** An end is an end, a break is a break, and neither is taken for the other. */
export function endingCases(fixture: TunnelFixture, traits: TunnelTraits, volume: number): void {
  caseFor(traits, "halfClose").each(directions)("goes on to the $from side after its own end", async ({ from, to }) => {
    const ends = await fixture.open(await fixture.makePair());
    const first = randomBytes(volume / 4);
    const second = randomBytes(volume / 4);
    await sendAndEnd(ends[from], first);
    await ends[to].whenEnded;
    await sendAndEnd(ends[to], second);
    await ends[from].whenEnded;
    expect([ends[to].digest(), ends[from].digest()]).toEqual([sha256(first), sha256(second)]);
    expect(await ends[from].whenClosed).toEqual({ ended: true, error: undefined });
    expect(await ends[to].whenClosed).toEqual({ ended: true, error: undefined });
  });

  caseFor(traits, "halfClose").each(directions)(
    "carries the $from side's end while the other direction is flowing",
    async ({ from, to }) => {
      const ends = await fixture.open(await fixture.makePair());
      const bytes = randomBytes(volume);
      const flowing = sendAndEnd(ends[to], bytes);
      await eventually(() => expect(ends[from].receivedBytes).toBeGreaterThan(0));
      ends[from].channel.end();
      await ends[to].whenEnded;
      await flowing;
      await ends[from].whenEnded;
      expect(ends[from].digest()).toBe(sha256(bytes));
    },
  );

  caseFor(traits, "reset").each(directions)(
    "tells a reset by the $from side as a reset, and hurts no other tunnel",
    async ({ from, to }) => {
      const pair = await fixture.makePair();
      const ends = await fixture.open(pair);
      const neighbour = await fixture.open(pair);
      for (const side of directions) void ends[side.from].send(randomBytes(volume));
      await eventually(() => expect(ends[to].receivedBytes).toBeGreaterThan(0));
      ends[from].channel.destroy();
      expect(await ends[to].whenClosed).toEqual({ ended: false, error: expect.any(Error) });
      expect((await ends[from].whenClosed).ended).toBe(false);
      await exchangeAndEnd(neighbour, volume / 16);
    },
  );

  caseFor(traits, "reset").each(directions)("tells a reset behind the $to side's own end", async ({ from, to }) => {
    const ends = await fixture.open(await fixture.makePair());
    await sendAndEnd(ends[to], randomBytes(1000));
    await ends[from].whenEnded;
    ends[from].channel.destroy();
    expect(await ends[to].whenClosed).toEqual({ ended: false, error: expect.any(Error) });
  });

  caseFor(traits, "cut").each(["end", "reset"] as const)(
    "never takes a transport that is cut by %s for the end of a tunnel",
    async (how) => {
      const pair = await fixture.makePair();
      const busy = await fixture.open(pair);
      const idle = await fixture.open(pair);
      for (const { from } of directions) void busy[from].send(randomBytes(volume));
      for (const { to } of directions) await eventually(() => expect(busy[to].receivedBytes).toBeGreaterThan(0));
      pair.transport.cut(how);
      for (const side of [...Object.values(busy), ...Object.values(idle)]) {
        expect(await side.whenClosed).toEqual({ ended: false, error: expect.any(Error) });
      }
    },
  );

  caseFor(traits, "cut").each(directions)(
    "tells the loss of the session to a $to side that waits for its peer's end",
    async ({ from, to }) => {
      const pair = await fixture.makePair();
      const ends = await fixture.open(pair);
      await sendAndEnd(ends[to], randomBytes(1000));
      await ends[from].whenEnded;
      pair.transport.cut("end");
      expect(await ends[to].whenClosed).toEqual({ ended: false, error: expect.any(Error) });
    },
  );
}
