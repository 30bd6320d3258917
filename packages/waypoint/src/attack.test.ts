// The attack catalogue (docs/security.md) against a whole waypoint on loopback: sessions of other proxies, and the HTTP/2 that
// applications speak inside of tunnels. The frames of tunnel sessions are tried in packages/hbone/src/attack.
import { describe, expect, it } from "vitest";
import { hairpinWaypoint } from "@hairpin/shared/api";
import { type Clock, systemClock } from "@hairpin/shared/process";
import { connectHostileClient, eventually, RawHttp2Peer } from "@hairpin/testkit";
import { createLibsslEngine, createNodeTlsEngine, ErrorCode } from "@hairpin/wire";
import {
  CLIENT_PREFACE,
  Flag,
  FrameType,
  GET,
  headersFrame,
  rawFrame,
  SettingId,
  settingsFrame,
  uint32,
} from "@hairpin/wire/test-support/frames";
import { startHttp2App, startHttpApp } from "./testing/apps.ts";
import { request } from "./testing/http-client.ts";
import { openShop, type Shop } from "./testing/shop.ts";
import type { CapturedPort } from "./testing/source-ztunnel.ts";
import { addressOf, type TestBed } from "./testing/test-bed.ts";

const engines = [createNodeTlsEngine(), createLibsslEngine()];
const { HTTP2 } = hairpinWaypoint.Protocol;
const http2Port = { ports: [{ port: 80, name: "http2", protocol: HTTP2 }] };
const END = Flag.END_HEADERS | Flag.END_STREAM;
const limits = "hairpin_http2_limits_total";

async function countOf(bed: TestBed, name: string, ...labels: readonly string[]): Promise<number> {
  return (await bed.metrics())
    .split("\n")
    .filter((line) => line.startsWith(name) && labels.every((label) => line.includes(label)))
    .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

/** HTTP/2 by hand inside of a tunnel. */
async function speakHttp2(to: CapturedPort): Promise<RawHttp2Peer> {
  const peer = new RawHttp2Peer(await to.connect(), { role: "client" });
  peer.send(CLIENT_PREFACE, settingsFrame());
  return peer;
}

/** Another client's requests, before, during and after an attack. */
async function neighbourOf(shop: Shop<AsyncDisposable>): Promise<() => Promise<void>> {
  const port = await shop.bed.client("shop/honest").capture(addressOf(shop.service));
  const call = async (): Promise<void> => {
    const peer = await speakHttp2(port);
    peer.send(headersFrame(1, GET, END));
    await eventually(() => expect(peer.heads.get(1)).toBe("200"));
    peer.destroy();
  };
  await call();
  return call;
}

const rapidReset = (i: number): Buffer =>
  Buffer.concat([headersFrame(1 + 2 * i, GET, END), rawFrame(FrameType.RST_STREAM, 0, 1 + 2 * i, uint32(8))]);

/** A clock whose long waits are short. */
function hurriedClock(longMs: number, shortMs: number): Clock {
  return {
    ...systemClock,
    setTimer: (ms, callback, options) => systemClock.setTimer(ms === longMs ? shortMs : ms, callback, options),
  };
}

describe.each(engines)("a waypoint over $name", (tls) => {
  it("H1: cuts an application that opens and resets requests, over all its tunnels, and no other", async () => {
    await using shop = await openShop((place) => startHttp2App(place, () => {}), { service: http2Port, tls });
    const attacker = await speakHttp2(shop.web);
    await attacker.flood(rapidReset, 50_000);
    await attacker.whenClosed;
    expect(attacker.goaway?.errorCode).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    const again = await speakHttp2(shop.web);
    await again.flood(rapidReset, 50, 50);
    await again.whenClosed;
    expect(await countOf(shop.bed, limits, 'session="requests"', 'limit="resets"', 'side="downstream"')).toBe(2);
    // Its budget is one of the identity at an address: others have theirs.
    const other = await speakHttp2(await shop.bed.client("shop/honest").capture(addressOf(shop.service)));
    await other.flood(rapidReset, 100, 50);
    await other.settled();
    expect(other.goaway).toBeUndefined();
    expect(shop.apps[0]?.requests.length).toBeLessThanOrEqual(200 + 100 + 10);
    other.destroy();
  });

  it.each([
    ["H4", "PING", "pings", () => rawFrame(FrameType.PING, 0, 0, Buffer.alloc(8))],
    ["H4", "SETTINGS", "settings", () => settingsFrame()],
    ["H4", "unknown frames", "ignoredFrames", () => rawFrame(0x99, 0, 0, Buffer.alloc(9))],
    ["H5", "WINDOW_UPDATE", "windowUpdates", () => rawFrame(FrameType.WINDOW_UPDATE, 0, 0, uint32(1))],
  ])("%s: cuts an application for a flood of %s inside its tunnel", async (_id, _name, limit, frame) => {
    await using shop = await openShop(startHttp2App, { service: http2Port, tls });
    const callNeighbour = await neighbourOf(shop);
    const attacker = await speakHttp2(shop.web);
    await attacker.flood(frame, 200_000);
    await attacker.whenClosed;
    expect(attacker.goaway?.errorCode).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    expect(await countOf(shop.bed, limits, 'session="requests"', `limit="${limit}"`)).toBe(1);
    await callNeighbour();
  });

  it.each([
    ["H3", "a header block without end", headersFrame(1, GET, Flag.END_STREAM), "headersTimeout", true],
    ["H14", "no ack of our SETTINGS", Buffer.alloc(0), "settingsTimeout", false],
  ])("%s: ends an application's connection with %s after 5 s", async (_id, _name, bytes, limit, acknowledge) => {
    const clock = hurriedClock(5000, 300);
    await using shop = await openShop(startHttp2App, { service: http2Port, tls, clock });
    const callNeighbour = await neighbourOf(shop);
    const peer = new RawHttp2Peer(await shop.web.connect(), { role: "client", acknowledgeSettings: acknowledge });
    peer.send(CLIENT_PREFACE, settingsFrame());
    await peer.settled();
    peer.send(bytes);
    await peer.whenClosed;
    expect(await countOf(shop.bed, limits, 'session="requests"', `limit="${limit}"`)).toBe(1);
    await callNeighbour();
  });

  it("H6: resets a response that its client takes nothing of for 5 min", async () => {
    const clock = hurriedClock(300_000, 300);
    const big = Buffer.alloc(4 * 1024 * 1024);
    await using shop = await openShop((place) => startHttp2App(place, (_, response) => response.end(big)), {
      service: http2Port,
      tls,
      clock,
    });
    const peer = await speakHttp2(shop.web);
    peer.send(settingsFrame([SettingId.INITIAL_WINDOW_SIZE, 0]), headersFrame(1, GET, END));
    await eventually(() => expect(peer.resets.get(1)).toBe(ErrorCode.CANCEL));
    await eventually(() => expect(shop.bed.access()[0]).toMatchObject({ response_flags: "SI" }));
    peer.destroy();
  });

  it("H6: does not mind a response that has nothing to say for long", async () => {
    const clock = hurriedClock(300_000, 50);
    await using shop = await openShop(
      (place) =>
        startHttp2App(place, (_, response) => {
          response.write("first");
          setTimeout(() => response.end("last"), 500);
        }),
      { service: http2Port, tls, clock },
    );
    const peer = await speakHttp2(shop.web);
    peer.send(headersFrame(1, GET, END));
    await eventually(() => expect(peer.dataBytes.get(1)).toBe("firstlast".length));
    peer.destroy();
  });

  it("H1, H4: cuts proxies that flood its tunnel sessions, counts them, and serves the others", async () => {
    await using shop = await openShop(startHttpApp, { tls });
    const bad = shop.bed.nextIp();
    const material = shop.bed.authority.material("shop/bad");
    const connect = () => connectHostileClient(shop.bed.address, material, { localAddress: bad });
    const open = (i: number): Buffer =>
      headersFrame(
        1 + 2 * i,
        [
          [":method", "CONNECT"],
          [":authority", addressOf(shop.service)],
        ],
        Flag.END_HEADERS,
      );
    const resets = await connect();
    await resets.flood(
      (i) => Buffer.concat([open(i), rawFrame(FrameType.RST_STREAM, 0, 1 + 2 * i, uint32(8))]),
      50_000,
    );
    await resets.whenClosed;
    expect(resets.goaway?.errorCode).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    const pings = await connect();
    await pings.flood(() => rawFrame(FrameType.PING, 0, 0, Buffer.alloc(8)), 100_000);
    await pings.whenClosed;
    for (const limit of ["resets", "pings"])
      expect(await countOf(shop.bed, limits, 'session="tunnels"', `limit="${limit}"`)).toBe(1);
    await eventually(async () =>
      expect(await countOf(shop.bed, "hairpin_hbone_sessions_failed_total", "HTTP2_ENHANCE_YOUR_CALM")).toBe(2),
    );
    expect((await request(shop.web, "/")).status).toBe(200);
  });

  it("I1, I2: refuses proxies by their certificates, and counts them by reason", async () => {
    await using shop = await openShop(startHttpApp, { tls });
    for (const overrides of [
      { expired: true },
      { wrongTrustDomain: true },
      { extraUris: ["https://x"] },
      { ca: true },
    ]) {
      const material = shop.bed.authority.material("shop/bad", overrides);
      await (
        await connectHostileClient(shop.bed.address, material)
      ).whenClosed;
    }
    await eventually(async () => {
      for (const reason of ["handshake", "trust-domain", "several-names", "ca-certificate"])
        expect(await countOf(shop.bed, "hairpin_hbone_peers_refused_total", `reason="${reason}"`)).toBe(1);
    });
    expect((await request(shop.web, "/")).status).toBe(200);
  });

  it("I7: resets CONNECTs for what is not its own", async () => {
    await using shop = await openShop(startHttpApp, { tls });
    const peer = await connectHostileClient(shop.bed.address, shop.bed.authority.material("shop/bad"));
    const authorities = [
      "10.96.99.99:80",
      "127.0.0.1:80",
      "[::1]:80",
      "localhost:80",
      "other.shop.svc.cluster.local:80",
      "2130706433:80",
      `${shop.service.vips[0]?.ip}:0`,
      `${shop.service.vips[0]?.ip}:81`,
      `${shop.service.vips[0]?.ip}`,
    ];
    for (const [i, authority] of authorities.entries())
      peer.send(
        headersFrame(
          1 + 2 * i,
          [
            [":method", "CONNECT"],
            [":authority", authority],
          ],
          Flag.END_HEADERS,
        ),
      );
    await eventually(() => expect(peer.resets.size).toBe(authorities.length));
    expect(peer.heads.size).toBe(0);
    const refused = await countOf(shop.bed, "hairpin_waypoint_tunnels_refused_total", 'reason="unmanaged"');
    const malformed = await countOf(shop.bed, "hairpin_http2_stream_faults_total");
    expect(refused + malformed).toBe(authorities.length);
    peer.destroy();
  });
});
