import { decode } from "dns-packet";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { addressesIn, queryFor } from "../testing/loopback-dns.ts";
import { encodeAddressAnswer } from "./address-answer.ts";
import { parseQuery } from "./parse-query.ts";

interface Wanted {
  readonly addresses: readonly string[];
  readonly canonicalName?: string;
  readonly protocol?: "udp" | "tcp";
}

function answer(query: Buffer, { addresses, canonicalName, protocol = "udp" }: Wanted): Buffer {
  const parsed = parseQuery(query);
  if (parsed.kind !== "address") throw new Error(`the test asks for no addresses: ${parsed.kind}`);
  return encodeAddressAnswer(query, { ...parsed, addresses, canonicalName }, protocol);
}

const ipv4 = (count: number): string[] =>
  Array.from({ length: count }, (_, i) => `10.${i >> 16}.${(i >> 8) & 255}.${i & 255}`);
const edns = (udpPayloadSize: number, more: object = {}) => ({
  additionals: [
    {
      type: "OPT",
      name: ".",
      udpPayloadSize,
      extendedRcode: 0,
      ednsVersion: 0,
      flags: 0,
      flag_do: false,
      options: [],
      ...more,
    },
  ] as never,
});
const full = "web.ns.svc.cluster.local";

describe("encodeAddressAnswer", () => {
  it("answers with authority, what was asked for, and 30 s to live", () => {
    const response = decode(answer(queryFor("Web.NS"), { addresses: ["10.96.0.1", "10.96.0.2"] }));
    const record = { name: "Web.NS", type: "A", class: "IN", ttl: 30, flush: false };
    expect(response).toMatchObject({
      id: 4711,
      type: "response",
      rcode: "NOERROR",
      flag_aa: true,
      flag_tc: false,
      flag_rd: true,
      flag_ra: true,
      questions: [{ name: "Web.NS", type: "A", class: "IN" }],
      answers: [
        { ...record, data: "10.96.0.1" },
        { ...record, data: "10.96.0.2" },
      ],
      authorities: [],
      additionals: [],
    });
  });

  it("answers with IPv6 addresses", () => {
    const response = answer(queryFor(full, "AAAA"), { addresses: ["fd00::1", "2001:db8::ffff"] });
    expect(addressesIn(response)).toEqual(["fd00::1", "2001:db8::ffff"]);
  });

  it("says that a name is known and has no such record", () => {
    const response = decode(answer(queryFor(full, "AAAA"), { addresses: [], canonicalName: "web" }));
    expect(response).toMatchObject({ rcode: "NOERROR", flag_aa: true, answers: [] });
  });

  it("names the alias, whose addresses follow", () => {
    const response = decode(
      answer(queryFor("api.example.com.ns.svc.cluster.local"), {
        addresses: ["240.0.0.1"],
        canonicalName: "api.example.com",
      }),
    );
    expect(response.answers).toMatchObject([
      { name: "api.example.com.ns.svc.cluster.local", type: "CNAME", ttl: 30, data: "api.example.com" },
      { name: "api.example.com", type: "A", ttl: 30, data: "240.0.0.1" },
    ]);
  });

  it("repeats EDNS with at least 512 bytes and the DO bit, and only to those who speak it", () => {
    const asked = { flags: 0x8000, flag_do: true };
    const told = (size: number, more = {}) =>
      decode(answer(queryFor("web", "A", edns(size, more)), { addresses: [] })).additionals;
    expect(told(1232, asked)).toMatchObject([
      { type: "OPT", name: ".", udpPayloadSize: 1232, ednsVersion: 0, flag_do: true },
    ]);
    expect(told(100)).toMatchObject([{ udpPayloadSize: 512, flag_do: false }]);
  });

  it("answers a newer EDNS with BADVERS and no addresses", () => {
    const response = decode(answer(queryFor("web", "A", edns(1232, { ednsVersion: 1 })), { addresses: ["10.0.0.1"] }));
    expect(response).toMatchObject({ answers: [], additionals: [{ type: "OPT", extendedRcode: 1, ednsVersion: 0 }] });
  });

  it.each([
    { who: "a client without EDNS", query: queryFor(full), limit: 512 },
    { who: "a client that takes less than everybody must", query: queryFor(full, "A", edns(200)), limit: 512 },
    { who: "a client that takes 1232 bytes", query: queryFor(full, "A", edns(1232)), limit: 1232 },
    { who: "a client that takes very much", query: queryFor(full, "A", edns(65_535)), limit: 4096 },
  ])("cuts what $who cannot take, and says so", ({ query, limit }) => {
    const response = answer(query, { addresses: ipv4(1000) });
    expect(response.length).toBeLessThanOrEqual(limit);
    expect(response.length).toBeGreaterThan(limit - 16);
    expect(decode(response).flag_tc).toBe(true);
    expect(addressesIn(response)).toEqual(ipv4(1000).slice(0, addressesIn(response).length));
  });

  it("does not cut what fits exactly", () => {
    const header = queryFor(full).length;
    const count = Math.floor((512 - header) / 16);
    expect(decode(answer(queryFor(full), { addresses: ipv4(count) })).flag_tc).toBe(false);
    expect(decode(answer(queryFor(full), { addresses: ipv4(count + 1) })).flag_tc).toBe(true);
  });

  it("gives by TCP all that a message can hold", () => {
    expect(addressesIn(answer(queryFor(full), { addresses: ipv4(1000), protocol: "tcp" }))).toHaveLength(1000);
    const most = answer(queryFor(full), { addresses: ipv4(9000), protocol: "tcp" });
    expect(most.length).toBeLessThanOrEqual(65_535);
    expect(decode(most).flag_tc).toBe(false);
  });

  it("is what dns-packet reads, byte for byte, for any name and addresses", () => {
    const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,8}[a-z0-9])?$/);
    const name = fc.array(label, { minLength: 1, maxLength: 6 }).map((labels) => labels.join("."));
    fc.assert(
      fc.property(
        name,
        fc.option(name, { nil: undefined }),
        fc.array(fc.ipV4(), { maxLength: 20 }),
        (asked, alias, ips) => {
          const more = alias === undefined ? {} : { canonicalName: alias };
          const bytes = answer(queryFor(asked), { addresses: ips, protocol: "tcp", ...more });
          const response = decode(bytes);
          expect(decode.bytes).toBe(bytes.length);
          const owner = alias !== undefined && ips.length > 0 ? alias : asked;
          const addresses = (response.answers ?? []).flatMap((record) =>
            record.type === "A" ? [[record.name, record.data]] : [],
          );
          expect(addresses).toEqual(ips.map((ip) => [owner, ip]));
        },
      ),
    );
  });
});
