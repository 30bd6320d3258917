// What only a clock finds: header blocks without end (H3), sessions that never open or never say they understood (H14), sessions that
// are old (H13), peers whose certificate has ended (I9). Time is moved by hand.
import { describe, expect, it } from "vitest";
import {
  type CertificateOverrides,
  connectHostileClient,
  connectHostileTls,
  eventually,
  type HostileServer,
  type RawHttp2Peer,
  startHostileServer,
} from "@hairpin/testkit";
import { ErrorCode } from "@hairpin/wire";
import { Flag, FrameType, headersFrame, rawFrame, settingsFrame } from "@hairpin/wire/test-support/frames";
import { AttackBed, attacker, authority, server, targetOf } from "./test-support/bed.ts";
import { engines } from "./test-support/engines.ts";
import { connectTo, END_HEADERS } from "./test-support/frame-attacks.ts";
import { attack, openTunnel } from "./test-support/tunnel-attacker.ts";

const request = { authority: "10.0.0.1:80", headers: [] };
const hour = 3_600_000;
const failedTotal = "hairpin_hbone_sessions_failed_total";
const end = Flag.END_STREAM | Flag.END_HEADERS;

/** Moves time on in steps in which the peer answers its PING, so that only what is meant runs out. */
async function pass(bed: AttackBed, ms: number, peer: RawHttp2Peer): Promise<void> {
  for (let left = ms; left > 0; left -= 10_000) {
    const before = peer.frames.filter(isPing).length;
    await bed.clock.advance(10_000);
    await eventually(() => expect(peer.closed || peer.frames.filter(isPing).length > before).toBe(true));
    await peer.settled();
  }
}

/** Sends the beginning of something, and waits until we have begun to wait for its end. */
async function sendAndSetTimer(bed: AttackBed, peer: RawHttp2Peer, bytes: Uint8Array): Promise<void> {
  const timers = bed.clock.pendingTimers;
  peer.send(bytes);
  await eventually(() => expect(bed.clock.pendingTimers).toBe(timers + 1));
}

const isPing = ({ type, flags }: { type: number; flags: number }): boolean => type === FrameType.PING && flags === 0;

async function startServer(
  overrides: CertificateOverrides = {},
  send: readonly Uint8Array[] = [settingsFrame()],
  acknowledgeSettings = true,
): Promise<HostileServer> {
  return await startHostileServer(authority.material(server, overrides), (peer) => peer.send(...send), {
    acknowledgeSettings,
  });
}

/** A tunnel of the bed's dialer to the server, over a session of its own; resolves when it is open. */
async function dialTo(bed: AttackBed, hostile: HostileServer): Promise<RawHttp2Peer> {
  const index = hostile.peers.length;
  const dialling = bed.dialer.dial(targetOf(hostile.address), request);
  dialling.catch(() => {});
  const peer = await eventually(() => {
    const dialled = hostile.peers[index];
    if (dialled?.heads.get(1) !== "CONNECT") throw new Error("no CONNECT yet");
    return dialled;
  });
  peer.send(headersFrame(1, [[":status", "200"]], END_HEADERS));
  (await dialling).setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
  return peer;
}

describe.each(engines)("a listener over $name", (engine) => {
  it.each([
    ["a CONTINUATION that never comes", headersFrame(3, connectTo("a:1"), 0)],
    ["HEADERS whose last bytes never come", headersFrame(3, connectTo("a:1"), END_HEADERS).subarray(0, -2)],
  ])("H3: gives up after 5 s on %s", async (_name, bytes) => {
    await using bed = await AttackBed.start(engine);
    const neighbour = await bed.neighbour();
    await neighbour.stop();
    const peer = await attack(bed);
    await sendAndSetTimer(bed, peer, bytes);
    await bed.clock.advance(4999);
    expect(peer.closed).toBe(false);
    await bed.clock.advance(1);
    await peer.whenClosed;
    expect(peer.goaway?.errorCode).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    await bed.counted(failedTotal, { side: "downstream", reason: "HBONE_HEADERS_TIMEOUT" }, 1);
    await bed.counted(failedTotal, {}, 1);
    expect(neighbour.failures).toEqual([]);
  });

  it("H3: dribbles within the time are let pass", async () => {
    await using bed = await AttackBed.start(engine);
    const peer = await attack(bed);
    for (let stream = 3; stream < 9; stream += 2) {
      peer.send(headersFrame(stream, connectTo("10.0.0.1:80"), 0));
      await bed.clock.advance(1000);
      peer.send(rawFrame(FrameType.CONTINUATION, END_HEADERS, stream));
      await eventually(() => expect(peer.heads.get(stream)).toBe("200"));
    }
    peer.destroy();
  });

  it("gives up on a client that sends no HTTP/2", async () => {
    await using bed = await AttackBed.start(engine);
    const socket = await connectHostileTls(bed.address, authority.material(attacker));
    await eventually(() => expect(bed.sessions).toHaveLength(1));
    await bed.clock.advance(5000);
    await bed.counted(failedTotal, { side: "downstream", reason: "HBONE_PREFACE_TIMEOUT" }, 1);
    socket.destroy();
  });

  it("H14: gives up on a client that never acknowledges our SETTINGS", async () => {
    await using bed = await AttackBed.start(engine);
    const peer = await connectHostileClient(bed.address, authority.material(attacker), { acknowledgeSettings: false });
    await openTunnel(peer, 1);
    await bed.clock.advance(5000);
    await peer.whenClosed;
    expect(peer.goaway?.errorCode).toBe(ErrorCode.SETTINGS_TIMEOUT);
    await bed.counted(failedTotal, { side: "downstream", reason: "HBONE_SETTINGS_TIMEOUT" }, 1);
  });

  it("gives up on a client that answers no PING", async () => {
    await using bed = await AttackBed.start(engine);
    const peer = await connectHostileClient(bed.address, authority.material(attacker), { answerPings: false });
    await openTunnel(peer, 1);
    await bed.clock.advance(30_000);
    await bed.counted(failedTotal, { side: "downstream", reason: "HBONE_PING_TIMEOUT" }, 1);
    peer.destroy();
  });

  it("I9: closes the session of a client whose certificate ended, within 30 s, and no other", async () => {
    await using bed = await AttackBed.start(engine);
    const neighbour = await bed.neighbour();
    await neighbour.stop();
    const notAfter = new Date(Math.ceil(bed.clock.wallTime().getTime() / 1000) * 1000 + 60_000);
    const peer = await connectHostileClient(bed.address, authority.material(attacker, { notAfter }));
    await openTunnel(peer, 1);
    await pass(bed, 50_000, peer);
    expect(peer.closed).toBe(false);
    await pass(bed, 40_000, peer);
    await peer.whenClosed;
    expect(bed.clock.wallTime().getTime() - notAfter.getTime()).toBeLessThanOrEqual(30_000);
    await bed.counted(failedTotal, { side: "downstream", reason: "HBONE_PEER_EXPIRED" }, 1);
    await bed.counted(failedTotal, {}, 1);
    expect(bed.sessions.filter(({ openTunnels }) => openTunnels > 0)).toEqual([]);
  });

  it("I9: notices when the date jumps past the end", async () => {
    await using bed = await AttackBed.start(engine);
    const peer = await attack(bed);
    bed.clock.setWallTime(new Date(Date.now() + 2 * hour));
    await bed.clock.advance(10_000);
    await peer.whenClosed;
    await bed.counted(failedTotal, { side: "downstream", reason: "HBONE_PEER_EXPIRED" }, 1);
  });

  it("I9: asks a client to leave before its certificate ends, and lets its tunnels go on meanwhile", async () => {
    await using bed = await AttackBed.start(engine);
    const notAfter = new Date(bed.clock.wallTime().getTime() + 200_000);
    const peer = await connectHostileClient(bed.address, authority.material(attacker, { notAfter }));
    await openTunnel(peer, 1);
    await pass(bed, 170_000, peer);
    expect(peer.goaway).toBeUndefined();
    await pass(bed, 20_000, peer);
    await eventually(() => expect(peer.goaway).toEqual({ errorCode: ErrorCode.NO_ERROR, lastStreamId: 1 }));
    peer.send(rawFrame(FrameType.DATA, Flag.END_STREAM, 1, Buffer.from("late")));
    await eventually(() => expect(peer.dataBytes.get(1)).toBe(4));
  });

  it("H13: asks a client to leave when the session is old", async () => {
    await using bed = await AttackBed.start(engine, { listener: { maxAgeMs: 100_000 } });
    const peer = await attack(bed);
    await pass(bed, 80_000, peer);
    expect(peer.goaway).toBeUndefined();
    await pass(bed, 30_000, peer);
    await eventually(() => expect(peer.goaway?.errorCode).toBe(ErrorCode.NO_ERROR));
    peer.destroy();
  });
});

describe.each(engines)("a dialer over $name", (engine) => {
  it("H3: gives up after 5 s on a head without end, and dials anew", async () => {
    await using bed = await AttackBed.start(engine);
    await using hostile = await startServer();
    const peer = await dialTo(bed, hostile);
    await sendAndSetTimer(bed, peer, headersFrame(1, [["trailer", "x"]], Flag.END_STREAM));
    await bed.clock.advance(5000);
    await peer.whenClosed;
    expect(peer.goaway?.errorCode).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    await bed.counted(failedTotal, { side: "upstream", reason: "HBONE_HEADERS_TIMEOUT" }, 1);
    await dialTo(bed, hostile);
    expect(hostile.peers).toHaveLength(2);
  });

  it.each([
    ["sends no SETTINGS", [], true, "HBONE_PREFACE_TIMEOUT", ErrorCode.NO_ERROR],
    ["never acknowledges ours", [settingsFrame()], false, "HBONE_SETTINGS_TIMEOUT", ErrorCode.SETTINGS_TIMEOUT],
  ] as const)("H14: gives up on a server that %s", async (_name, send, acknowledges, reason, code) => {
    await using bed = await AttackBed.start(engine);
    await using hostile = await startServer({}, send, acknowledges);
    const dialling = bed.dialer.dial(targetOf(hostile.address), request);
    dialling.catch(() => {});
    const peer = await eventually(() => {
      expect(hostile.peers[0]?.heads.get(1)).toBe("CONNECT");
      return hostile.peers[0] as RawHttp2Peer;
    });
    // Its SETTINGS, if any, must have been read before time passes.
    if (send.length > 0)
      await eventually(() =>
        expect(peer.frames.some(({ type, flags }) => type === FrameType.SETTINGS && flags === Flag.ACK)).toBe(true),
      );
    await bed.clock.advance(5000);
    await expect(dialling).rejects.toThrow();
    await peer.whenClosed;
    expect(peer.goaway?.errorCode).toBe(code);
    await bed.counted(failedTotal, { side: "upstream", reason }, 1);
  });

  it("I9: closes the session of a server whose certificate ended, and makes another with the new one", async () => {
    await using bed = await AttackBed.start(engine);
    const notAfter = new Date(bed.clock.wallTime().getTime() + 60_000);
    await using hostile = await startServer({ notAfter });
    const peer = await dialTo(bed, hostile);
    await pass(bed, 90_000, peer);
    await peer.whenClosed;
    await bed.counted(failedTotal, { side: "upstream", reason: "HBONE_PEER_EXPIRED" }, 1);
    expect(bed.dialer.sessions).toBe(0);
  });

  it("I9: uses no session for new tunnels in the last tenth of its server's certificate", async () => {
    await using bed = await AttackBed.start(engine);
    const notAfter = new Date(bed.clock.wallTime().getTime() + 200_000);
    await using hostile = await startServer({ notAfter });
    const peer = await dialTo(bed, hostile);
    await pass(bed, 190_000, peer);
    const second = await dialTo(bed, hostile);
    expect(second).not.toBe(peer);
    expect(peer.resets.has(1)).toBe(false);
    peer.send(rawFrame(FrameType.DATA, end, 1));
  });

  it("H13: moves to a fresh session when one is old, while its tunnels go on", async () => {
    await using bed = await AttackBed.start(engine, { dialer: { maxAgeMs: 50_000 } });
    await using hostile = await startServer();
    const peer = await dialTo(bed, hostile);
    await pass(bed, 60_000, peer);
    const second = await dialTo(bed, hostile);
    expect(second).not.toBe(peer);
    expect(peer.closed).toBe(false);
    expect(peer.resets.has(1)).toBe(false);
  });

  it("H13: moves to a fresh session when the ids of one come to their end", async () => {
    await using bed = await AttackBed.start(engine, { dialer: { http2: { streamIdLimit: 1 } } });
    await using hostile = await startServer();
    const peer = await dialTo(bed, hostile);
    const second = await dialTo(bed, hostile);
    expect(second).not.toBe(peer);
    expect(peer.goaway?.errorCode).toBe(ErrorCode.NO_ERROR);
    expect(peer.closed).toBe(false);
  });
});
