import { describe, expect, it } from "vitest";
import { eventually } from "@hairpin/testkit";
import { ErrorCode } from "@hairpin/wire";
import { block, Flag, FrameType, headersFrame, rawFrame, uint32 } from "@hairpin/wire/test-support/frames";
import { AttackBed, heldBytes } from "./test-support/bed.ts";
import { engines } from "./test-support/engines.ts";
import {
  connectionAttacks,
  connectTo,
  END_HEADERS,
  type Fields,
  floods,
  hpackBomb,
} from "./test-support/frame-attacks.ts";
import { attack, openTunnel } from "./test-support/tunnel-attacker.ts";

const MIB = 1024 * 1024;
const refusedCode = { side: "downstream", reason: "HTTP2_ENHANCE_YOUR_CALM" };

describe.each(engines)("a listener over $name", (engine) => {
  it.each(floods)("$id: cuts a client for a flood of $name, and nobody else", async ({ frame, limit, burst }) => {
    await using bed = await AttackBed.start(engine);
    const neighbour = await bed.neighbour();
    const peer = await attack(bed);
    const before = heldBytes();
    const sent = await peer.flood(frame, 200_000);
    await peer.whenClosed;
    expect(peer.goaway?.errorCode).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    // What was on its way when the cut came was sent for nothing.
    expect(sent).toBeGreaterThan(burst);
    expect(sent).toBeLessThan(200_000);
    await eventually(() => expect(heldBytes() - before).toBeLessThan(32 * MIB));
    await bed.counted("hairpin_http2_limits_total", { side: "downstream", session: "tunnels", limit }, 1);
    await bed.counted("hairpin_hbone_sessions_failed_total", refusedCode, 1);
    await neighbour.nextCall();
    await neighbour.stop();
    expect(neighbour.failures).toEqual([]);
    expect(bed.sessions).toHaveLength(2);
  });

  const ownIds: ReturnType<typeof connectionAttacks> = [
    {
      id: "H13",
      name: "a stream id of the server's",
      code: "PROTOCOL_ERROR",
      frames: [headersFrame(2, connectTo("a:1"), END_HEADERS)],
    },
    {
      id: "H13",
      name: "a stream id that goes down",
      code: "STREAM_CLOSED",
      frames: [headersFrame(9, connectTo("a:1"), END_HEADERS), headersFrame(5, connectTo("a:1"), END_HEADERS)],
    },
    {
      id: "H2",
      name: "HEADERS on a stream that is closed",
      code: "STREAM_CLOSED",
      frames: [
        headersFrame(3, connectTo("10.0.0.1:80"), END_HEADERS),
        rawFrame(FrameType.RST_STREAM, 0, 3, uint32(8)),
        headersFrame(3, connectTo("a:1"), END_HEADERS),
      ],
    },
  ];
  it.each([...connectionAttacks(3, connectTo("10.0.0.1:80")), ...ownIds])(
    "$id: ends the connection of a client that sends $name",
    async ({ frames, code, limit }) => {
      await using bed = await AttackBed.start(engine);
      const neighbour = await bed.neighbour();
      const peer = await attack(bed);
      peer.send(...frames);
      await peer.whenClosed;
      expect(peer.goaway?.errorCode).toBe(ErrorCode[code]);
      await bed.counted("hairpin_hbone_sessions_failed_total", { side: "downstream", reason: `HTTP2_${code}` }, 1);
      if (limit !== undefined) await bed.counted("hairpin_http2_limits_total", { side: "downstream", limit }, 1);
      await neighbour.nextCall();
      await neighbour.stop();
      expect(neighbour.failures).toEqual([]);
    },
  );

  const manyFields: Fields = [...connectTo("a:1"), ...Array.from({ length: 70 }, (_, i) => [`x-${i}`, "1"] as const)];
  const manyCookies: Fields = [...connectTo("a:1"), ...Array.from({ length: 130 }, () => ["cookie", "a=b"] as const)];
  const bombed = rawFrame(FrameType.HEADERS, END_HEADERS, 3, hpackBomb(connectTo("a:1"), 1000));
  const open = headersFrame(3, connectTo("10.0.0.1:80"), END_HEADERS);
  it.each<[string, string, keyof typeof ErrorCode, Uint8Array[], string?]>([
    ["H7", "an HPACK bomb", "ENHANCE_YOUR_CALM", [bombed], "headerListBytes"],
    ["H8", "70 fields", "ENHANCE_YOUR_CALM", [headersFrame(3, manyFields, END_HEADERS)], "headerCount"],
    ["H8", "130 cookies", "ENHANCE_YOUR_CALM", [headersFrame(3, manyCookies, END_HEADERS)], "headerCount"],
    [
      "H12",
      "CONNECT with :path",
      "PROTOCOL_ERROR",
      [headersFrame(3, [...connectTo("a:1"), [":path", "/"]], END_HEADERS)],
    ],
    [
      "H12",
      "CONNECT with :scheme",
      "PROTOCOL_ERROR",
      [headersFrame(3, [...connectTo("a:1"), [":scheme", "https"]], END_HEADERS)],
    ],
    ["H12", "CONNECT without authority", "PROTOCOL_ERROR", [headersFrame(3, [[":method", "CONNECT"]], END_HEADERS)]],
    [
      "H12",
      "extended CONNECT",
      "PROTOCOL_ERROR",
      [
        headersFrame(
          3,
          [...connectTo("a:1"), [":protocol", "websocket"], [":scheme", "https"], [":path", "/"]],
          END_HEADERS,
        ),
      ],
    ],
    [
      "H9",
      "a field with a line end",
      "PROTOCOL_ERROR",
      [headersFrame(3, [...connectTo("a:1"), ["x", "a\r\nb"]], END_HEADERS)],
    ],
    [
      "H9",
      "an upper-case field",
      "PROTOCOL_ERROR",
      [
        rawFrame(
          FrameType.HEADERS,
          END_HEADERS,
          3,
          Buffer.concat([block(connectTo("a:1")), Buffer.from("\u0000\u0001X\u0001a", "latin1")]),
        ),
      ],
    ],
    ["H2", "WINDOW_UPDATE of 0", "PROTOCOL_ERROR", [open, rawFrame(FrameType.WINDOW_UPDATE, 0, 3, uint32(0))]],
    [
      "H2",
      "WINDOW_UPDATEs that overflow",
      "FLOW_CONTROL_ERROR",
      [open, rawFrame(FrameType.WINDOW_UPDATE, 0, 3, uint32(0x7fffffff))],
    ],
    [
      "H2",
      "DATA after the end",
      "STREAM_CLOSED",
      [open, rawFrame(FrameType.DATA, Flag.END_STREAM, 3), rawFrame(FrameType.DATA, 0, 3, Buffer.alloc(1))],
    ],
    [
      "H2",
      "HEADERS after the end",
      "STREAM_CLOSED",
      [
        open,
        rawFrame(FrameType.DATA, Flag.END_STREAM, 3),
        headersFrame(3, [["x", "y"]], END_HEADERS | Flag.END_STREAM),
      ],
    ],
    [
      "H2",
      "PRIORITY that depends on itself",
      "PROTOCOL_ERROR",
      [open, rawFrame(FrameType.PRIORITY, 0, 3, Buffer.from([0, 0, 0, 3, 9]))],
    ],
    [
      "H2",
      "HEADERS that depend on themselves",
      "PROTOCOL_ERROR",
      [
        rawFrame(
          FrameType.HEADERS,
          END_HEADERS | Flag.PRIORITY,
          3,
          Buffer.concat([Buffer.from([0, 0, 0, 3, 9]), block(connectTo("a:1"))]),
        ),
      ],
    ],
    ["H2", "PRIORITY of six bytes", "FRAME_SIZE_ERROR", [open, rawFrame(FrameType.PRIORITY, 0, 3, Buffer.alloc(6))]],
  ])("%s: resets only the stream of %s; the session's other tunnels go on", async (_id, _name, code, frames, limit) => {
    // A tunnel that never ends by itself: the frames find the stream open.
    await using bed = await AttackBed.start(engine, { onConnect: (request) => void request.accept() });
    const peer = await attack(bed);
    peer.send(...frames);
    await eventually(() => expect(peer.resets.get(3)).toBe(ErrorCode[code]));
    await openTunnel(peer, 5);
    expect(peer.resets.has(1)).toBe(false);
    const labels = { side: "downstream", session: "tunnels" };
    await bed.counted("hairpin_http2_stream_faults_total", { ...labels, code }, 1);
    if (limit !== undefined) await bed.counted("hairpin_http2_limits_total", { ...labels, limit }, 1);
    peer.destroy();
  });

  it("H8: refuses streams above its limit and says so, while the others go on", async () => {
    await using bed = await AttackBed.start(engine, { onConnect: (request) => void request.accept() });
    const peer = await attack(bed);
    for (let i = 1; i <= 220; i++) peer.send(headersFrame(1 + 2 * i, connectTo("10.0.0.1:80"), END_HEADERS));
    await eventually(() => expect([...peer.resets.values()]).toEqual(Array(21).fill(ErrorCode.REFUSED_STREAM)));
    expect(bed.sessions[0]?.openTunnels).toBe(200);
    await bed.counted("hairpin_http2_limits_total", { side: "downstream", limit: "concurrentStreams" }, 21);
    peer.destroy();
  });

  it("H13: goes away from a client whose ids come near their end, and lets its tunnels end", async () => {
    await using bed = await AttackBed.start(engine);
    const peer = await attack(bed);
    await openTunnel(peer, 0x40000001);
    await eventually(() => expect(peer.goaway).toEqual({ errorCode: ErrorCode.NO_ERROR, lastStreamId: 0x40000001 }));
    peer.send(headersFrame(0x40000003, connectTo("10.0.0.1:80"), END_HEADERS));
    await eventually(() => expect(peer.resets.get(0x40000003)).toBe(ErrorCode.REFUSED_STREAM));
    peer.send(rawFrame(FrameType.DATA, Flag.END_STREAM, 1), rawFrame(FrameType.DATA, Flag.END_STREAM, 0x40000001));
    await peer.whenClosed;
    expect(await bed.sessions[0]?.whenClosed).toBeUndefined();
  });
});
