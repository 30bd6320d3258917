import { createSocket } from "node:dgram";
import { once } from "node:events";
import type { SocketAddress } from "@hairpin/shared/model";
import { type Clock, systemClock } from "@hairpin/shared/process";
import { eventually, ManualClock } from "@hairpin/testkit";
import { decode, type Packet } from "dns-packet";
import { describe, expect, it } from "vitest";
import { answerWith, startNameServer } from "../testing/fake-name-server.ts";
import { addressesIn, loopbackSockets, queryFor } from "../testing/loopback-dns.ts";
import { Forwarder } from "./forwarder.ts";
import { createErrorResponse, type ResponseCode, responseCodes, withId } from "./message.ts";

function forwarder(nameServers: readonly SocketAddress[], clock: Clock = systemClock) {
  const closing = new AbortController();
  const components = { network: loopbackSockets, clock, signal: closing.signal };
  const made = new Forwarder(components, { nameServers, attemptTimeoutMs: 2000, timeoutMs: 5000 });
  return { closing, forward: made.forward.bind(made) };
}

const answers = (ip: string) => startNameServer(({ bytes }) => [answerWith(bytes, [ip])]);
const fails = (code: ResponseCode) => startNameServer(({ bytes }) => [createErrorResponse(bytes, code)]);
const silent = () => startNameServer(() => []);
const truncated: Packet = { flags: 0x0200 };

/** An address where nobody is. */
async function nobody(): Promise<SocketAddress> {
  await using gone = await silent();
  return gone.address;
}

describe("Forwarder", () => {
  it("passes query and answer on as they are, but for the id in between", async () => {
    await using server = await startNameServer(({ bytes }) => [answerWith(bytes, ["192.0.2.1"], { flags: 0x01a0 })]);
    const { forward } = forwarder([server.address]);
    const cookie = { type: "OPT", name: ".", udpPayloadSize: 1400, options: [{ code: 10, data: Buffer.alloc(8, 5) }] };
    const query = queryFor("wWw.Example.COM", "A", { additionals: [cookie as never] });
    const response = await forward(query, "udp");
    expect(server.seen.map(({ bytes, protocol }) => ({ rest: bytes.subarray(2), protocol }))).toEqual([
      { rest: query.subarray(2), protocol: "udp" },
    ]);
    expect(response).toEqual(answerWith(query, ["192.0.2.1"], { flags: 0x01a0 }));
  });

  it("uses another port and another id each time", async () => {
    await using server = await answers("192.0.2.1");
    const { forward } = forwarder([server.address]);
    for (let i = 0; i < 8; i++) await forward(queryFor("a.example"), "udp");
    expect(new Set(server.seen.map((query) => query.port)).size).toBeGreaterThan(4);
    expect(new Set(server.seen.map(({ bytes }) => bytes.readUInt16BE(0))).size).toBeGreaterThan(4);
  });

  it("passes over answers with another id, to another question, and garbage", async () => {
    await using server = await startNameServer(({ bytes }) => [
      withId(answerWith(bytes, ["192.0.2.66"]), bytes.readUInt16BE(0) ^ 1),
      answerWith(withId(queryFor("b.example"), bytes.readUInt16BE(0)), ["192.0.2.66"]),
      Buffer.from("garbage"),
      bytes,
      answerWith(bytes, ["192.0.2.1"]),
    ]);
    const { forward } = forwarder([server.address]);
    expect(addressesIn(await forward(queryFor("a.example"), "udp"))).toEqual(["192.0.2.1"]);
  });

  it("hears nobody but the server", async () => {
    const forger = createSocket("udp4");
    const sent: Promise<unknown>[] = [];
    await using server = await startNameServer(({ bytes, port }) => {
      const { promise, resolve } = Promise.withResolvers<void>();
      sent.push(promise);
      forger.send(answerWith(bytes, ["192.0.2.66"]), port, "127.0.0.1", () => resolve());
      return [];
    });
    const { forward, closing } = forwarder([server.address]);
    const result = forward(queryFor("a.example"), "udp").then(addressesIn, () => "nothing");
    await eventually(() => expect(sent).toHaveLength(1));
    await Promise.all(sent);
    // A query through the same event loop: what the forger sent would have been heard before its answer.
    await using honest = await answers("192.0.2.1");
    await forwarder([honest.address]).forward(queryFor("b.example"), "udp");
    closing.abort(new Error("over"));
    expect(await result).toBe("nothing");
    forger.close();
    await once(forger, "close");
  });

  it("asks the next server when one is not there, and from then on the one that answered", async () => {
    await using server = await answers("192.0.2.1");
    const { forward } = forwarder([await nobody(), server.address]);
    expect(addressesIn(await forward(queryFor("a.example"), "udp"))).toEqual(["192.0.2.1"]);
    expect(addressesIn(await forward(queryFor("a.example"), "tcp"))).toEqual(["192.0.2.1"]);
    expect(server.seen).toHaveLength(2);
  });

  it("asks the next server when one is silent, and every server twice", async () => {
    const clock = new ManualClock();
    await using first = await silent();
    await using second = await silent();
    const { forward } = forwarder([first.address, second.address], clock);
    const result = forward(queryFor("a.example"), "udp");
    const failed = expect(result).rejects.toMatchObject({ code: "DNS_UPSTREAM_TIMEOUT" });
    for (const [waitMs, seen] of [
      [2000, [1, 0]],
      [2000, [1, 1]],
      [1000, [2, 1]],
    ] as const) {
      await eventually(() => expect([first.seen.length, second.seen.length]).toEqual(seen));
      await clock.advance(waitMs);
    }
    await failed;
    expect(clock.now()).toBe(5000);
    expect(clock.pendingTimers).toBe(0);
  });

  it("asks the next server when one has trouble", async () => {
    await using broken = await fails(responseCodes.serverFailure);
    await using refusing = await fails(responseCodes.refused);
    await using server = await answers("192.0.2.1");
    const { forward } = forwarder([broken.address, refusing.address, server.address]);
    expect(addressesIn(await forward(queryFor("a.example"), "udp"))).toEqual(["192.0.2.1"]);
  });

  it("passes trouble on when all have it, and asks nobody again", async () => {
    await using first = await fails(responseCodes.serverFailure);
    await using second = await fails(responseCodes.refused);
    const { forward } = forwarder([first.address, second.address]);
    expect(decode(await forward(queryFor("a.example"), "udp"))).toMatchObject({ id: 4711, rcode: "REFUSED" });
    expect([first.seen.length, second.seen.length]).toEqual([1, 1]);
  });

  it("takes a name that does not exist for an answer", async () => {
    await using server = await fails(responseCodes.nameError);
    await using other = await answers("192.0.2.1");
    const { forward } = forwarder([server.address, other.address]);
    expect(decode(await forward(queryFor("a.example"), "udp"))).toMatchObject({ rcode: "NXDOMAIN" });
    expect(other.seen).toEqual([]);
  });

  it("gives a truncated answer to who came by UDP, and the whole one to who came by TCP", async () => {
    await using server = await startNameServer(({ bytes, protocol }) => [
      protocol === "udp" ? answerWith(bytes, [], truncated) : answerWith(bytes, ["192.0.2.1", "192.0.2.2"]),
    ]);
    const { forward } = forwarder([server.address]);
    expect(decode(await forward(queryFor("a.example"), "udp"))).toMatchObject({ flag_tc: true, id: 4711 });
    const whole = await forward(queryFor("a.example"), "tcp");
    expect(decode(whole)).toMatchObject({ flag_tc: false, id: 4711 });
    expect(addressesIn(whole)).toEqual(["192.0.2.1", "192.0.2.2"]);
    expect(server.seen.map(({ protocol }) => protocol)).toEqual(["udp", "udp", "tcp"]);
  });

  it("sends an update that came by TCP by TCP alone", async () => {
    const update = Buffer.from("000528000001000000000000076578616d706c650000060001", "hex");
    await using server = await startNameServer(({ bytes }) => [
      Buffer.concat([bytes.subarray(0, 2), Buffer.from("a8000000000000000000", "hex")]),
    ]);
    const { forward } = forwarder([server.address]);
    expect((await forward(update, "tcp")).toString("hex")).toBe("0005a8000000000000000000");
    await forward(update, "udp");
    expect(server.seen.map(({ protocol }) => protocol)).toEqual(["tcp", "udp"]);
    expect(server.seen[0]?.bytes.subarray(2)).toEqual(update.subarray(2));
  });

  it.each([
    ["ends without an answer", () => [], "closed the connection without an answer"],
    ["answers something else", () => [Buffer.from("garbage")], "answered something else than was asked"],
  ] as const)("fails when a server %s by TCP", async (_, behave, message) => {
    await using server = await startNameServer(({ bytes, protocol }) =>
      protocol === "udp" ? [answerWith(bytes, [], truncated)] : behave(),
    );
    const { forward } = forwarder([server.address]);
    await expect(forward(queryFor("a.example"), "tcp")).rejects.toMatchObject({
      code: "DNS_UPSTREAM_FAILED",
      message: expect.stringContaining(message),
    });
  });

  it("says what the kernel said when no server is there", async () => {
    const { forward } = forwarder([await nobody()]);
    await expect(forward(queryFor("a.example"), "udp")).rejects.toMatchObject({
      code: "DNS_UPSTREAM_FAILED",
      message: expect.stringContaining("ECONNREFUSED"),
    });
  });

  it("has nobody to ask without name servers", async () => {
    await expect(forwarder([]).forward(queryFor("a.example"), "udp")).rejects.toMatchObject({
      code: "DNS_NO_NAME_SERVER",
    });
  });

  it("ends what is under way when it is closed, and begins nothing after", async () => {
    await using server = await silent();
    const { forward, closing } = forwarder([server.address]);
    const results = Promise.allSettled(Array.from({ length: 20 }, () => forward(queryFor("a.example"), "udp")));
    await eventually(() => expect(server.seen).toHaveLength(20));
    closing.abort(new Error("The DNS server was closed"));
    for (const result of await results)
      expect(result).toMatchObject({ reason: { message: "The DNS server was closed" } });
    await expect(forward(queryFor("a.example"), "udp")).rejects.toThrow("The DNS server was closed");
    expect(server.seen).toHaveLength(20);
  });
});
