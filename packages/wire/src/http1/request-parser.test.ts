import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { endToEndHeaders } from "./framing.ts";
import type { Http1Limits } from "./message.ts";
import { Http1RequestParser } from "./request-parser.ts";
import { latin1, plain, readRequests } from "./test-support.ts";
import { accepted, chunked, refused, withLines, withTarget } from "./testdata/request-vectors.ts";

const refusedRequests = refused.map(([what, input, code, status]) => ({ what, input, code, status: status ?? 400 }));
const acceptedRequests = accepted.map(([what, input, expected]) => ({ what, input, expected }));

describe("Http1RequestParser", () => {
  it.each(refusedRequests)("refuses $what", ({ input, code, status }) => {
    const result = readRequests([latin1(input)], { finish: true });
    expect(result.error).toEqual({ code, status });
    expect(result.messages.every((message) => message.trailers === undefined)).toBe(true);
  });

  it.each(acceptedRequests)("accepts $what", ({ input, expected }) => {
    const { text, ...head } = expected;
    const result = readRequests([latin1(input)]);
    expect(result.error).toBeUndefined();
    expect(result.messages).toHaveLength(1);
    expect(result.messages[0]?.head).toMatchObject(head);
    if (text !== undefined) expect(result.messages[0]).toMatchObject({ body: text, trailers: [] });
  });

  it.each([...refusedRequests, ...acceptedRequests])("reads $what alike byte by byte", ({ input }) => {
    const whole = readRequests([latin1(input)]);
    const bytes = readRequests([...latin1(input)].map((byte) => Buffer.of(byte)));
    expect(plain(bytes)).toEqual(plain(whole));
  });

  it("keeps names, order, case and repeated fields, and strange names are names", () => {
    const lines = ["X-B: 1", "x-a: 2", "X-b: 3", "__proto__: 4", "constructor: 5", "Set-Cookie: a", "Set-Cookie: b"];
    const [message] = readRequests([latin1(withLines(...lines))]).messages;
    const headers = message!.head.headers;
    expect([...headers].map((pair) => pair.join(": "))).toEqual(["Host: a", ...lines]);
    expect(headers.getAll("x-b")).toEqual(["1", "3"]);
    expect(headers.getJoined("x-b")).toBe("1, 3");
    expect(headers.get("__proto__")).toBe("4");
    expect(headers.get("tostring")).toBeUndefined();
    expect(headers.get("X-B")).toBeUndefined();
  });

  it("reads pipelined requests one after another", () => {
    const input = `${withTarget("/1")}${withLines("Content-Length: 3")}abc${chunked("2\r\nde\r\n0\r\nT: 1\r\n\r\n")}${withTarget("/4")}`;
    const result = readRequests([latin1(input)], { finish: true });
    expect(result.error).toBeUndefined();
    expect(result.messages.map((message) => [message.head.path, message.body])).toEqual([
      ["/1", ""],
      ["/", "abc"],
      ["/", "de"],
      ["/4", ""],
    ]);
    expect(result.messages[2]?.trailers).toEqual([["T", "1"]]);
  });

  it("stops at the end of a message until next is called", () => {
    const heads: string[] = [];
    const parser = new Http1RequestParser({
      onHead: (head) => heads.push(head.path),
      onBody: () => undefined,
      onEnd: () => undefined,
    });
    expect(parser.idle).toBe(true);
    const input = latin1(withTarget("/1") + withTarget("/2"));
    const consumed = parser.push(input);
    expect([consumed, heads, parser.complete]).toEqual([withTarget("/1").length, ["/1"], true]);
    expect(parser.push(input.subarray(consumed))).toBe(0);
    parser.next();
    expect(parser.idle).toBe(true);
    expect(parser.push(input.subarray(consumed, consumed + 3))).toBe(3);
    expect(parser.idle).toBe(false);
    expect(parser.push(input.subarray(consumed + 3))).toBe(input.length - consumed - 3);
    expect(heads).toEqual(["/1", "/2"]);
    expect(() => parser.finish()).not.toThrow();
  });

  it("leaves what follows CONNECT and Upgrade to the caller", () => {
    const connect = "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n";
    expect(readRequests([latin1(`${connect}\x16\x03raw`)])).toMatchObject({ rest: "\x16\x03raw" });
    const upgrade = withLines("Connection: upgrade", "Upgrade: websocket", "Content-Length: 2");
    expect(readRequests([latin1(`${upgrade}ab\x81\x00`)])).toMatchObject({
      rest: "\x81\x00",
      messages: [{ body: "ab" }],
    });
  });

  it.each([
    ["in the request line", "GET"],
    ["in the head", "GET / HTTP/1.1\r\nHost: a\r\n"],
    ["between CR and LF", "GET / HTTP/1.1\r\nHost: a\r\n\r"],
    ["in a body", `${withLines("Content-Length: 3")}ab`],
    ["in a chunk size", chunked("3")],
    ["in a chunk", chunked("3\r\nab")],
    ["before the last chunk", chunked("3\r\nabc\r\n")],
    ["before the end of the trailers", chunked("0\r\n")],
  ])("reports an end of the input %s", (_, input) => {
    expect(readRequests([latin1(input)], { finish: true }).error).toEqual({ code: "HTTP1_TRUNCATED", status: 400 });
    expect(readRequests([latin1(input)]).error).toBeUndefined();
  });

  it("repeats its error and reads nothing more", () => {
    const parser = new Http1RequestParser({ onHead: () => undefined, onBody: () => undefined, onEnd: () => undefined });
    const refusal = expect.objectContaining({ code: "HTTP1_BAD_LINE_END" });
    expect(() => parser.push(latin1("GET / HTTP/1.1\n"))).toThrow(refusal);
    expect(() => parser.push(latin1(withTarget("/")))).toThrow(refusal);
    expect(() => parser.finish()).toThrow(refusal);
  });

  it("holds its limits to the byte", () => {
    const input = withLines("X: abc");
    const headBytes = input.length;
    const limits = (limit: Partial<Http1Limits>) => readRequests([latin1(input)], { limits: limit }).error?.code;
    expect(limits({ maxHeadBytes: headBytes, maxHeaderCount: 2 })).toBeUndefined();
    expect(limits({ maxHeadBytes: headBytes - 1 })).toBe("HTTP1_HEAD_TOO_LARGE");
    expect(limits({ maxHeaderCount: 1 })).toBe("HTTP1_TOO_MANY_HEADERS");
  });

  it("delivers a body as it comes, without holding it", () => {
    let delivered = 0;
    const parser = new Http1RequestParser({
      onHead: () => undefined,
      onBody: (chunk) => void (delivered += chunk.length),
      onEnd: () => undefined,
    });
    parser.push(latin1(withLines("Content-Length: 1000000")));
    for (let count = 1; count <= 10; count++) {
      parser.push(Buffer.alloc(100_000));
      expect(delivered).toBe(count * 100_000);
    }
    expect(parser.complete).toBe(true);
  });

  it("gives the same events for any split of the input", () => {
    const inputs = [...refusedRequests, ...acceptedRequests]
      .map(({ input }) => input)
      .filter((input) => input.length < 2000);
    const input = fc
      .array(fc.constantFrom(...inputs), { minLength: 1, maxLength: 3 })
      .map((parts) => latin1(parts.join("")));
    fc.assert(
      fc.property(input, fc.array(fc.nat(), { maxLength: 12 }), (bytes, cuts) => {
        expect(plain(readRequests(split(bytes, cuts)))).toEqual(plain(readRequests([bytes])));
      }),
      { numRuns: 1500 },
    );
  });

  it("gives the same events for any split of mutated input, and throws only its own errors", () => {
    const source = latin1(
      acceptedRequests
        .map(({ input }) => input)
        .filter((input) => input.length < 300)
        .join(""),
    );
    const mutation = fc.record({
      at: fc.nat(source.length - 1),
      byte: fc.oneof(fc.nat(255), fc.constantFrom(0, 9, 10, 13, 32, 58, 59)),
    });
    fc.assert(
      fc.property(
        fc.nat(source.length - 1),
        fc.array(mutation, { maxLength: 5 }),
        fc.array(fc.nat(), { maxLength: 12 }),
        (start, mutations, cuts) => {
          const bytes = Buffer.from(source);
          for (const { at, byte } of mutations) bytes[at] = byte;
          const input = bytes.subarray(start, start + 600);
          expect(plain(readRequests(split(input, cuts)))).toEqual(plain(readRequests([input])));
        },
      ),
      { numRuns: 1500 },
    );
  });
});

describe("endToEndHeaders", () => {
  it("drops the fields of this connection, the framing, and what Connection names", () => {
    const lines = [
      "Connection: close, X-Drop",
      "X-Drop: 1",
      "Keep-Alive: 1",
      "TE: trailers",
      "Upgrade: h2c",
      "HTTP2-Settings: x",
      "Content-Length: 0",
      "Proxy-Connection: a",
      "X-Keep: 1",
    ];
    const [message] = readRequests([latin1(withLines(...lines))]).messages;
    expect([...endToEndHeaders(message!.head)]).toEqual([
      ["Host", "a"],
      ["X-Keep", "1"],
    ]);
    expect(message!.head.headers.size).toBe(lines.length + 1);
  });
});

function split(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const positions = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].toSorted((a, b) => a - b);
  return positions.slice(1).map((position, index) => bytes.subarray(positions[index], position));
}
