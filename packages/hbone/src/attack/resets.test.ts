// H1, H2: streams that are opened to be reset, by the client or by us at its instigation, cost one budget, which reconnecting does
// not refill.
import { describe, expect, it } from "vitest";
import { connectHostileClient, eventually, type RawHttp2Peer } from "@hairpin/testkit";
import { ErrorCode } from "@hairpin/wire";
import { block, Flag, FrameType, headersFrame, rawFrame, uint32 } from "@hairpin/wire/test-support/frames";
import type { InboundConnect } from "../tunnel-listener.ts";
import { AttackBed, authority, heldBytes } from "./test-support/bed.ts";
import { engines } from "./test-support/engines.ts";
import { connectTo, END_HEADERS } from "./test-support/frame-attacks.ts";
import { attack } from "./test-support/tunnel-attacker.ts";

const MIB = 1024 * 1024;
/** What one client may have reset while time stands still. */
const burst = 100;
const limit = { side: "downstream", session: "tunnels", limit: "resets" };

const idOf = (index: number): number => 3 + 2 * index;
const open = (index: number): Buffer => headersFrame(idOf(index), connectTo("10.0.0.1:80"), END_HEADERS);
const after = (index: number, type: number, flags: number, payload?: Buffer): Buffer =>
  Buffer.concat([open(index), rawFrame(type, flags, idOf(index), payload)]);
const rapidReset = (index: number): Buffer => after(index, FrameType.RST_STREAM, 0, uint32(8));

/** Ways to have a stream reset; all but the first make us do it (MadeYouReset). */
const primitives: readonly (readonly [string, (index: number) => Buffer])[] = [
  ["HEADERS and RST_STREAM", rapidReset],
  ["WINDOW_UPDATE of 0", (i) => after(i, FrameType.WINDOW_UPDATE, 0, uint32(0))],
  ["WINDOW_UPDATE that overflows", (i) => after(i, FrameType.WINDOW_UPDATE, 0, uint32(0x7fffffff))],
  ["PRIORITY of six bytes", (i) => after(i, FrameType.PRIORITY, 0, Buffer.alloc(6))],
  [
    "PRIORITY that depends on itself",
    (i) => after(i, FrameType.PRIORITY, 0, Buffer.concat([uint32(idOf(i)), Buffer.of(9)])),
  ],
  [
    "DATA after the end",
    (i) =>
      Buffer.concat([after(i, FrameType.DATA, Flag.END_STREAM), rawFrame(FrameType.DATA, 0, idOf(i), Buffer.alloc(1))]),
  ],
  [
    "HEADERS after the end",
    (i) =>
      Buffer.concat([
        after(i, FrameType.DATA, Flag.END_STREAM),
        rawFrame(FrameType.HEADERS, END_HEADERS, idOf(i), block([["x", "y"]])),
      ]),
  ],
  ["malformed requests", (i) => headersFrame(idOf(i), [[":method", "CONNECT"]], END_HEADERS)],
];

interface CountingBed {
  readonly onConnect: (request: InboundConnect) => void;
  readonly seen: InboundConnect[];
}

/** Accepts nothing: a slow application's answer is on its way. */
function slowApplication(): CountingBed {
  const seen: InboundConnect[] = [];
  return { seen, onConnect: (request) => void seen.push(request) };
}

async function connectAttacker(bed: AttackBed, identity?: string): Promise<RawHttp2Peer> {
  const sessions = bed.sessions.length;
  const peer = await connectHostileClient(bed.address, authority.material(identity ?? "bad/attacker"));
  await eventually(() => expect(bed.sessions.length).toBeGreaterThan(sessions));
  return peer;
}

describe.each(engines)("resets over $name", (engine) => {
  it.each(primitives)("H1, H2: cut a client for %s after a hundred, and stop what they began", async (_name, frame) => {
    const { seen, onConnect } = slowApplication();
    await using bed = await AttackBed.start(engine, { onConnect });
    const peer = await connectAttacker(bed);
    const before = heldBytes();
    await peer.flood(frame, 50_000);
    await peer.whenClosed;
    expect(peer.goaway?.errorCode).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    expect(seen.length).toBeLessThanOrEqual(burst + 1);
    await eventually(() => expect(seen.every(({ closed }) => closed)).toBe(true));
    await eventually(() => expect(heldBytes() - before).toBeLessThan(16 * MIB));
    await bed.counted("hairpin_http2_limits_total", limit, 1);
    expect(bed.sessions[0]?.openTunnels).toBe(0);
  });

  it("H1: are remembered when the client comes again, and forgiven with time", async () => {
    const { seen, onConnect } = slowApplication();
    await using bed = await AttackBed.start(engine, { onConnect });
    for (let connection = 1; connection <= 50; connection++) {
      const peer = await connectAttacker(bed);
      peer.send(rapidReset(0), rapidReset(1), rapidReset(2));
      await eventually(() => expect(peer.closed || seen.length >= connection * 3).toBe(true));
      peer.destroy();
    }
    // The first 33 connections spent the budget; each later one got to open a stream at most.
    expect(seen.length).toBeLessThanOrEqual(burst + 20);
    await bed.clock.advance(60_000);
    const peer = await connectAttacker(bed);
    const before = seen.length;
    await peer.flood(rapidReset, 50, 50);
    await eventually(() => expect(seen.length - before).toBe(50));
    expect(peer.goaway).toBeUndefined();
    peer.destroy();
  });

  it("H1: of one identity cost no other's budget, and no honest call", async () => {
    await using bed = await AttackBed.start(engine);
    const neighbour = await bed.neighbour();
    const bad = await attack(bed);
    await bad.flood(rapidReset, 50_000);
    await bad.whenClosed;
    const other = await attack(bed, { identity: "good/other" });
    await other.flood(rapidReset, 50, 50);
    expect(other.goaway).toBeUndefined();
    await neighbour.nextCall();
    await neighbour.stop();
    expect(neighbour.failures).toEqual([]);
    other.destroy();
  });

  it("H1: do not count when the tunnel was answered and carried bytes", async () => {
    await using bed = await AttackBed.start(engine);
    const peer = await connectAttacker(bed);
    for (let i = 0; i < 300; i++) {
      peer.send(open(i), rawFrame(FrameType.DATA, 0, idOf(i), Buffer.from("x")));
      await eventually(() => expect(peer.dataBytes.get(idOf(i))).toBe(1), { intervalMs: 1 });
      peer.send(rawFrame(FrameType.RST_STREAM, 0, idOf(i), uint32(8)));
    }
    expect(peer.goaway).toBeUndefined();
    peer.destroy();
  });
});
