import { randomBytes } from "node:crypto";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { expect, it } from "vitest";
import { eventually } from "../eventually.ts";
import { type ChannelProbe, sha256 } from "./channel-probe.ts";
import { caseFor, directions, type TunnelFixture } from "./fixture.ts";
import { exchangeAndEnd } from "./transfer-cases.ts";
import type { TunnelTraits } from "./tunnel-pair.ts";

const mib = 1024 * 1024;

/** A reader that does not read stops its writer and nobody else. */
export function backpressureCases(fixture: TunnelFixture, traits: TunnelTraits, volume: number): void {
  it.each(directions)("stops the $from side while nobody reads, and loses nothing", async ({ from, to }) => {
    const limit = from === "dialled" ? traits.underWayBytes.fromDialled : traits.underWayBytes.fromAccepted;
    const ends = await fixture.open(await fixture.makePair(), to);
    const bytes = randomBytes(limit + volume);
    const heldBefore = heldMemory();
    const sending = ends[from].send(bytes);
    await untilStopped(ends[from]);
    expect(ends[from].counters.written).toBeLessThanOrEqual(limit);
    expect(ends[from].channel.bufferedBytes).toBeLessThanOrEqual(limit);
    expect(ends[to].receivedBytes).toBe(0);
    // Writer and reader are both of this process: what is under way is held once. V8 frees what it collected on a thread of its own.
    await eventually(() => expect(heldMemory() - heldBefore).toBeLessThan(limit + 8 * mib));
    ends[to].channel.resume();
    await sending;
    ends[from].channel.end();
    await ends[to].whenEnded;
    expect(ends[to].digest()).toBe(sha256(bytes));
  });

  it.each(directions)("carries every byte of the $from side to a slow reader", async ({ from, to }) => {
    const ends = await fixture.open(await fixture.makePair());
    const reader = ends[to];
    reader.onChunk = () => {
      reader.channel.pause();
      setImmediate(() => setImmediate(() => reader.channel.resume()));
    };
    const bytes = randomBytes(volume / 4);
    await ends[from].send(bytes);
    ends[from].channel.end();
    await reader.whenEnded;
    expect(reader.digest()).toBe(sha256(bytes));
  });

  caseFor(traits, "sharedSession")(
    "lets 97 tunnels of a session through while 3 are stalled",
    { timeout: 60_000 },
    async () => {
      const pair = await fixture.makePair();
      const stalled: ChannelProbe[] = [];
      for (const paused of ["accepted", "dialled", "accepted"] as const) {
        const ends = await fixture.open(pair, paused);
        const writer = paused === "accepted" ? ends.dialled : ends.accepted;
        void writer.send(randomBytes(traits.underWayBytes.fromDialled + volume));
        await untilStopped(writer);
        stalled.push(ends[paused]);
      }
      const tunnels = [];
      for (let i = stalled.length; i < 100; i++) tunnels.push(await fixture.open(pair));
      await Promise.all(tunnels.map((ends) => exchangeAndEnd(ends, volume / 64)));
      expect(pair.transport.connections).toBe(1);
      expect(stalled.map(({ receivedBytes }) => receivedBytes)).toEqual([0, 0, 0]);
    },
  );
}

/** Resolves when the channel has taken nothing for a while. */
async function untilStopped({ channel }: ChannelProbe): Promise<void> {
  let before = -1;
  const isStill = (): void => {
    const now = channel.bytesWritten;
    const moved = now !== before;
    before = now;
    if (moved) throw new Error(`The writer still goes on after ${now} bytes`);
  };
  await eventually(isStill, { timeoutMs: 20_000, intervalMs: 200 });
}

setFlagsFromString("--expose-gc");
const collectGarbage = runInNewContext("gc") as () => void;

/** Bytes that buffers hold outside of the heap, without garbage. */
function heldMemory(): number {
  collectGarbage();
  return process.memoryUsage().arrayBuffers;
}
