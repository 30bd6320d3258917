import { randomBytes } from "node:crypto";
import { expect, it } from "vitest";
import { eventually } from "../eventually.ts";
import { ManualClock } from "../manual-clock.ts";
import { sha256 } from "./channel-probe.ts";
import { caseFor, type ProbedEnds, type TunnelFixture } from "./fixture.ts";
import { exchangeAndEnd, sendAndEnd } from "./transfer-cases.ts";
import type { TunnelTraits } from "./tunnel-pair.ts";

const pingIntervalMs = 10_000;
const pingTimeoutMs = 20_000;

/** What is said before bytes flow, and what happens to the session that carries them. */
export function sessionCases(fixture: TunnelFixture, traits: TunnelTraits, volume: number): void {
  caseFor(traits, "refuse").each([400, 401, 403, 503])(
    "reports a CONNECT that was refused with %i, and goes on",
    async (status) => {
      const pair = await fixture.makePair();
      expect(await pair.openRefused(status)).toBe(status);
      await exchangeAndEnd(await fixture.open(pair), 1000);
      expect(pair.transport.connections).toBe(1);
    },
  );

  caseFor(traits, "earlyData")("holds bytes that come before the answer", async () => {
    const pair = await fixture.makePair();
    const early = randomBytes(40_000);
    const carriedBefore = pair.transport.carriedBytes;
    const tunnel = await pair.openEarly(early);
    await eventually(() => expect(pair.transport.carriedBytes - carriedBefore).toBeGreaterThan(early.length));
    const ends = await tunnel.accept();
    const accepted = fixture.probe(ends.accepted);
    const dialled = fixture.probe(ends.dialled);
    const answer = randomBytes(1000);
    dialled.channel.end();
    await accepted.whenEnded;
    expect(accepted.digest()).toBe(sha256(early));
    await sendAndEnd(accepted, answer);
    await dialled.whenEnded;
    expect(dialled.digest()).toBe(sha256(answer));
  });

  caseFor(traits, "earlyData")(
    "throws away bytes that come before a refusal, and gives their credit back",
    async () => {
      const pair = await fixture.makePair();
      // Together more than the window of the connection.
      for (let i = 0; i < 24; i++) {
        const tunnel = await pair.openEarly(randomBytes(1024 * 1024));
        expect(await tunnel.refuse()).toBe(503);
      }
      await exchangeAndEnd(await fixture.open(pair), volume / 16);
      expect(pair.transport.connections).toBe(1);
    },
  );

  caseFor(traits, "drain")("lets a tunnel finish after GOAWAY", async () => {
    const pair = await fixture.makePair();
    const ends = await fixture.open(pair);
    const bytes = randomBytes(volume / 4);
    const sending = ends.dialled.send(bytes);
    await eventually(() => expect(ends.accepted.receivedBytes).toBeGreaterThan(0));
    pair.drain();
    await sending;
    ends.dialled.channel.end();
    await ends.accepted.whenEnded;
    expect(ends.accepted.digest()).toBe(sha256(bytes));
    await sendAndEnd(ends.accepted, bytes);
    await ends.dialled.whenEnded;
    expect(ends.dialled.digest()).toBe(sha256(bytes));
  });

  it.each(traits.pinging)(
    "closes the tunnels of the %s side with an error when its peer falls silent",
    async (side) => {
      const clock = new ManualClock();
      const pair = await fixture.makePair({ clock });
      const ends = await fixture.open(pair);
      pair.transport.freeze();
      await clock.advance(pingIntervalMs);
      await clock.advance(pingTimeoutMs);
      expect(await ends[side].whenClosed).toEqual({ ended: false, error: expect.any(Error) });
    },
  );

  caseFor(traits, "cut")("closes all tunnels of a lost session with an error", async () => {
    const pair = await fixture.makePair();
    const tunnels: ProbedEnds[] = [];
    for (let i = 0; i < 20; i++) tunnels.push(await fixture.open(pair));
    pair.transport.cut("reset");
    const closed = await Promise.all(tunnels.flatMap((ends) => Object.values(ends)).map((side) => side.whenClosed));
    for (const end of closed) expect(end).toEqual({ ended: false, error: expect.any(Error) });
    expect(closed).toHaveLength(40);
  });
}
