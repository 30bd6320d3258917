import { randomBytes, randomInt } from "node:crypto";
import { expect, it } from "vitest";
import { sha256, type ChannelProbe } from "./channel-probe.ts";
import { directions, type ProbedEnds, type TunnelFixture } from "./fixture.ts";

/** Sends `bytes` each way at once, ends both directions, and compares what arrived with what was sent. */
export async function exchangeAndEnd(ends: ProbedEnds, bytes: number): Promise<void> {
  const fromDialled = randomBytes(bytes);
  const fromAccepted = randomBytes(bytes);
  await Promise.all([sendAndEnd(ends.dialled, fromDialled), sendAndEnd(ends.accepted, fromAccepted)]);
  await Promise.all([ends.dialled.whenEnded, ends.accepted.whenEnded]);
  expect(ends.accepted.digest()).toBe(sha256(fromDialled));
  expect(ends.dialled.digest()).toBe(sha256(fromAccepted));
}

export async function sendAndEnd(probe: ChannelProbe, bytes: Uint8Array): Promise<void> {
  await probe.send(bytes);
  probe.channel.end();
}

/** Every byte arrives, once and in order. */
export function transferCases(fixture: TunnelFixture, volume: number): void {
  it("carries every byte, both ways at once, and counts exactly", async () => {
    const ends = await fixture.open(await fixture.makePair());
    await exchangeAndEnd(ends, volume);
    for (const side of Object.values(ends)) {
      expect(await side.whenClosed).toEqual({ ended: true, error: undefined });
      expect(side.counters).toEqual({ read: volume, written: volume });
      expect(side.channel.bufferedBytes).toBe(0);
    }
  });

  it.each(directions)("keeps the order of many small writes of the $from side", async ({ from, to }) => {
    const ends = await fixture.open(await fixture.makePair());
    const bytes = randomBytes(Math.ceil(volume / 16));
    await ends[from].send(bytes, () => randomInt(1, 38));
    ends[from].channel.end();
    await ends[to].whenEnded;
    expect(ends[to].digest()).toBe(sha256(bytes));
  });

  it("carries nothing but the ends of a tunnel without bytes", async () => {
    const ends = await fixture.open(await fixture.makePair());
    for (const side of Object.values(ends)) {
      expect(side.channel.write(new Uint8Array())).toBe(true);
      side.channel.end();
    }
    for (const side of Object.values(ends)) {
      expect(await side.whenClosed).toEqual({ ended: true, error: undefined });
      expect([side.receivedBytes, side.counters]).toEqual([0, { read: 0, written: 0 }]);
    }
  });

  it("holds bytes and an end that come right behind the answer until somebody owns the tunnel", async () => {
    const pair = await fixture.makePair();
    const greeting = randomBytes(20_000);
    const { dialled } = await pair.open((accepted) => {
      const probe = fixture.probe(accepted);
      void sendAndEnd(probe, greeting);
    });
    const probe = fixture.probe(dialled);
    await probe.whenEnded;
    expect(probe.digest()).toBe(sha256(greeting));
  });

  it("carries one tunnel after another over the same session", async () => {
    const pair = await fixture.makePair();
    for (let i = 0; i < 10; i++) await exchangeAndEnd(await fixture.open(pair), 1000 * i);
  });
}
