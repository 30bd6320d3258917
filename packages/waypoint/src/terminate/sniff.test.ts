import { describe, expect, it } from "vitest";
import { createChannelPair, eventually, ManualClock } from "@hairpin/testkit";
import { sniff, sniffBytes } from "./sniff.ts";

describe("sniffBytes", () => {
  it.each([
    ["G", undefined],
    ["GET", undefined],
    ["GET ", "http1"],
    ["GETS ", "bytes"],
    ["P", undefined],
    ["PR", undefined],
    ["PRI ", "http2"],
    ["PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "http2"],
    ["PRINT", "bytes"],
    ["PO", undefined],
    ["PATCH /", "http1"],
    ["get /", "bytes"],
    ["\x16\x03\x01", "bytes"],
    ["PROPFIND /", "bytes"],
  ])("%j is %s", (text, kind) => {
    expect(sniffBytes(Buffer.from(text, "latin1"))).toBe(kind);
  });
});

describe("sniff", () => {
  it("gives the owner every byte and the end, in order, however late it comes", async () => {
    const [client, channel] = createChannelPair({ chunking: () => 1 });
    client.write(Buffer.from("GET / and more"));
    client.end();
    const found = await sniff(channel, new ManualClock(), 200).result;
    expect(found?.kind).toBe("http1");
    let received = "";
    found?.channel.setHandler({
      onData: (chunk) => (received += Buffer.from(chunk).toString()),
      onEnd: () => (received += "|"),
      onDrain: () => {},
      onClose: () => {},
    });
    found?.channel.resume();
    await eventually(() => expect(received).toBe("GET / and more|"));
    expect(found?.channel.bytesRead).toBe(14);
  });

  it("is over when the connection breaks, or is given up while nothing came", async () => {
    const clock = new ManualClock();
    const [client, channel] = createChannelPair();
    const broken = sniff(channel, clock, 200);
    client.destroy();
    expect(await broken.result).toBeUndefined();
    expect(clock.pendingTimers).toBe(0);
    const [peer, silent] = createChannelPair();
    let ended = false;
    peer.setHandler({ onData: () => {}, onEnd: () => (ended = true), onDrain: () => {}, onClose: () => {} });
    peer.resume();
    const given = sniff(silent, clock, 200);
    given.giveUp();
    await eventually(() => expect(ended).toBe(true));
    peer.end();
    expect(await given.result).toBeUndefined();
  });
});
