import type { ByteChannel } from "@hairpin/wire";
import { describe, expect, it } from "vitest";
import { createChannelPair } from "./channel-pair.ts";

function record(channel: ByteChannel): { events: string[]; closed: Promise<void> } {
  const events: string[] = [];
  const { promise, resolve } = Promise.withResolvers<void>();
  channel.setHandler({
    onData: (chunk) => events.push(`data ${Buffer.from(chunk).toString()}`),
    onEnd: () => events.push("end"),
    onDrain: () => events.push("drain"),
    onClose: (error) => {
      events.push(`close ${error === undefined ? "clean" : error.message}`);
      resolve();
    },
  });
  return { events, closed: promise };
}

describe("createChannelPair", () => {
  it("carries bytes both ways and ends each direction on its own", async () => {
    const [left, right] = createChannelPair();
    const [atLeft, atRight] = [record(left), record(right)];
    left.resume();
    right.resume();
    left.write(Buffer.from("ping"));
    left.end();
    right.write(Buffer.from("pong"));
    right.end();
    await Promise.all([atLeft.closed, atRight.closed]);
    expect(atRight.events).toEqual(["data ping", "end", "close clean"]);
    expect(atLeft.events).toEqual(["data pong", "end", "close clean"]);
    expect([left.bytesRead, left.bytesWritten, left.closed]).toEqual([4, 4, true]);
  });

  it("cuts chunks as it is told", async () => {
    const [left, right] = createChannelPair({ chunking: () => 2 });
    const { events, closed } = record(right);
    record(left);
    left.write(Buffer.from("abcde"));
    left.end();
    right.end();
    right.resume();
    left.resume();
    await closed;
    expect(events).toEqual(["data ab", "data cd", "data e", "end", "close clean"]);
  });

  it("says stop above its high-water mark, and go when the reader took half", async () => {
    const [left, right] = createChannelPair({ highWaterMark: 10 });
    const atLeft = record(left);
    record(right);
    expect(left.write(Buffer.alloc(10))).toBe(true);
    expect(left.write(Buffer.alloc(1))).toBe(false);
    expect(left.bufferedBytes).toBe(11);
    await new Promise(setImmediate);
    expect(atLeft.events).toEqual([]);
    right.resume();
    await new Promise<void>((resolve) => {
      left.setHandler({ onData() {}, onEnd() {}, onDrain: resolve, onClose() {} });
    });
    expect(left.bufferedBytes).toBe(0);
  });

  it("lends its chunks", async () => {
    const [left, right] = createChannelPair();
    const kept = Promise.withResolvers<Uint8Array>();
    right.setHandler({ onData: kept.resolve, onEnd() {}, onDrain() {}, onClose() {} });
    right.resume();
    const written = Buffer.from("abc");
    left.write(written);
    written.fill(0);
    const chunk = await kept.promise;
    expect(Buffer.from(chunk).toString("hex")).toBe("eeeeee");
  });

  it("destroy breaks both ends", async () => {
    const [left, right] = createChannelPair();
    const [atLeft, atRight] = [record(left), record(right)];
    left.write(Buffer.from("lost"));
    left.destroy(new Error("on purpose"));
    await Promise.all([atLeft.closed, atRight.closed]);
    expect(atLeft.events).toEqual(["close on purpose"]);
    expect(atRight.events).toEqual(["close the other end was destroyed"]);
  });
});
