import { decode } from "dns-packet";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { queryFor } from "../testing/loopback-dns.ts";
import { answerWith } from "../testing/fake-name-server.ts";
import { createErrorResponse, isResponseTo, readQuestion, responseCodes, withId } from "./message.ts";

/** A message with these bytes after the header. */
const message = (hex: string): Buffer => Buffer.from(`000100000001000000000000${hex}`, "hex");

describe("readQuestion", () => {
  it.each([
    { why: "a name", hex: "03575757026e730000010001", name: "www.ns", type: 1, end: 24 },
    { why: "the root", hex: "0000020001", name: "", type: 2, end: 17 },
    { why: "a service label", hex: "045f64 6e7300001c0001".replace(" ", ""), name: "_dns", type: 28, end: 22 },
    { why: "a dot inside a label", hex: "03612e620000010001", name: undefined, type: 1, end: 21 },
    {
      why: "a byte that is no letter",
      hex: "0161 02c3a40000010001".replace(" ", ""),
      name: undefined,
      type: 1,
      end: 22,
    },
  ])("reads $why", ({ hex, name, type, end }) => {
    expect(readQuestion(message(hex))).toEqual({ name, type, class: 1, end });
  });

  it.each([
    ["nothing", ""],
    ["half a label", "0377"],
    ["no end of the name", "0377777700".slice(0, 8)],
    ["no type", "0377777700"],
    ["half a class", "0377777700000100"],
    ["a pointer", "c00c00010001"],
    ["a pointer behind a label", "0161c00c00010001"],
    ["a label of a reserved kind", "4061000001 0001".replace(" ", "")],
    ["a name of more than 255 bytes", `${`3f${"61".repeat(63)}`.repeat(4)}0000010001`],
  ])("does not read %s", (_, hex) => {
    expect(readQuestion(message(hex))).toBeUndefined();
  });

  it("does not read what the header does not announce", () => {
    expect(readQuestion(Buffer.from("000100000000000000000000000001000100", "hex"))).toBeUndefined();
    expect(readQuestion(Buffer.alloc(11))).toBeUndefined();
  });
});

describe("isResponseTo", () => {
  const query = queryFor("Web.Example.com", "A");
  const answer = answerWith(query, ["192.0.2.1"]);
  const changed = (change: (copy: Buffer) => void): Buffer => {
    const copy = Buffer.from(answer);
    change(copy);
    return copy;
  };

  it.each([
    ["the answer", answer],
    ["an answer that spells the name in other case", changed((copy) => copy.write("wEB", 13))],
    ["an error that repeats the question", createErrorResponse(query, responseCodes.nameError)],
    ["an error without question", Buffer.from([...query.subarray(0, 2), 0x80, 1, 0, 0, 0, 0, 0, 0, 0, 0])],
  ])("takes %s", (_, response) => {
    expect(isResponseTo(query, response)).toBe(true);
  });

  it.each([
    ["another id", withId(answer, 1)],
    ["a query", query],
    ["another name", changed((copy) => copy.write("Wab", 13))],
    ["another type", changed((copy) => copy.writeUInt8(28, query.length - 3))],
    ["another class", changed((copy) => copy.writeUInt8(3, query.length - 1))],
    ["another opcode", changed((copy) => copy.writeUInt16BE(0xa800, 2))],
    ["success without question", Buffer.from([...query.subarray(0, 2), 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0])],
    ["a cut question", answer.subarray(0, 20)],
    ["a cut header", answer.subarray(0, 11)],
    ["nothing", Buffer.alloc(0)],
  ])("refuses %s", (_, response) => {
    expect(isResponseTo(query, response)).toBe(false);
  });

  it("compares an update by id and kind alone: its sections mean something else", () => {
    const update = Buffer.from("000528000001000000010000", "hex");
    expect(isResponseTo(update, Buffer.from("0005a8000000000000000000", "hex"))).toBe(true);
    expect(isResponseTo(update, Buffer.from("000580000000000000000000", "hex"))).toBe(false);
  });
});

describe("createErrorResponse", () => {
  it("repeats id, question and what was asked for, and nothing else", () => {
    const query = queryFor("x.example.com", "MX", {
      flags: 0x0110,
      additionals: [{ type: "TXT", name: "x", data: "y" }],
    });
    const response = decode(createErrorResponse(query, responseCodes.serverFailure));
    expect(response).toMatchObject({
      id: 4711,
      type: "response",
      rcode: "SERVFAIL",
      flag_rd: true,
      flag_cd: true,
      flag_ra: true,
      flag_aa: false,
      questions: [{ name: "x.example.com", type: "MX", class: "IN" }],
      answers: [],
      additionals: [],
    });
  });

  it("is a message whatever the query was", () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 12, maxLength: 300 }), (bytes) => {
        const response = decode(createErrorResponse(Buffer.from(bytes), responseCodes.formatError));
        expect(response).toMatchObject({
          id: (bytes[0] ?? 0) * 256 + (bytes[1] ?? 0),
          type: "response",
          rcode: "FORMERR",
        });
        expect(decode.bytes).toBe(createErrorResponse(Buffer.from(bytes), responseCodes.formatError).length);
      }),
    );
  });
});
