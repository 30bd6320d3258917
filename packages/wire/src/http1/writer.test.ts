import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Http1ErrorCode } from "./errors.ts";
import { Http1Headers } from "./headers.ts";
import type { BodyFraming } from "./message.ts";
import { readRequests, readResponses } from "./test-support.ts";
import { Http1Writer, type RequestHeadToWrite, type ResponseHeadToWrite } from "./writer.ts";

class Sink {
  readonly writes: Buffer[] = [];
  accepts = true;

  write(chunk: Uint8Array): boolean {
    this.writes.push(Buffer.from(chunk));
    return this.accepts;
  }

  get text(): string {
    return Buffer.concat(this.writes).toString("latin1");
  }
}

const none: BodyFraming = { kind: "none" };
const chunked: BodyFraming = { kind: "chunked" };
const length = (bytes: number): BodyFraming => ({ kind: "length", length: bytes });
const headers = (...pairs: [string, string][]): Http1Headers => Http1Headers.from(pairs);

function request(head: Partial<RequestHeadToWrite>, write: (writer: Http1Writer) => void = () => undefined): Sink {
  const sink = new Sink();
  const writer = new Http1Writer(sink);
  writer.requestHead({ method: "GET", target: "/", headers: headers(["Host", "a"]), body: none, ...head });
  write(writer);
  writer.end();
  return sink;
}

function response(head: Partial<ResponseHeadToWrite>, write: (writer: Http1Writer) => void = () => undefined): Sink {
  const sink = new Sink();
  const writer = new Http1Writer(sink);
  writer.responseHead({ status: 200, headers: headers(), body: none, requestMethod: "GET", ...head });
  write(writer);
  writer.end();
  return sink;
}

describe("Http1Writer", () => {
  it.each([
    ["GET without body", request({}), "GET / HTTP/1.1\r\nHost: a\r\n\r\n"],
    ["POST without body", request({ method: "POST" }), "POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 0\r\n\r\n"],
    [
      "a length",
      request({ method: "POST", body: length(3) }, (writer) => writer.body(Buffer.from("abc"))),
      "POST / HTTP/1.1\r\nHost: a\r\ncontent-length: 3\r\n\r\nabc",
    ],
    [
      "chunks",
      request({ body: chunked }, (writer) => writer.body(Buffer.from("abc"))),
      "GET / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    ],
    ["CONNECT", request({ method: "CONNECT", target: "a:1" }), "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n"],
    ["200 without body", response({}), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"],
    ["a reason of one's own", response({ reason: "Fine" }), "HTTP/1.1 200 Fine\r\ncontent-length: 0\r\n\r\n"],
    ["a status without phrase", response({ status: 299 }), "HTTP/1.1 299 \r\ncontent-length: 0\r\n\r\n"],
    ["204", response({ status: 204 }), "HTTP/1.1 204 No Content\r\n\r\n"],
    [
      "304 with the length of a GET",
      response({ status: 304, body: length(9) }),
      "HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n",
    ],
    [
      "HEAD with the length of a GET",
      response({ requestMethod: "HEAD", body: length(9) }),
      "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
    ],
    [
      "HEAD of unknown length",
      response({ requestMethod: "HEAD", body: chunked }),
      "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
    ],
    ["2xx to CONNECT", response({ requestMethod: "CONNECT" }), "HTTP/1.1 200 OK\r\n\r\n"],
    [
      "101",
      response({ status: 101, headers: headers(["Connection", "upgrade"]) }),
      "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n\r\n",
    ],
    [
      "a body up to the close",
      response({ body: { kind: "until-close" } }, (writer) => writer.body(Buffer.from("abc"))),
      "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc",
    ],
    [
      "close said already",
      response({ body: { kind: "until-close" }, headers: headers(["Connection", "x, Close"]) }),
      "HTTP/1.1 200 OK\r\nConnection: x, Close\r\n\r\n",
    ],
    [
      "chunks for HTTP/1.0",
      response({ body: chunked, requestVersion: "1.0" }, (writer) => writer.body(Buffer.from("abc"))),
      "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc",
    ],
    [
      "8-bit values",
      response({ headers: headers(["X", "\xe4"]) }),
      "HTTP/1.1 200 OK\r\nX: \xe4\r\ncontent-length: 0\r\n\r\n",
    ],
  ])("writes %s", (_, sink, expected) => {
    expect(sink.text).toBe(expected);
  });

  it("writes 1xx before the response, and trailers after chunks", () => {
    const sink = response({ body: chunked }, (writer) => writer.body(Buffer.alloc(0)));
    expect(sink.text).toBe("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    const other = new Sink();
    const writer = new Http1Writer(other);
    writer.informational(100);
    writer.informational(103, headers(["Link", "a"]));
    writer.responseHead({ status: 200, headers: headers(), body: chunked, requestMethod: "GET" });
    writer.body(Buffer.from("x"));
    writer.end(headers(["grpc-status", "0"]));
    expect(other.text).toBe(
      "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" +
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nx\r\n0\r\ngrpc-status: 0\r\n\r\n",
    );
  });

  it("sends a held head with the first body bytes, a chunk in one write, and tells when to wait", () => {
    const sink = new Sink();
    const writer = new Http1Writer(sink);
    sink.accepts = false;
    writer.responseHead({ status: 200, headers: headers(), body: chunked, requestMethod: "GET", hold: true });
    expect(sink.writes).toHaveLength(0);
    expect(writer.body(Buffer.from("abc"))).toBe(false);
    expect(sink.writes).toHaveLength(1);
    sink.accepts = true;
    expect(writer.body(Buffer.from("de"))).toBe(true);
    expect(sink.writes.at(-1)?.toString()).toBe("2\r\nde\r\n");
    writer.end();
    writer.responseHead({ status: 200, headers: headers(), body: length(300_000), requestMethod: "GET", hold: true });
    writer.body(Buffer.alloc(300_000));
    writer.end();
    writer.responseHead({ status: 204, headers: headers(), body: none, requestMethod: "GET", hold: true });
    writer.end();
    expect(sink.text.endsWith("HTTP/1.1 204 No Content\r\n\r\n")).toBe(true);
  });

  it.each<[string, () => unknown, Http1ErrorCode]>([
    [
      "a value that splits the response",
      () => response({ headers: headers(["X", "a\r\nSet-Cookie: b"]) }),
      "HTTP1_BAD_HEADER_VALUE",
    ],
    ["a value with LF", () => response({ headers: headers(["X", "a\nb"]) }), "HTTP1_BAD_HEADER_VALUE"],
    ["a value with NUL", () => response({ headers: headers(["X", "\0"]) }), "HTTP1_BAD_HEADER_VALUE"],
    ["a value beyond Latin-1", () => response({ headers: headers(["X", "\u010d\u010a"]) }), "HTTP1_BAD_HEADER_VALUE"],
    ["a name with a colon", () => response({ headers: headers(["X:", "a"]) }), "HTTP1_BAD_HEADER_NAME"],
    ["a pseudo-header", () => request({ headers: headers([":path", "/"]) }), "HTTP1_BAD_HEADER_NAME"],
    ["an empty name", () => response({ headers: headers(["", "a"]) }), "HTTP1_BAD_HEADER_NAME"],
    ["a length of the caller's", () => request({ headers: headers(["Content-Length", "1"]) }), "HTTP1_WRITER_STATE"],
    [
      "a coding of the caller's",
      () => response({ headers: headers(["transfer-encoding", "chunked"]) }),
      "HTTP1_WRITER_STATE",
    ],
    ["a reason with CR", () => response({ reason: "a\rb" }), "HTTP1_BAD_STATUS_LINE"],
    ["status 99", () => response({ status: 99 }), "HTTP1_BAD_STATUS_LINE"],
    ["status 100 as final", () => response({ status: 100 }), "HTTP1_BAD_STATUS_LINE"],
    ["status 600", () => response({ status: 600 }), "HTTP1_BAD_STATUS_LINE"],
    ["status 200.5", () => response({ status: 200.5 }), "HTTP1_BAD_STATUS_LINE"],
    ["204 with a body", () => response({ status: 204, body: length(1) }), "HTTP1_BODY_NOT_ALLOWED"],
    ["a method with a space", () => request({ method: "GET /" }), "HTTP1_BAD_METHOD"],
    ["a target with a space", () => request({ target: "/ HTTP/1.1" }), "HTTP1_BAD_TARGET"],
    ["a target with a fragment", () => request({ target: "/#a" }), "HTTP1_BAD_TARGET"],
    ["an empty target", () => request({ target: "" }), "HTTP1_BAD_TARGET"],
    ["a request up to the close", () => request({ body: { kind: "until-close" } }), "HTTP1_WRITER_STATE"],
    [
      "CONNECT with a body",
      () => request({ method: "CONNECT", target: "a:1", body: length(1) }),
      "HTTP1_BODY_NOT_ALLOWED",
    ],
    ["a negative length", () => request({ body: length(-1) }), "HTTP1_BAD_CONTENT_LENGTH"],
    [
      "more body than announced",
      () => request({ body: length(1) }, (writer) => writer.body(Buffer.alloc(2))),
      "HTTP1_BODY_LENGTH_MISMATCH",
    ],
    [
      "less body than announced",
      () => request({ body: length(2) }, (writer) => writer.body(Buffer.alloc(1))),
      "HTTP1_BODY_LENGTH_MISMATCH",
    ],
    [
      "body where none was announced",
      () => request({}, (writer) => writer.body(Buffer.alloc(1))),
      "HTTP1_BODY_LENGTH_MISMATCH",
    ],
    [
      "a body to HEAD",
      () => response({ requestMethod: "HEAD", body: length(1) }, (writer) => writer.body(Buffer.alloc(1))),
      "HTTP1_BODY_LENGTH_MISMATCH",
    ],
    [
      "a message inside a message",
      () => request({}, (writer) => writer.requestHead({ method: "GET", target: "/", headers: headers(), body: none })),
      "HTTP1_WRITER_STATE",
    ],
    ["a body without message", () => new Http1Writer(new Sink()).body(Buffer.alloc(1)), "HTTP1_WRITER_STATE"],
    ["an end without message", () => new Http1Writer(new Sink()).end(), "HTTP1_WRITER_STATE"],
    ["101 as informational", () => new Http1Writer(new Sink()).informational(101), "HTTP1_BAD_STATUS_LINE"],
    [
      "a forbidden trailer",
      () => request({ body: chunked }, (writer) => writer.end(headers(["Content-Length", "1"]))),
      "HTTP1_FORBIDDEN_TRAILER",
    ],
    [
      "a trailer that splits",
      () => request({ body: chunked }, (writer) => writer.end(headers(["X", "\r\n"]))),
      "HTTP1_BAD_HEADER_VALUE",
    ],
  ])("refuses %s", (_, write, code) => {
    expect(write).toThrow(expect.objectContaining({ code }));
  });

  it("writes nothing of a head that it refuses", () => {
    const sink = new Sink();
    const writer = new Http1Writer(sink);
    const bad = { status: 200, headers: headers(["X", "\n"]), body: none, requestMethod: "GET" };
    expect(() => writer.responseHead(bad)).toThrow();
    expect(sink.writes).toHaveLength(0);
    writer.responseHead({ ...bad, headers: headers() });
    writer.end();
    expect(sink.text).toBe("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
  });

  it("is read back by the parsers as it was written, whatever the body pieces", () => {
    const pieces = fc.array(fc.uint8Array({ maxLength: 5000 }), { maxLength: 6 });
    const name = fc.stringMatching(/^x-[A-Za-z0-9]{1,8}$/);
    const value = fc.stringMatching(/^([!-~\xa0-\xff]([ -~]{0,20}[!-~])?)?$/);
    const fields = fc.array(fc.tuple(name, value), { maxLength: 6 });
    fc.assert(
      fc.property(pieces, fields, fields, fc.boolean(), fc.boolean(), (parts, pairs, trailerPairs, isChunked, hold) => {
        const content = Buffer.concat(parts);
        const body = isChunked ? chunked : length(content.length);
        const sink = new Sink();
        const writer = new Http1Writer(sink);
        const all = (): void => {
          for (const part of parts) writer.body(part);
          writer.end(Http1Headers.from(trailerPairs));
        };
        writer.requestHead({ method: "PUT", target: "/x", headers: headers(["Host", "a"], ...pairs), body, hold });
        all();
        const [read] = readRequests(sink.writes).messages;
        expect(read?.body).toBe(content.toString("latin1"));
        expect([...read!.head.headers].slice(1, 1 + pairs.length)).toEqual(pairs);
        expect(read?.trailers).toEqual(isChunked ? trailerPairs : []);
        sink.writes.length = 0;
        writer.responseHead({ status: 200, headers: Http1Headers.from(pairs), body, requestMethod: "PUT", hold });
        all();
        const answer = readResponses(sink.writes, [{ method: "PUT" }]);
        expect(answer.error).toBeUndefined();
        expect(answer.messages[0]).toMatchObject({
          body: content.toString("latin1"),
          trailers: isChunked ? trailerPairs : [],
        });
      }),
      { numRuns: 200 },
    );
  });
});
