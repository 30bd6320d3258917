// H6: peers that ask for much and take nothing. What waits for them is bounded, for a stream, a session, and the thread.
import { describe, expect, it } from "vitest";
import { eventually, type RawHttp2Peer, startHostileServer } from "@hairpin/testkit";
import type { ByteChannel, Http2Options } from "@hairpin/wire";
import {
  Flag,
  FrameType,
  headersFrame,
  rawFrame,
  SettingId,
  settingsFrame,
  uint32,
} from "@hairpin/wire/test-support/frames";
import { inboundHttp2Options } from "../options.ts";
import type { Tunnel } from "../tunnel.ts";
import { AttackBed, authority, heldBytes, server, targetOf } from "./test-support/bed.ts";
import { engines } from "./test-support/engines.ts";
import { connectTo, END_HEADERS } from "./test-support/frame-attacks.ts";
import { echo } from "./test-support/neighbour.ts";
import { attack } from "./test-support/tunnel-attacker.ts";

const KIB = 1024;
const MIB = 1024 * KIB;
const request = { authority: "10.0.0.1:80", headers: [] };
const shut = settingsFrame([SettingId.INITIAL_WINDOW_SIZE, 0]);
/** As a socket is read. */
const piece = Buffer.alloc(64 * KIB, 1);

/** Writes until it is told to stop, and again when it is told to go on: an application that has 64 MiB to send. */
function pour(channel: ByteChannel): void {
  let left = 64 * MIB;
  const go = (): void => {
    while (left > 0 && !channel.closed) {
      left -= piece.length;
      if (!channel.write(piece)) return;
    }
  };
  channel.setHandler({ onData() {}, onEnd() {}, onDrain: go, onClose() {} });
  channel.resume();
  go();
}

const buffered = (tunnels: readonly Tunnel[]): number =>
  tunnels.reduce((sum, { bufferedBytes }) => sum + bufferedBytes, 0);

describe.each(engines)("windows over $name", (engine) => {
  it(
    "H6: 1,000 streams with a window of 0 hold what their sessions may, and no neighbour waits",
    { timeout: 60_000 },
    async () => {
      const tunnels: Tunnel[] = [];
      await using bed = await AttackBed.start(engine, {
        onConnect: (connect) => {
          const tunnel = connect.accept();
          if (connect.peerIdentity.namespace === "bad") {
            tunnels.push(tunnel);
            pour(tunnel);
          } else {
            echo(tunnel);
          }
        },
      });
      const neighbour = await bed.neighbour();
      const before = heldBytes();
      const peers: RawHttp2Peer[] = [];
      for (let session = 1; session <= 5; session++) {
        const peer = await attack(bed);
        peers.push(peer);
        peer.send(shut);
        for (let i = 1; i < 200; i++) peer.send(headersFrame(1 + 2 * i, connectTo("10.0.0.1:80"), END_HEADERS));
        await eventually(() => expect(tunnels).toHaveLength(session * 200), { timeoutMs: 20_000 });
      }
      // Each session above its 2 MiB by a piece for each stream at most; the first stream of each poured before its window was shut.
      expect(buffered(tunnels)).toBeLessThan(5 * (2 * MIB + 200 * piece.length));
      expect(Math.max(...tunnels.map(({ bufferedBytes }) => bufferedBytes))).toBeLessThanOrEqual(
        2 * MIB + piece.length,
      );
      await eventually(() => expect(heldBytes() - before).toBeLessThan(120 * MIB));
      const calls = neighbour.calls;
      await neighbour.nextCall();
      await neighbour.stop();
      expect(neighbour.failures).toEqual([]);
      expect(neighbour.calls).toBeGreaterThan(calls);
      // An attacker that leaves takes it all with it.
      for (const peer of peers) peer.destroy();
      await eventually(() =>
        expect(bed.sessions.every(({ openTunnels }, i) => i === 0 || openTunnels === 0)).toBe(true),
      );
      expect(buffered(tunnels)).toBe(0);
      await eventually(() => expect(heldBytes() - before).toBeLessThan(32 * MIB));
    },
  );

  it("H6: many sessions together hold what the thread may", { timeout: 60_000 }, async () => {
    const tunnels: Tunnel[] = [];
    const http2: Http2Options = { ...inboundHttp2Options, maxThreadSendBufferBytes: 4 * MIB };
    await using bed = await AttackBed.start(engine, {
      listener: { http2 },
      onConnect: (connect) => {
        const tunnel = connect.accept();
        tunnels.push(tunnel);
        pour(tunnel);
      },
    });
    const peers: RawHttp2Peer[] = [];
    for (let session = 0; session < 50; session++) {
      const peer = await attack(bed);
      peer.send(shut);
      await peer.settled();
      peer.send(headersFrame(3, connectTo("10.0.0.1:80"), END_HEADERS));
      peers.push(peer);
    }
    await eventually(() => expect(tunnels).toHaveLength(100));
    // Above the limit a stream gets a piece and no more.
    expect(buffered(tunnels)).toBeLessThan(4 * MIB + 400 * KIB + tunnels.length * piece.length);
    expect(await bed.count("hairpin_http2_limits_total", { limit: "threadSendBuffer" })).toBeGreaterThan(0);
    for (const peer of peers) peer.destroy();
  });

  it("H6: a tiny window is served byte by byte, and its stream loses none", async () => {
    const bytes = Buffer.from("one byte at a time");
    await using bed = await AttackBed.start(engine, {
      onConnect: (connect) => {
        const tunnel = connect.accept();
        tunnel.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
        tunnel.write(bytes);
        tunnel.end();
      },
    });
    const peer = await attack(bed);
    peer.send(shut);
    await peer.settled();
    peer.send(headersFrame(3, connectTo("10.0.0.1:80"), END_HEADERS));
    for (let i = 1; i <= bytes.length; i++) {
      peer.send(rawFrame(FrameType.WINDOW_UPDATE, 0, 3, uint32(1)));
      await eventually(() => expect(peer.dataBytes.get(3)).toBe(i), { intervalMs: 1 });
    }
    peer.destroy();
  });

  it("H6: a server with a window of 0 makes the dialer hold what a stream may", async () => {
    await using bed = await AttackBed.start(engine);
    await using hostile = await startHostileServer(authority.material(server), (peer) => peer.send(shut));
    const neighbour = await bed.neighbour();
    const before = heldBytes();
    const dialling = Array.from({ length: 50 }, () => bed.dialer.dial(targetOf(hostile.address), request));
    const peer = await eventually(() => {
      const [first] = hostile.peers;
      if (first?.heads.size !== 50) throw new Error("not all CONNECTs came");
      return first;
    });
    for (const stream of peer.heads.keys()) peer.send(headersFrame(stream, [[":status", "200"]], END_HEADERS));
    const tunnels = await Promise.all(dialling);
    tunnels.forEach(pour);
    expect(buffered(tunnels)).toBeLessThan(16 * MIB + 50 * piece.length);
    await eventually(() => expect(heldBytes() - before).toBeLessThan(48 * MIB));
    await neighbour.nextCall();
    await neighbour.stop();
    expect(neighbour.failures).toEqual([]);
    peer.destroy();
    await eventually(() => expect(buffered(tunnels)).toBe(0));
  });

  it("H6: what a peer sends to a reader that stalls is bounded by the window", async () => {
    const tunnels: Tunnel[] = [];
    await using bed = await AttackBed.start(engine, {
      listener: { http2: { ...inboundHttp2Options, initialWindowSize: MIB, connectionWindowSize: 4 * MIB } },
      // Accepted and never resumed: an application that does not read.
      onConnect: (connect) => void tunnels.push(connect.accept()),
    });
    const peer = await attack(bed);
    for (let i = 1; i < 8; i++) peer.send(headersFrame(1 + 2 * i, connectTo("10.0.0.1:80"), END_HEADERS));
    await eventually(() => expect(tunnels).toHaveLength(8));
    const before = heldBytes();
    // The connection's window is four MiB: the fifth stream exceeds it.
    const full = (stream: number): Buffer[] =>
      Array.from({ length: 64 }, () => rawFrame(FrameType.DATA, 0, stream, Buffer.alloc(16 * KIB)));
    for (let i = 0; i < 4; i++) peer.send(...full(1 + 2 * i));
    await peer.settled();
    expect(peer.goaway).toBeUndefined();
    await eventually(() => expect(heldBytes() - before).toBeLessThan(12 * MIB));
    peer.send(rawFrame(FrameType.DATA, Flag.END_STREAM, 9, Buffer.alloc(1)));
    await peer.whenClosed;
    await bed.counted("hairpin_hbone_sessions_failed_total", { reason: "HTTP2_FLOW_CONTROL_ERROR" }, 1);
  });
});
