import { describe, expect, it } from "vitest";
import type { SocketChannel } from "../socket.ts";
import { HandshakePacer } from "./handshake-pacer.ts";
import { turn } from "./test-support/tls-fixture.ts";

/** As much of a channel as the pacer uses. */
class FakeChannel {
  readonly remoteAddress: string;
  pauses = 0;

  constructor(remoteAddress: string) {
    this.remoteAddress = remoteAddress;
  }

  pause(): void {
    this.pauses++;
  }

  as(): SocketChannel {
    return this as unknown as SocketChannel;
  }
}

const a = new FakeChannel("10.0.0.1");
const b = new FakeChannel("10.0.0.2");

describe("HandshakePacer", () => {
  it("does as many steps a turn as it may, and the rest in later turns", async () => {
    const pacer = new HandshakePacer({ stepsPerTurn: 3 });
    let done = 0;
    for (let index = 0; index < 8; index++) pacer.pace(a.as(), undefined, () => done++);
    expect(done).toBe(3);
    expect(pacer.stats).toEqual({ queued: 5, delayed: 5, refused: 0 });
    const perTurn: number[] = [];
    while (pacer.stats.queued > 0) {
      const before = done;
      await turn();
      perTurn.push(done - before);
    }
    expect(Math.max(...perTurn)).toBe(3);
    await turn();
    await turn();
    pacer.pace(a.as(), undefined, () => done++);
    expect(done).toBe(9);
  });

  it("keeps a copy of borrowed bytes, and the channel paused, until the step's turn", async () => {
    const pacer = new HandshakePacer({ stepsPerTurn: 1 });
    const seen: string[] = [];
    const shared = Buffer.from("first");
    const step = (bytes: Buffer): number => seen.push(bytes.toString());
    const channel = new FakeChannel("10.0.0.3");
    pacer.pace(channel.as(), shared, step);
    expect(channel.pauses).toBe(0);
    shared.write("later");
    pacer.pace(channel.as(), shared, step);
    shared.write("other");
    while (seen.length < 2) await turn();
    expect(seen).toEqual(["first", "later"]);
    expect(channel.pauses).toBe(1);
  });

  it("lets addresses take turns, so that a flood of one delays another by one step", async () => {
    const pacer = new HandshakePacer({ stepsPerTurn: 1 });
    const order: string[] = [];
    for (let index = 0; index < 6; index++) pacer.pace(a.as(), undefined, () => order.push("a"));
    pacer.pace(b.as(), undefined, () => order.push("b"));
    pacer.pace(b.as(), undefined, () => order.push("b"));
    while (order.length < 8) await turn();
    expect(order.join("")).toBe("aababaaa");
  });

  it("refuses one address beyond its share and all beyond the queue, and counts that", () => {
    const pacer = new HandshakePacer({ stepsPerTurn: 0, maxQueued: 5, maxQueuedPerPeer: 3 });
    const outcomes = [a, a, a, a, b, b, b].map((channel) => pacer.pace(channel.as(), undefined, () => undefined));
    expect(outcomes).toEqual([true, true, true, false, true, true, false]);
    expect(pacer.stats).toEqual({ queued: 5, delayed: 5, refused: 2 });
  });
});
