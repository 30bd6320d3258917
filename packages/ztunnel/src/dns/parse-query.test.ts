import { decode, type Packet } from "dns-packet";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { queryFor } from "../testing/loopback-dns.ts";
import { parseQuery } from "./parse-query.ts";

const opt = (more: object = {}): Packet => {
  const record = { type: "OPT", name: ".", udpPayloadSize: 1232, extendedRcode: 0, ednsVersion: 0, flags: 0x8000 };
  return { additionals: [{ ...record, flag_do: true, options: [], ...more } as never] };
};

const withOpcode = (query: Buffer, opcode: number): Buffer => {
  query.writeUInt16BE(opcode << 11, 2);
  return query;
};
const withCount = (query: Buffer, section: 0 | 1 | 2 | 3, count: number): Buffer => {
  query.writeUInt16BE(count, 4 + 2 * section);
  return query;
};

describe("parseQuery", () => {
  it("finds a question for addresses, in lower case", () => {
    expect(parseQuery(queryFor("Web.NS", "A"))).toMatchObject({
      kind: "address",
      name: "web.ns",
      family: 4,
      edns: undefined,
    });
    expect(parseQuery(queryFor("web.ns", "AAAA"))).toMatchObject({ kind: "address", name: "web.ns", family: 6 });
  });

  it("finds what the client says about itself", () => {
    const edns = { payloadBytes: 1232, version: 0, dnssecOk: true };
    expect(parseQuery(queryFor("web", "A", opt()))).toMatchObject({ kind: "address", edns });
    const cookie = opt({ ednsVersion: 7, options: [{ code: 10, data: Buffer.alloc(8) }] });
    expect(parseQuery(queryFor("web", "A", cookie))).toMatchObject({ edns: { ...edns, version: 7 } });
  });

  it.each([
    ["another type", queryFor("web", "SRV")],
    ["another class", Buffer.concat([queryFor("web", "A").subarray(0, -2), Buffer.from([0, 3])])],
    ["the root", queryFor(".", "A")],
    ["a name that is no host name", queryFor("wéb", "A")],
    ["a question for everything", queryFor("web", "ANY" as never)],
    ["an update", withOpcode(queryFor("web", "SOA"), 5)],
    ["a notification", withOpcode(queryFor("web", "SOA"), 4)],
    ["an unknown opcode", withOpcode(queryFor("web", "A"), 9)],
    ["no question", Buffer.from("000100000000000000000000", "hex")],
    ["an update that is cut", Buffer.from("00012800000100000000000003", "hex")],
  ])("leaves %s to the name servers", (_, query) => {
    expect(parseQuery(query)).toMatchObject({ kind: "foreign" });
  });

  it.each([
    ["a response", Buffer.from("000180000000000000000000", "hex")],
    ["something short", Buffer.alloc(11)],
    ["nothing", Buffer.alloc(0)],
  ])("ignores %s", (_, query) => {
    expect(parseQuery(query)).toEqual({ kind: "ignore" });
  });

  it.each([
    [
      "two questions",
      queryFor("a", "A", {
        questions: [
          { name: "a", type: "A" },
          { name: "b", type: "A" },
        ],
      }),
      1,
    ],
    ["a question that is cut", queryFor("web", "A").subarray(0, -1), 1],
    ["something behind the end", Buffer.concat([queryFor("web", "A"), Buffer.from([0])]), 1],
    ["answers in a query", queryFor("web", "A", { answers: [{ name: "web", type: "A", data: "192.0.2.1" }] }), 1],
    ["more records than bytes", withCount(queryFor("web", "A"), 3, 65_535), 1],
    ["one record too few", withCount(queryFor("web", "A"), 3, 1), 1],
    [
      "OPT twice",
      queryFor("web", "A", { additionals: [...(opt().additionals ?? []), ...(opt().additionals ?? [])] }),
      1,
    ],
    ["a very long query", queryFor("web", "A", opt({ options: [{ code: 12, length: 5000 }] })), 1],
    ["a stateful operation", withOpcode(Buffer.from("000100000000000000000000", "hex"), 6), 4],
  ])("refuses %s", (_, query, code) => {
    expect(parseQuery(query)).toEqual({ kind: "error", code });
  });

  it("throws for no bytes, and takes none for a question that is not there", () => {
    const mutated = fc
      .tuple(
        fc.constantFrom(
          queryFor("web.ns.svc.cluster.local", "A", opt()),
          queryFor("web", "AAAA"),
          queryFor("x.y", "TXT"),
        ),
        fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 6 }),
        fc.nat(80),
      )
      .map(([query, changes, cut]) => {
        const copy = Buffer.from(query);
        for (const [at, byte] of changes) if (at < copy.length) copy[at] = byte;
        return cut < copy.length && cut % 3 === 0 ? copy.subarray(0, cut) : copy;
      });
    const anything = fc.uint8Array({ maxLength: 600 }).map((bytes) => Buffer.from(bytes));
    fc.assert(
      fc.property(fc.oneof(mutated, anything), (bytes) => {
        const query = parseQuery(bytes);
        if (query.kind !== "address") return;
        const { questions = [], type, id } = decode(bytes);
        expect(type).toBe("query");
        expect(id).toBe(bytes.readUInt16BE(0));
        expect(questions.map((question) => question.name.toLowerCase())).toEqual([query.name]);
        expect(questions[0]?.type).toBe(query.family === 4 ? "A" : "AAAA");
      }),
      { numRuns: 3000 },
    );
  });
});
