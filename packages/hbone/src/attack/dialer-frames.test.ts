import { describe, expect, it } from "vitest";
import { eventually, type HostileServer, type RawHttp2Peer, startHostileServer } from "@hairpin/testkit";
import { ErrorCode } from "@hairpin/wire";
import {
  block,
  Flag,
  FrameType,
  headersFrame,
  rawFrame,
  SettingId,
  settingsFrame,
  uint32,
} from "@hairpin/wire/test-support/frames";
import type { Tunnel } from "../tunnel.ts";
import { AttackBed, authority, heldBytes, server, targetOf } from "./test-support/bed.ts";
import { engines } from "./test-support/engines.ts";
import { connectionAttacks, END_HEADERS, type Fields, floods, hpackBomb } from "./test-support/frame-attacks.ts";

const MIB = 1024 * 1024;
const request = { authority: "10.0.0.1:80", headers: [] };
const ok: Fields = [[":status", "200"]];
const end = Flag.END_HEADERS | Flag.END_STREAM;

/** A server with the identity that is expected, which sends SETTINGS. */
async function startServer(onPeer: (peer: RawHttp2Peer) => void = () => {}): Promise<HostileServer> {
  return await startHostileServer(authority.material(server), (peer) => {
    peer.send(settingsFrame());
    onPeer(peer);
  });
}

/** The bed's dialer has one tunnel to the hostile server; `closed` resolves with the reason of its end. */
async function dialHostile(
  bed: AttackBed,
  hostile: HostileServer,
): Promise<{ readonly peer: RawHttp2Peer; readonly tunnel: Tunnel; readonly closed: Promise<Error | undefined> }> {
  const dialling = bed.dialer.dial(targetOf(hostile.address), request);
  dialling.catch(() => {});
  const peer = await eventually(() => {
    const [first] = hostile.peers;
    if (first?.heads.get(1) !== "CONNECT") throw new Error("no CONNECT yet");
    return first;
  });
  peer.send(headersFrame(1, ok, END_HEADERS));
  const tunnel = await dialling;
  const { promise: closed, resolve } = Promise.withResolvers<Error | undefined>();
  tunnel.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose: resolve });
  tunnel.resume();
  return { peer, tunnel, closed };
}

/** A tunnel of the bed's own dialer, over another session, goes on. */
async function neighbourOf(bed: AttackBed) {
  return await bed.neighbour(targetOf(bed.address));
}

describe.each(engines)("a dialer over $name", (engine) => {
  it.each(floods)("$id: cuts a server for a flood of $name, and nobody else", async ({ frame, limit, burst }) => {
    await using bed = await AttackBed.start(engine);
    await using hostile = await startServer();
    const neighbour = await neighbourOf(bed);
    const { peer, closed } = await dialHostile(bed, hostile);
    const before = heldBytes();
    const sent = await peer.flood(frame, 200_000);
    expect(await closed).toMatchObject({ code: "HTTP2_SESSION_CLOSED" });
    await peer.whenClosed;
    expect(peer.goaway?.errorCode).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    expect(sent).toBeGreaterThan(burst);
    expect(sent).toBeLessThan(200_000);
    await eventually(() => expect(heldBytes() - before).toBeLessThan(32 * MIB));
    await bed.counted("hairpin_http2_limits_total", { side: "upstream", session: "tunnels", limit }, 1);
    const failed = { side: "upstream", reason: "HTTP2_ENHANCE_YOUR_CALM" };
    await bed.counted("hairpin_hbone_sessions_failed_total", failed, 1);
    await neighbour.nextCall();
    await neighbour.stop();
    expect(neighbour.failures).toEqual([]);
    expect(bed.dialer.sessions).toBe(0);
  });

  const ownAttacks: ReturnType<typeof connectionAttacks> = [
    {
      id: "H12",
      name: "SETTINGS that switch push on",
      code: "PROTOCOL_ERROR",
      frames: [settingsFrame([SettingId.ENABLE_PUSH, 1])],
    },
    {
      id: "H13",
      name: "a response on a stream that was never opened",
      code: "PROTOCOL_ERROR",
      frames: [headersFrame(7, ok, END_HEADERS)],
    },
    {
      id: "H13",
      name: "HEADERS on a stream of its own",
      code: "PROTOCOL_ERROR",
      frames: [headersFrame(2, ok, END_HEADERS)],
    },
    {
      id: "H6",
      name: "an initial window above 2^31-1",
      code: "FLOW_CONTROL_ERROR",
      frames: [settingsFrame([SettingId.INITIAL_WINDOW_SIZE, 0x80000000])],
    },
    {
      id: "H9",
      name: "a maximum frame size of 0",
      code: "PROTOCOL_ERROR",
      frames: [settingsFrame([SettingId.MAX_FRAME_SIZE, 0])],
    },
  ];
  it.each([...connectionAttacks(1, ok), ...ownAttacks])(
    "$id: ends the connection of a server that sends $name, and dials another",
    async ({ frames, code, limit }) => {
      await using bed = await AttackBed.start(engine);
      await using hostile = await startServer();
      const neighbour = await neighbourOf(bed);
      const { peer, closed } = await dialHostile(bed, hostile);
      peer.send(...frames);
      expect(await closed).toMatchObject({ code: "HTTP2_SESSION_CLOSED" });
      await peer.whenClosed;
      expect(peer.goaway?.errorCode).toBe(ErrorCode[code]);
      await bed.counted("hairpin_hbone_sessions_failed_total", { side: "upstream", reason: `HTTP2_${code}` }, 1);
      if (limit !== undefined) await bed.counted("hairpin_http2_limits_total", { side: "upstream", limit }, 1);
      const again = bed.dialer.dial(targetOf(hostile.address), request);
      again.catch(() => {});
      await eventually(() => expect(hostile.peers).toHaveLength(2));
      await neighbour.nextCall();
      await neighbour.stop();
      expect(neighbour.failures).toEqual([]);
    },
  );

  const bombed = rawFrame(FrameType.HEADERS, END_HEADERS, 3, hpackBomb(ok, 1000));
  const manyFields: Fields = [...ok, ...Array.from({ length: 70 }, (_, i) => [`x-${i}`, "1"] as const)];
  it.each<[string, string, keyof typeof ErrorCode, Uint8Array[], string?]>([
    ["H7", "an HPACK bomb", "ENHANCE_YOUR_CALM", [bombed], "headerListBytes"],
    ["H8", "70 fields", "ENHANCE_YOUR_CALM", [headersFrame(3, manyFields, END_HEADERS)], "headerCount"],
    [
      "H4",
      "1xx heads without end",
      "ENHANCE_YOUR_CALM",
      Array.from({ length: 40 }, () => headersFrame(3, [[":status", "103"]], END_HEADERS)),
      "informationalHeads",
    ],
    ["H6", "DATA before the head", "PROTOCOL_ERROR", [rawFrame(FrameType.DATA, 0, 3, Buffer.alloc(9))]],
    ["H2", "WINDOW_UPDATE of 0", "PROTOCOL_ERROR", [rawFrame(FrameType.WINDOW_UPDATE, 0, 3, uint32(0))]],
    ["H9", "a head without status", "PROTOCOL_ERROR", [headersFrame(3, [["x", "y"]], END_HEADERS)]],
    ["H9", "a status that is none", "PROTOCOL_ERROR", [headersFrame(3, [[":status", "2000"]], END_HEADERS)]],
    [
      "H9",
      "a request for an answer",
      "PROTOCOL_ERROR",
      [rawFrame(FrameType.HEADERS, END_HEADERS, 3, block([[":method", "GET"]]))],
    ],
  ])(
    "%s: resets only the stream that %s came on; the session's other tunnels go on",
    async (_id, _name, code, frames, limit) => {
      await using bed = await AttackBed.start(engine);
      await using hostile = await startServer();
      const { peer, tunnel } = await dialHostile(bed, hostile);
      const second = bed.dialer.dial(targetOf(hostile.address), request);
      second.catch(() => {});
      await eventually(() => expect(peer.heads.get(3)).toBe("CONNECT"));
      peer.send(...frames);
      await expect(second).rejects.toMatchObject({ code: "HBONE_SESSION_CLOSED" });
      await eventually(() => expect(peer.resets.get(3)).toBe(ErrorCode[code]));
      const labels = { side: "upstream", session: "tunnels" };
      await bed.counted("hairpin_http2_stream_faults_total", { ...labels, code }, 1);
      if (limit !== undefined) await bed.counted("hairpin_http2_limits_total", { ...labels, limit }, 1);
      tunnel.write(Buffer.from("still here"));
      await eventually(() => expect(peer.dataBytes.get(1)).toBe(10));
      expect(hostile.peers).toHaveLength(1);
    },
  );

  it("H6: resets a stream whose server sends more than its window", async () => {
    await using bed = await AttackBed.start(engine, { dialer: { http2: { initialWindowSize: 65_535 } } });
    await using hostile = await startServer();
    const { peer, tunnel, closed } = await dialHostile(bed, hostile);
    tunnel.pause();
    for (let i = 0; i < 5; i++) peer.send(rawFrame(FrameType.DATA, 0, 1, Buffer.alloc(16_384)));
    await eventually(() => expect(peer.resets.get(1)).toBe(ErrorCode.FLOW_CONTROL_ERROR));
    tunnel.resume();
    expect(await closed).toMatchObject({ code: "HTTP2_FLOW_CONTROL_ERROR" });
  });

  it("H14: a server that goes away at once costs an error and no loop", async () => {
    await using bed = await AttackBed.start(engine);
    await using hostile = await startServer((peer) => peer.send(rawFrame(FrameType.GOAWAY, 0, 0, uint32(0, 0))));
    await expect(bed.dialer.dial(targetOf(hostile.address), request)).rejects.toThrow();
    expect(hostile.peers.length).toBeLessThanOrEqual(3);
    await eventually(() => expect(bed.dialer.sessions).toBe(0));
  });

  it("H14: sessions of a server that allows no stream are not kept", async () => {
    await using bed = await AttackBed.start(engine, { dialer: { responseTimeoutMs: 1000 } });
    await using hostile = await startServer((peer) => peer.send(settingsFrame([SettingId.MAX_CONCURRENT_STREAMS, 0])));
    let failed = 0;
    for (let i = 0; i < 3; i++) bed.dialer.dial(targetOf(hostile.address), request).catch(() => failed++);
    await eventually(async () => {
      await bed.clock.advance(1000);
      expect(failed).toBe(3);
      expect(bed.dialer.sessions).toBe(0);
    });
    expect(hostile.peers.length).toBeLessThanOrEqual(6);
  });

  it("H14: tunnels that a server did not process are opened again elsewhere", async () => {
    await using bed = await AttackBed.start(engine);
    let connections = 0;
    await using hostile = await startServer((peer) => {
      if (++connections === 1) return;
      void eventually(() => expect(peer.heads.get(1)).toBe("CONNECT")).then(() => peer.send(headersFrame(1, ok, end)));
    });
    const { peer } = await dialHostile(bed, hostile);
    const second = bed.dialer.dial(targetOf(hostile.address), request);
    await eventually(() => expect(peer.heads.get(3)).toBe("CONNECT"));
    peer.send(rawFrame(FrameType.GOAWAY, 0, 0, uint32(1, ErrorCode.NO_ERROR)));
    await expect(second).resolves.toBeDefined();
    expect(hostile.peers).toHaveLength(2);
  });
});
