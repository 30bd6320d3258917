import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Http1ResponseParser, type ResponseContext } from "./response-parser.ts";
import { latin1, plain, readResponses } from "./test-support.ts";
import { accepted, refused, response } from "./testdata/response-vectors.ts";

const get: ResponseContext = { method: "GET" };

describe("Http1ResponseParser", () => {
  it.each(refused)("refuses $what", ({ input, code, context }) => {
    expect(readResponses([latin1(input)], [context ?? get]).error?.code).toBe(code);
  });

  it.each(accepted)("accepts $what", ({ input, head, context, text, rest, finish }) => {
    const result = readResponses([latin1(input)], [context ?? get], { finish: finish ?? false });
    expect(result.error).toBeUndefined();
    expect(result.messages).toHaveLength(1);
    expect(result.messages[0]?.head).toMatchObject(head);
    expect(result.messages[0]).toMatchObject({ body: text ?? "", trailers: [] });
    expect(result.rest).toBe(rest ?? "");
  });

  it("gives the same events for any split of the input", () => {
    const vector = fc.constantFrom(...refused, ...accepted);
    fc.assert(
      fc.property(vector, fc.array(fc.nat(), { maxLength: 8 }), fc.boolean(), ({ input, context }, cuts, finish) => {
        const bytes = latin1(input);
        const positions = [0, ...cuts.map((cut) => cut % (bytes.length + 1)), bytes.length].toSorted((a, b) => a - b);
        const pieces = positions.slice(1).map((position, index) => bytes.subarray(positions[index], position));
        const contexts = [context ?? get];
        const whole = readResponses([bytes], contexts, { finish });
        expect(plain(readResponses(pieces, contexts, { finish }))).toEqual(plain(whole));
      }),
      { numRuns: 1500 },
    );
  });

  it("reads pipelined responses by the methods they answer", () => {
    const input = [
      response("200 OK", "Content-Length: 100"),
      `${response("200 OK", "Content-Length: 3")}abc`,
      `${response("100 Continue")}${response("200 OK", "Transfer-Encoding: chunked")}1\r\nx\r\n0\r\nGrpc-Status: 0\r\n\r\n`,
      `${response("200 OK")}rest`,
    ].join("");
    const result = readResponses([latin1(input)], [{ method: "HEAD" }, get, { method: "POST" }, get], { finish: true });
    expect(result.error).toBeUndefined();
    expect(result.messages.map((message) => message.body)).toEqual(["", "abc", "x", "rest"]);
    expect(result.messages[2]).toMatchObject({ trailers: [["Grpc-Status", "0"]], informational: [100] });
  });

  it.each([
    ["before a response", ""],
    ["in the head", "HTTP/1.1 200 OK\r\n"],
    ["after a 1xx", response("100 Continue")],
    ["in a body with a length", `${response("200 OK", "Content-Length: 3")}ab`],
    ["in chunks", `${response("200 OK", "Transfer-Encoding: chunked")}1\r\na\r\n`],
  ])("reports an end of the input %s", (_, input) => {
    expect(readResponses([latin1(input)], [get], { finish: true }).error?.code).toBe("HTTP1_TRUNCATED");
  });

  it("refuses bytes while no response is due, and takes the end of the input then", () => {
    expect(readResponses([latin1("HTTP/1.1 408 X\r\n")], []).error?.code).toBe("HTTP1_UNEXPECTED_RESPONSE");
    expect(readResponses([], [], { finish: true }).error).toBeUndefined();
  });

  it("knows whether a request could be sent again elsewhere: no byte of its response was read", () => {
    const parser = new Http1ResponseParser({
      onInformational: () => undefined,
      onHead: () => undefined,
      onBody: () => undefined,
      onEnd: () => undefined,
    });
    expect([parser.complete, parser.idle]).toEqual([true, true]);
    parser.next(get);
    expect([parser.complete, parser.idle]).toEqual([false, true]);
    parser.push(latin1(response("100 Continue")));
    expect(parser.idle).toBe(false);
    parser.push(latin1(response("204 No Content")));
    expect([parser.complete, parser.idle]).toEqual([true, false]);
    parser.next(get);
    expect(parser.idle).toBe(true);
    parser.push(latin1("H"));
    expect(parser.idle).toBe(false);
  });
});
