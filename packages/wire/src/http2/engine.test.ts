import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ErrorCode } from "./error.ts";
import { CLIENT_PREFACE, Flag, FrameType, SettingId } from "./frame.ts";
import { headerList } from "./header-field.ts";
import type { Http2Options, Http2Role } from "./options.ts";
import { EngineHarness } from "./test-support/engine-harness.ts";
import { block, GET, headersFrame, OK, POST, rawFrame, uint32 } from "./test-support/frames.ts";
import type { Http2Stream } from "./types.ts";

const END = Flag.END_STREAM | Flag.END_HEADERS;
const OPEN = Flag.END_HEADERS;

function setting(id: number, value: number): Buffer {
  return Buffer.concat([Buffer.from([0, id]), uint32(value)]);
}

/** A client harness with one POST open on stream 1. */
function clientWithStream(
  options: Http2Options = {},
  method = "POST",
): { harness: EngineHarness; stream: Http2Stream } {
  const harness = new EngineHarness("client", options).open();
  const stream = harness.engine.request(headerList([[":method", method], ...GET.slice(1)]), false);
  const { events } = harness;
  stream.setHandler({
    onHeaders: (headers) => events.push(`head ${headers[0]?.value}`),
    onInformational: (headers) => events.push(`informational ${headers[0]?.value}`),
    onTrailers: () => events.push("trailers"),
    onData: (chunk) => events.push(`data ${chunk.length}`),
    onEnd: () => events.push("end"),
    onDrain: () => events.push("drain"),
    onClose: (error) => events.push(`close ${(error as { code?: string } | undefined)?.code ?? "clean"}`),
  });
  stream.resume();
  harness.sent();
  return { harness, stream };
}

function goawayCode(harness: EngineHarness): number | undefined {
  return harness
    .sent()
    .find(({ type }) => type === FrameType.GOAWAY)
    ?.payload.readUInt32BE(4);
}

function resetCode(harness: EngineHarness): number | undefined {
  return harness
    .sent()
    .find(({ type }) => type === FrameType.RST_STREAM)
    ?.payload.readUInt32BE(0);
}

describe("Http2Engine: the opening", () => {
  it("a client sends preface, SETTINGS and the connection's window at once", () => {
    const { engine } = new EngineHarness("client", { connectionWindowSize: 1_000_000 });
    const writer = engine.output.take();
    const bytes = Buffer.from(writer?.bytes.subarray(0, writer.length) ?? []);
    expect(bytes.subarray(0, CLIENT_PREFACE.length)).toEqual(CLIENT_PREFACE);
    expect(bytes.subarray(-13)).toEqual(rawFrame(FrameType.WINDOW_UPDATE, 0, 0, uint32(1_000_000 - 65_535)));
  });

  it("acknowledges SETTINGS", () => {
    const harness = new EngineHarness("server");
    harness.sent();
    harness.feed(CLIENT_PREFACE, rawFrame(FrameType.SETTINGS, 0, 0));
    expect(harness.sent()).toEqual([
      { type: FrameType.SETTINGS, flags: Flag.ACK, streamId: 0, payload: Buffer.alloc(0) },
    ]);
  });

  it("refuses a client without preface", () => {
    const harness = new EngineHarness("server").feed(Buffer.from("GET / HTTP/1.1\r\n\r\n"));
    expect(goawayCode(harness)).toBe(ErrorCode.PROTOCOL_ERROR);
    expect(harness.events).toEqual(["failed HTTP2_PROTOCOL_ERROR"]);
  });

  it.each<Http2Role>(["client", "server"])("a %s refuses anything before SETTINGS", (role) => {
    const harness = new EngineHarness(role).feed(
      ...(role === "server" ? [CLIENT_PREFACE] : []),
      rawFrame(FrameType.PING, 0, 0, Buffer.alloc(8)),
    );
    expect(goawayCode(harness)).toBe(ErrorCode.PROTOCOL_ERROR);
  });
});

describe("Http2Engine: faults that end the connection", () => {
  const request = headersFrame(1, GET, END);
  const openRequest = headersFrame(1, POST, OPEN);
  it.each<[string, keyof typeof ErrorCode, Buffer[]]>([
    ["DATA on stream 0", "PROTOCOL_ERROR", [rawFrame(FrameType.DATA, 0, 0, Buffer.alloc(1))]],
    ["DATA on an idle stream", "PROTOCOL_ERROR", [rawFrame(FrameType.DATA, 0, 1, Buffer.alloc(1))]],
    [
      "DATA with too much padding",
      "PROTOCOL_ERROR",
      [openRequest, rawFrame(FrameType.DATA, Flag.PADDED, 1, Buffer.from([5, 0, 0]))],
    ],
    ["DATA padded without a length", "FRAME_SIZE_ERROR", [openRequest, rawFrame(FrameType.DATA, Flag.PADDED, 1)]],
    [
      "a frame above the maximum",
      "FRAME_SIZE_ERROR",
      [openRequest, rawFrame(FrameType.DATA, 0, 1, Buffer.alloc(16_385))],
    ],
    ["HEADERS on stream 0", "PROTOCOL_ERROR", [headersFrame(0, GET, END)]],
    ["HEADERS on an even stream", "PROTOCOL_ERROR", [headersFrame(2, GET, END)]],
    [
      "HEADERS with too much padding",
      "PROTOCOL_ERROR",
      [rawFrame(FrameType.HEADERS, END | Flag.PADDED, 1, Buffer.from([9, 0x82]))],
    ],
    ["HEADERS padded without a length", "FRAME_SIZE_ERROR", [rawFrame(FrameType.HEADERS, END | Flag.PADDED, 1)]],
    [
      "HEADERS too short for its priority",
      "PROTOCOL_ERROR",
      [rawFrame(FrameType.HEADERS, END | Flag.PRIORITY, 1, Buffer.alloc(4))],
    ],
    [
      "a header block that is not HPACK",
      "COMPRESSION_ERROR",
      [rawFrame(FrameType.HEADERS, END, 1, Buffer.from([0x80]))],
    ],
    ["CONTINUATION without HEADERS", "PROTOCOL_ERROR", [rawFrame(FrameType.CONTINUATION, Flag.END_HEADERS, 1)]],
    [
      "another frame within a header block",
      "PROTOCOL_ERROR",
      [headersFrame(1, GET, 0), rawFrame(FrameType.PING, 0, 0, Buffer.alloc(8))],
    ],
    [
      "CONTINUATION of another stream",
      "PROTOCOL_ERROR",
      [headersFrame(1, GET, 0), rawFrame(FrameType.CONTINUATION, Flag.END_HEADERS, 3)],
    ],
    ["PRIORITY on stream 0", "PROTOCOL_ERROR", [rawFrame(FrameType.PRIORITY, 0, 0, Buffer.alloc(5))]],
    ["RST_STREAM on stream 0", "PROTOCOL_ERROR", [rawFrame(FrameType.RST_STREAM, 0, 0, uint32(8))]],
    ["RST_STREAM on an idle stream", "PROTOCOL_ERROR", [rawFrame(FrameType.RST_STREAM, 0, 1, uint32(8))]],
    [
      "RST_STREAM of a wrong size",
      "FRAME_SIZE_ERROR",
      [openRequest, rawFrame(FrameType.RST_STREAM, 0, 1, Buffer.alloc(3))],
    ],
    ["SETTINGS on a stream", "PROTOCOL_ERROR", [rawFrame(FrameType.SETTINGS, 0, 1)]],
    ["SETTINGS of a wrong size", "FRAME_SIZE_ERROR", [rawFrame(FrameType.SETTINGS, 0, 0, Buffer.alloc(5))]],
    ["a SETTINGS ack with a payload", "FRAME_SIZE_ERROR", [rawFrame(FrameType.SETTINGS, Flag.ACK, 0, Buffer.alloc(6))]],
    ["a SETTINGS ack nobody asked for", "PROTOCOL_ERROR", [rawFrame(FrameType.SETTINGS, Flag.ACK, 0)]],
    ["ENABLE_PUSH 2", "PROTOCOL_ERROR", [rawFrame(FrameType.SETTINGS, 0, 0, setting(SettingId.ENABLE_PUSH, 2))]],
    [
      "a window size of 2^31",
      "FLOW_CONTROL_ERROR",
      [rawFrame(FrameType.SETTINGS, 0, 0, setting(SettingId.INITIAL_WINDOW_SIZE, 0x80000000))],
    ],
    [
      "a frame size below 16 KiB",
      "PROTOCOL_ERROR",
      [rawFrame(FrameType.SETTINGS, 0, 0, setting(SettingId.MAX_FRAME_SIZE, 16_383))],
    ],
    [
      "a frame size above 2^24-1",
      "PROTOCOL_ERROR",
      [rawFrame(FrameType.SETTINGS, 0, 0, setting(SettingId.MAX_FRAME_SIZE, 0x1000000))],
    ],
    [
      "ENABLE_CONNECT_PROTOCOL 2",
      "PROTOCOL_ERROR",
      [rawFrame(FrameType.SETTINGS, 0, 0, setting(SettingId.ENABLE_CONNECT_PROTOCOL, 2))],
    ],
    [
      "SETTINGS that make a stream's window too large",
      "FLOW_CONTROL_ERROR",
      [
        openRequest,
        rawFrame(FrameType.WINDOW_UPDATE, 0, 1, uint32(0x7fffffff - 65_535)),
        rawFrame(FrameType.SETTINGS, 0, 0, setting(SettingId.INITIAL_WINDOW_SIZE, 65_536)),
      ],
    ],
    ["PUSH_PROMISE", "PROTOCOL_ERROR", [openRequest, rawFrame(FrameType.PUSH_PROMISE, Flag.END_HEADERS, 1, uint32(2))]],
    ["PING on a stream", "PROTOCOL_ERROR", [rawFrame(FrameType.PING, 0, 1, Buffer.alloc(8))]],
    ["PING of a wrong size", "FRAME_SIZE_ERROR", [rawFrame(FrameType.PING, 0, 0, Buffer.alloc(6))]],
    ["GOAWAY on a stream", "PROTOCOL_ERROR", [rawFrame(FrameType.GOAWAY, 0, 1, Buffer.alloc(8))]],
    ["GOAWAY of a wrong size", "FRAME_SIZE_ERROR", [rawFrame(FrameType.GOAWAY, 0, 0, Buffer.alloc(7))]],
    ["a GOAWAY of 20 KiB", "FRAME_SIZE_ERROR", [rawFrame(FrameType.GOAWAY, 0, 0, Buffer.alloc(20_480))]],
    ["WINDOW_UPDATE of a wrong size", "FRAME_SIZE_ERROR", [rawFrame(FrameType.WINDOW_UPDATE, 0, 0, Buffer.alloc(3))]],
    ["WINDOW_UPDATE of 0 for the connection", "PROTOCOL_ERROR", [rawFrame(FrameType.WINDOW_UPDATE, 0, 0, uint32(0))]],
    ["WINDOW_UPDATE on an idle stream", "PROTOCOL_ERROR", [rawFrame(FrameType.WINDOW_UPDATE, 0, 1, uint32(1))]],
    [
      "a connection window above 2^31-1",
      "FLOW_CONTROL_ERROR",
      [rawFrame(FrameType.WINDOW_UPDATE, 0, 0, uint32(0x7fffffff))],
    ],
    [
      "HEADERS on a stream that both sides ended",
      "STREAM_CLOSED",
      [request, headersFrame(3, GET, END), headersFrame(1, GET, END)],
    ],
    [
      "DATA on a stream that both sides ended",
      "STREAM_CLOSED",
      [request, rawFrame(FrameType.DATA, 0, 1, Buffer.alloc(1))],
    ],
    ["a stream id below one that was skipped", "STREAM_CLOSED", [headersFrame(5, GET, END), headersFrame(3, GET, END)]],
    [
      "DATA after the peer's own RST_STREAM",
      "STREAM_CLOSED",
      [openRequest, rawFrame(FrameType.RST_STREAM, 0, 1, uint32(8)), rawFrame(FrameType.DATA, 0, 1, Buffer.alloc(1))],
    ],
  ])("%s → %s", (_, code, frames) => {
    // Requests are answered at once, so that END_STREAM closes them.
    const harness = new EngineHarness("server", {}, (stream) => {
      stream.resume();
      stream.respond(headerList(OK), { endStream: true });
    }).open();
    harness.feed(...frames);
    expect(goawayCode(harness)).toBe(ErrorCode[code]);
    expect(harness.events.at(-1)).toMatch(/^failed|close/);
    expect(harness.events).toContain(`failed HTTP2_${code}`);
  });

  it("tells every open stream, with the reason as its cause", () => {
    const { harness } = clientWithStream();
    harness.feed(rawFrame(FrameType.PING, 0, 0, Buffer.alloc(1)));
    expect(harness.events).toEqual(["failed HTTP2_FRAME_SIZE_ERROR", "close HTTP2_SESSION_CLOSED"]);
  });

  it("reads nothing after the fault", () => {
    const harness = new EngineHarness("server").open();
    harness
      .feed(rawFrame(FrameType.PING, 0, 0, Buffer.alloc(1)), headersFrame(1, GET, END))
      .feed(headersFrame(3, GET, END));
    expect(harness.events).toEqual(["failed HTTP2_FRAME_SIZE_ERROR"]);
  });

  it("takes a limit on control frames before it reads one", () => {
    const harness = new EngineHarness("server", { maxFrameSize: 1_048_576 }).open();
    harness.feed(rawFrame(FrameType.SETTINGS, 0, 0, Buffer.alloc(60_000)).subarray(0, 9));
    expect(goawayCode(harness)).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    expect(harness.engine.stats.limitHits.controlFrameBytes).toBe(1);
  });

  it("cuts a peer that exceeds the connection's window", () => {
    const harness = new EngineHarness(
      "server",
      { connectionWindowSize: 65_535, initialWindowSize: 1_000_000 },
      (stream) => {
        stream.respond(headerList(OK));
      },
    ).open();
    harness.feed(headersFrame(1, POST, OPEN));
    for (let i = 0; i < 5; i++) harness.feed(rawFrame(FrameType.DATA, 0, 1, Buffer.alloc(16_000)));
    expect(goawayCode(harness)).toBe(ErrorCode.FLOW_CONTROL_ERROR);
  });
});

describe("Http2Engine: faults that end one stream", () => {
  const openRequest = headersFrame(1, POST, OPEN);
  it.each<[string, keyof typeof ErrorCode, Buffer[]]>([
    ["a malformed head", "PROTOCOL_ERROR", [headersFrame(1, GET.slice(1), END)]],
    ["a bad field value", "PROTOCOL_ERROR", [headersFrame(1, [...GET, ["a", "x\ny"]], END)]],
    ["an upper-case name", "PROTOCOL_ERROR", [headersFrame(1, [...GET, ["A", "x"]], END)]],
    [
      "DATA after END_STREAM",
      "STREAM_CLOSED",
      [headersFrame(1, GET, END), rawFrame(FrameType.DATA, 0, 1, Buffer.alloc(1))],
    ],
    ["HEADERS after END_STREAM", "STREAM_CLOSED", [headersFrame(1, GET, END), headersFrame(1, GET, END)]],
    [
      "a head that depends on itself",
      "PROTOCOL_ERROR",
      [rawFrame(FrameType.HEADERS, END | Flag.PRIORITY, 1, Buffer.concat([uint32(1), Buffer.of(9), block(GET)]))],
    ],
    [
      "a priority that depends on itself",
      "PROTOCOL_ERROR",
      [openRequest, rawFrame(FrameType.PRIORITY, 0, 1, Buffer.concat([uint32(1), Buffer.of(9)]))],
    ],
    ["trailers that do not end the stream", "PROTOCOL_ERROR", [openRequest, headersFrame(1, [["a", "b"]], OPEN)]],
    ["a pseudo field in trailers", "PROTOCOL_ERROR", [openRequest, headersFrame(1, [[":path", "/"]], END)]],
    ["WINDOW_UPDATE of 0", "PROTOCOL_ERROR", [openRequest, rawFrame(FrameType.WINDOW_UPDATE, 0, 1, uint32(0))]],
    [
      "a window above 2^31-1",
      "FLOW_CONTROL_ERROR",
      [openRequest, rawFrame(FrameType.WINDOW_UPDATE, 0, 1, uint32(0x7fffffff))],
    ],
    [
      "PRIORITY of a wrong size",
      "FRAME_SIZE_ERROR",
      [openRequest, rawFrame(FrameType.PRIORITY, 0, 1, Buffer.alloc(6))],
    ],
    [
      "more DATA than content-length",
      "PROTOCOL_ERROR",
      [headersFrame(1, [...POST, ["content-length", "2"]], OPEN), rawFrame(FrameType.DATA, 0, 1, Buffer.alloc(3))],
    ],
    [
      "less DATA than content-length",
      "PROTOCOL_ERROR",
      [headersFrame(1, [...POST, ["content-length", "2"]], OPEN), rawFrame(FrameType.DATA, 1, 1, Buffer.alloc(1))],
    ],
    [
      "less DATA than content-length before trailers",
      "PROTOCOL_ERROR",
      [headersFrame(1, [...POST, ["content-length", "2"]], OPEN), headersFrame(1, [["a", "b"]], END)],
    ],
    ["content-length without a body", "PROTOCOL_ERROR", [headersFrame(1, [...POST, ["content-length", "2"]], END)]],
    ["a header list that is too large", "ENHANCE_YOUR_CALM", [headersFrame(1, [...GET, ["a", "x".repeat(3000)]], END)]],
    [
      "too many fields",
      "ENHANCE_YOUR_CALM",
      [headersFrame(1, [...GET, ["a", "1"], ["b", "1"], ["c", "1"], ["d", "1"], ["e", "1"]], END)],
    ],
    [
      "a stream's window exceeded",
      "FLOW_CONTROL_ERROR",
      Array.from({ length: 6 }, (_, i) =>
        i === 0 ? openRequest : rawFrame(FrameType.DATA, 0, 1, Buffer.alloc(16_000)),
      ),
    ],
  ])("%s → %s", (_, code, frames) => {
    const harness = new EngineHarness(
      "server",
      { initialWindowSize: 65_535, maxHeaderListBytes: 3000, maxHeaderBlockBytes: 8000, maxHeaderCount: 8 },
      () => {},
    ).open();
    harness.feed(...frames);
    expect(resetCode(harness)).toBe(ErrorCode[code]);
    // The connection goes on.
    harness.feed(headersFrame(3, GET, END));
    expect(harness.events.at(-1)).toMatch(/^3 request/);
  });

  it.each<[string, Buffer[], string]>([
    ["a malformed status", [headersFrame(1, [[":status", "abc"]], OPEN)], "HTTP2_PROTOCOL_ERROR"],
    ["DATA before the head", [rawFrame(FrameType.DATA, 0, 1, Buffer.alloc(1))], "HTTP2_PROTOCOL_ERROR"],
    ["a 1xx that ends the stream", [headersFrame(1, [[":status", "103"]], END)], "HTTP2_PROTOCOL_ERROR"],
    [
      "a body shorter than content-length",
      [headersFrame(1, [...OK, ["content-length", "5"]], END)],
      "HTTP2_PROTOCOL_ERROR",
    ],
    [
      "a 1xx flood",
      Array.from({ length: 17 }, () => headersFrame(1, [[":status", "103"]], OPEN)),
      "HTTP2_ENHANCE_YOUR_CALM",
    ],
  ])("a client resets for %s", (_, frames, code) => {
    const { harness } = clientWithStream();
    harness.feed(...frames);
    expect(harness.events.at(-1)).toBe(`close ${code}`);
  });

  it.each([
    ["HEAD", "200"],
    ["GET", "304"],
  ])("a client takes content-length without a body for %s with %s", (method, status) => {
    const { harness, stream } = clientWithStream({}, method);
    stream.end();
    harness.feed(
      headersFrame(
        1,
        [
          [":status", status],
          ["content-length", "5"],
        ],
        END,
      ),
    );
    expect(harness.events).toEqual([`head ${status}`, "end", "close clean"]);
  });

  it("a client refuses a response on a stream it never opened", () => {
    const { harness } = clientWithStream();
    harness.feed(headersFrame(3, OK, END));
    expect(goawayCode(harness)).toBe(ErrorCode.PROTOCOL_ERROR);
  });

  it("late frames for a stream we reset are dropped, their window given back, and the tables kept in step", () => {
    const harness = new EngineHarness("server", { connectionWindowSize: 65_535 }).open();
    harness.feed(headersFrame(1, POST, OPEN));
    harness.streams[0]?.reset(ErrorCode.CANCEL);
    harness.sent();
    // literal with incremental indexing a: b
    harness.feed(rawFrame(FrameType.HEADERS, OPEN, 1, Buffer.from([0x40, 1, 0x61, 1, 0x62])));
    for (let i = 0; i < 3; i++) harness.feed(rawFrame(FrameType.DATA, 0, 1, Buffer.alloc(16_000)));
    const updates = harness.sent().filter(({ type }) => type === FrameType.WINDOW_UPDATE);
    expect(updates.map(({ streamId, payload }) => [streamId, payload.readUInt32BE(0)])).toEqual([[0, 48_000]]);
    harness.feed(rawFrame(FrameType.HEADERS, END, 3, Buffer.concat([block(GET), Buffer.from([0xbe])])));
    expect(harness.events.at(-2)).toMatch(/^3 request .* a=b end$/);
  });
});

describe("Http2Engine: streams", () => {
  it("gives request, body, trailers and end in order", () => {
    const harness = new EngineHarness("server").open();
    harness.feed(
      headersFrame(1, POST, OPEN),
      rawFrame(FrameType.DATA, 0, 1, Buffer.from("abc")),
      headersFrame(1, [["t", "1"]], END),
    );
    expect(harness.events).toEqual([
      "1 request :method=POST :scheme=http :path=/ :authority=a.example",
      "1 data abc",
      "1 trailers t=1",
      "1 end",
    ]);
  });

  it("strips padding and priority, and gives the padding's window back", () => {
    const harness = new EngineHarness("server", { initialWindowSize: 65_535 }).open();
    const priority = Buffer.concat([
      Buffer.from([2]),
      uint32(0x80000000),
      Buffer.from([15]),
      block(POST),
      Buffer.from([0, 0]),
    ]);
    harness.feed(rawFrame(FrameType.HEADERS, OPEN | Flag.PADDED | Flag.PRIORITY, 1, priority));
    const padded = Buffer.concat([Buffer.from([200]), Buffer.from("x"), Buffer.alloc(200)]);
    harness.sent();
    for (let i = 0; i < 250; i++) harness.feed(rawFrame(FrameType.DATA, Flag.PADDED, 1, padded));
    expect(harness.events.at(-1)).toBe(`1 data ${"x".repeat(250)}`);
    const updates = harness.sent().filter(({ type, streamId }) => type === FrameType.WINDOW_UPDATE && streamId === 1);
    expect(updates.length).toBe(1);
  });

  it("ignores unknown frames and PRIORITY", () => {
    const harness = new EngineHarness("server").open();
    harness.feed(
      rawFrame(0x42, 0xff, 7, Buffer.alloc(100)),
      rawFrame(FrameType.PRIORITY, 0, 9, Buffer.alloc(5)),
      headersFrame(1, GET, END),
    );
    expect(harness.events).toHaveLength(2);
  });

  it("holds what comes while a stream is paused, and opens its window only when that was taken", () => {
    const harness = new EngineHarness("server", { initialWindowSize: 65_535 }, () => {}).open();
    harness.feed(headersFrame(1, POST, OPEN));
    for (let i = 0; i < 4; i++) harness.feed(rawFrame(FrameType.DATA, 0, 1, Buffer.alloc(16_000, "a")));
    expect(harness.events).toHaveLength(1);
    expect(harness.engine.stats.heldBytes).toBe(64_000);
    expect(harness.sent().filter(({ streamId }) => streamId === 1)).toEqual([]);
    harness.streams[0]?.resume();
    harness.engine.turn();
    expect(harness.events[1]).toBe(`1 data ${"a".repeat(64_000)}`);
    expect(harness.engine.stats.heldBytes).toBe(0);
    expect(
      harness.sent().filter(({ type, streamId }) => type === FrameType.WINDOW_UPDATE && streamId === 1),
    ).not.toEqual([]);
  });

  it("refuses streams above its limit with a code that says: try again", () => {
    const harness = new EngineHarness("server", { maxConcurrentStreams: 1 }).open();
    harness.feed(headersFrame(1, GET, END), headersFrame(3, GET, END));
    expect(resetCode(harness)).toBe(ErrorCode.REFUSED_STREAM);
    expect(harness.engine.stats.limitHits.concurrentStreams).toBe(1);
    expect(harness.engine.stats.openStreams).toBe(1);
  });

  it("resets a stream that nobody handles", () => {
    const harness = new EngineHarness("server", {}, (stream) => stream.destroy()).open();
    harness.feed(headersFrame(1, GET, END));
    expect(resetCode(harness)).toBe(ErrorCode.CANCEL);
  });

  it("sends data within both windows, in turns of one frame, and drains", () => {
    const harness = new EngineHarness("server", { maxDataFrameBytes: 10_000 }, (stream) => {
      stream.respond(headerList(OK));
      stream.write(Buffer.alloc(60_000));
    }).open();
    harness.feed(headersFrame(1, GET, END), headersFrame(3, GET, END));
    const first = harness.sent().filter(({ type }) => type === FrameType.DATA);
    expect(first.reduce((sum, { payload }) => sum + payload.length, 0)).toBe(65_535);
    harness.feed(rawFrame(FrameType.WINDOW_UPDATE, 0, 0, uint32(1_000_000)));
    const second = harness.sent().filter(({ type }) => type === FrameType.DATA);
    expect(second.reduce((sum, { payload }) => sum + payload.length, 0)).toBe(120_000 - 65_535);
    expect(harness.engine.stats.queuedBytes).toBe(0);
  });

  it("lets streams that wait take turns", () => {
    const harness = new EngineHarness("server", { maxDataFrameBytes: 10_000 }, (stream) =>
      stream.respond(headerList(OK)),
    ).open();
    harness.feed(headersFrame(1, GET, END), headersFrame(3, GET, END));
    harness.engine.scheduler.blocked = true;
    for (const stream of harness.streams) stream.write(Buffer.alloc(30_000));
    harness.sent();
    harness.engine.scheduler.blocked = false;
    harness.engine.turn();
    const order = harness
      .sent()
      .filter(({ type }) => type === FrameType.DATA)
      .map(({ streamId }) => streamId);
    expect(order).toEqual([1, 3, 1, 3, 1, 3]);
  });

  it("joins small writes of one stream into one frame, with END_STREAM on it", () => {
    const harness = new EngineHarness("server", {}, (stream) => stream.respond(headerList(OK))).open();
    harness.feed(headersFrame(1, GET, END));
    harness.sent();
    for (const text of ["a", "b", "c"]) harness.streams[0]?.write(Buffer.from(text));
    harness.streams[0]?.end();
    expect(harness.sent()).toEqual([
      { type: FrameType.DATA, flags: Flag.END_STREAM, streamId: 1, payload: Buffer.from("abc") },
    ]);
  });

  it("says stop above the send buffer's limit and go when half of it is gone", () => {
    const harness = new EngineHarness("server", { maxSendBufferBytes: 1000 }, (stream) =>
      stream.respond(headerList(OK)),
    ).open(setting(SettingId.INITIAL_WINDOW_SIZE, 0));
    harness.feed(headersFrame(1, GET, END));
    const stream = harness.streams[0] as Http2Stream;
    expect(stream.write(Buffer.alloc(1000))).toBe(true);
    expect(stream.write(Buffer.alloc(1))).toBe(false);
    expect(stream.bufferedBytes).toBe(1001);
    harness.feed(rawFrame(FrameType.WINDOW_UPDATE, 0, 1, uint32(400)));
    expect(harness.events).not.toContain("1 drain");
    harness.feed(rawFrame(FrameType.WINDOW_UPDATE, 0, 1, uint32(101)));
    expect(harness.events).toContain("1 drain");
  });

  it("says stop for one stream when all together hold too much", () => {
    const harness = new EngineHarness("server", { maxSessionSendBufferBytes: 100 }, (stream) =>
      stream.respond(headerList(OK)),
    ).open(setting(SettingId.INITIAL_WINDOW_SIZE, 0));
    harness.feed(headersFrame(1, GET, END), headersFrame(3, GET, END));
    expect(harness.streams[0]?.write(Buffer.alloc(80))).toBe(true);
    expect(harness.streams[1]?.write(Buffer.alloc(80))).toBe(false);
  });

  it("a window made negative by SETTINGS must be paid back before more is sent", () => {
    const harness = new EngineHarness("server", {}, (stream) => stream.respond(headerList(OK))).open();
    harness.feed(headersFrame(1, GET, END));
    harness.streams[0]?.write(Buffer.alloc(60_000));
    harness.sent();
    harness.feed(rawFrame(FrameType.SETTINGS, 0, 0, setting(SettingId.INITIAL_WINDOW_SIZE, 10_000)));
    harness.streams[0]?.write(Buffer.alloc(1000));
    harness.feed(rawFrame(FrameType.WINDOW_UPDATE, 0, 1, uint32(50_000)));
    expect(harness.sent().filter(({ type }) => type === FrameType.DATA)).toEqual([]);
    harness.feed(rawFrame(FrameType.WINDOW_UPDATE, 0, 1, uint32(1)));
    expect(
      harness
        .sent()
        .filter(({ type }) => type === FrameType.DATA)
        .map(({ payload }) => payload.length),
    ).toEqual([1]);
  });

  it("splits a large header block into CONTINUATION frames", () => {
    const harness = new EngineHarness("server", {}, (stream) =>
      stream.respond(headerList([...OK, ["a", "\u00ff".repeat(20_000)]]), { endStream: true }),
    ).open();
    harness.feed(headersFrame(1, GET, END));
    expect(harness.sent().map(({ type, flags, payload }) => [type, flags, payload.length > 0])).toEqual([
      [FrameType.HEADERS, Flag.END_STREAM, true],
      [FrameType.CONTINUATION, Flag.END_HEADERS, true],
    ]);
  });

  it("treats RST_STREAM(NO_ERROR) after the whole response as a good end", () => {
    const { harness, stream } = clientWithStream();
    harness.feed(
      headersFrame(1, OK, OPEN),
      rawFrame(FrameType.DATA, Flag.END_STREAM, 1, Buffer.alloc(3)),
      rawFrame(FrameType.RST_STREAM, 0, 1, uint32(0)),
    );
    expect(harness.events).toEqual(["head 200", "data 3", "end", "close clean"]);
    expect(stream.write(Buffer.alloc(1))).toBe(false);
  });

  it("a server that needs no more of a request ends its response and then resets with NO_ERROR", () => {
    const harness = new EngineHarness("server", {}, (stream) => {
      stream.respond(headerList(OK));
      stream.write(Buffer.from("early"));
      stream.end();
      stream.reset(ErrorCode.NO_ERROR);
    }).open();
    harness.feed(headersFrame(1, POST, OPEN));
    expect(harness.sent().map(({ type, flags }) => [type, flags])).toEqual([
      [FrameType.HEADERS, Flag.END_HEADERS],
      [FrameType.DATA, Flag.END_STREAM],
      [FrameType.RST_STREAM, 0],
    ]);
    expect(harness.events.at(-1)).toBe("1 close clean");
  });

  it("a reset stream tells the peer's code and whether the request may be sent again", () => {
    const { harness, stream } = clientWithStream();
    let closed: unknown;
    stream.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose: (error) => (closed = error) });
    harness.feed(rawFrame(FrameType.RST_STREAM, 0, 1, uint32(ErrorCode.REFUSED_STREAM)));
    expect(closed).toMatchObject({ code: "HTTP2_STREAM_RESET", errorCode: ErrorCode.REFUSED_STREAM, retryable: true });
  });

  it.each<[string, (stream: Http2Stream) => void]>([
    ["trailers before the head", (stream) => stream.sendTrailers(headerList({ a: "b" }))],
    ["a second head", (stream) => [1, 2].forEach(() => stream.respond(headerList(OK)))],
    [
      "a 1xx head after the final one",
      (stream) =>
        [OK, [[":status", "103"]] as const].forEach((head, i) =>
          i === 0 ? stream.respond(headerList(head)) : stream.sendInformational(headerList(head)),
        ),
    ],
  ])("refuses %s of its caller", (_, act) => {
    const harness = new EngineHarness("server", {}, () => {}).open();
    harness.feed(headersFrame(1, GET, OPEN));
    expect(() => act(harness.streams[0] as Http2Stream)).toThrow(
      expect.objectContaining({ code: "HTTP2_INVALID_STATE" }),
    );
  });

  it.each<[string, (stream: Http2Stream) => void]>([
    ["a write before the head", (stream) => stream.write(Buffer.alloc(1))],
    ["an end before the head", (stream) => stream.end()],
    [
      "a write after the end",
      (stream) => (stream.respond(headerList(OK)), stream.end(), stream.write(Buffer.alloc(1))),
    ],
  ])("resets a stream for %s", (_, act) => {
    const harness = new EngineHarness("server", {}, () => {}).open();
    harness.feed(headersFrame(1, POST, OPEN));
    act(harness.streams[0] as Http2Stream);
    harness.engine.turn();
    expect(resetCode(harness)).toBe(ErrorCode.INTERNAL_ERROR);
    expect(harness.events.at(-1)).toBe("1 close HTTP2_INVALID_STATE");
  });

  it("refuses to send headers it would not accept, and sends nothing", () => {
    const harness = new EngineHarness("client").open();
    for (const bad of [
      ["Upper", "x"],
      ["a", "x\ny"],
      ["a", "\u20ac"],
      ["connection", "close"],
    ] as const) {
      expect(() => harness.engine.request(headerList([...GET, bad]), true)).toThrow(
        expect.objectContaining({ code: "HTTP2_INVALID_HEADERS" }),
      );
    }
    expect(harness.sent()).toEqual([]);
    expect(harness.engine.stats.openStreams).toBe(0);
  });

  it("refuses a head that the peer said is too large for it", () => {
    const harness = new EngineHarness("client").open(setting(SettingId.MAX_HEADER_LIST_SIZE, 200));
    expect(() => harness.engine.request(headerList([...GET, ["a", "x".repeat(200)]]), true)).toThrow(
      /the peer takes 200/,
    );
  });

  it("opens no more streams than the peer allows", () => {
    const harness = new EngineHarness("client").open(setting(SettingId.MAX_CONCURRENT_STREAMS, 1));
    harness.engine.request(headerList(GET), true);
    expect(harness.engine.canOpenStream).toBe(false);
    expect(() => harness.engine.request(headerList(GET), true)).toThrow(
      expect.objectContaining({ code: "HTTP2_STREAM_LIMIT" }),
    );
    harness.feed(headersFrame(1, OK, END));
    expect(harness.engine.canOpenStream).toBe(true);
  });

  it("allows extended CONNECT only when both sides agreed", () => {
    const fields = headerList([[":method", "CONNECT"], [":protocol", "websocket"], ...GET.slice(1)]);
    const plain = new EngineHarness("client", { extendedConnect: true }).open();
    expect(() => plain.engine.request(fields, false)).toThrow(/not agreed/);
    const agreed = new EngineHarness("client", { extendedConnect: true }).open(
      setting(SettingId.ENABLE_CONNECT_PROTOCOL, 1),
    );
    expect(agreed.engine.request(fields, false).id).toBe(1);
  });
});

describe("Http2Engine: going away", () => {
  it("a client's streams above the last id are closed and may be sent again; the others go on", () => {
    const harness = new EngineHarness("client").open();
    const errors: unknown[] = [];
    for (let i = 0; i < 2; i++) {
      const stream = harness.engine.request(headerList(GET), true);
      stream.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose: (error) => errors.push(error) });
      stream.resume();
    }
    harness.feed(rawFrame(FrameType.GOAWAY, 0, 0, uint32(1, ErrorCode.NO_ERROR)));
    expect(errors).toEqual([expect.objectContaining({ code: "HTTP2_GOAWAY", retryable: true })]);
    expect(() => harness.engine.request(headerList(GET), true)).toThrow(
      expect.objectContaining({ code: "HTTP2_SESSION_CLOSING" }),
    );
    harness.sent();
    harness.feed(headersFrame(1, OK, END));
    expect(errors).toEqual([expect.anything(), undefined]);
    expect(harness.events).toEqual(["goaway 0 1", "finished"]);
    expect(goawayCode(harness)).toBe(ErrorCode.NO_ERROR);
  });

  it("a server goes in two steps and serves what was on its way", () => {
    const harness = new EngineHarness("server").open();
    harness.feed(headersFrame(1, GET, END));
    harness.engine.shutdown();
    const [goaway, ping] = harness.sent();
    expect(goaway?.payload.readUInt32BE(0)).toBe(0x7fffffff);
    harness.feed(headersFrame(3, GET, END));
    expect(harness.events).toContainEqual(expect.stringMatching(/^3 request/));
    harness.feed(rawFrame(FrameType.PING, Flag.ACK, 0, ping?.payload));
    expect(
      harness
        .sent()
        .find(({ type }) => type === FrameType.GOAWAY)
        ?.payload.readUInt32BE(0),
    ).toBe(3);
    harness.feed(headersFrame(5, GET, END));
    expect(resetCode(harness)).toBe(ErrorCode.REFUSED_STREAM);
    for (const stream of harness.streams) stream.respond(headerList(OK), { endStream: true });
    harness.engine.turn();
    expect(harness.events.at(-1)).toBe("finished");
  });

  it("a server goes away when its client's ids come near their end, and serves what is open", () => {
    const harness = new EngineHarness("server").open();
    const last = 0x40000001;
    harness.feed(headersFrame(1, POST, OPEN), headersFrame(last, GET, END));
    const [goaway, ping] = harness.sent();
    expect(goaway?.type).toBe(FrameType.GOAWAY);
    expect(goaway?.payload).toEqual(uint32(0x7fffffff, ErrorCode.NO_ERROR));
    harness.feed(rawFrame(FrameType.PING, Flag.ACK, 0, ping?.payload), headersFrame(last + 2, GET, END));
    expect(harness.events.filter((event) => event.includes("request"))).toHaveLength(2);
    expect(harness.engine.failed).toBe(false);
    for (const stream of harness.streams) stream.respond(headerList(OK), { endStream: true });
    harness.feed(rawFrame(FrameType.DATA, Flag.END_STREAM, 1));
    expect(harness.events.at(-1)).toBe("finished");
  });

  it("a client leaves a session whose ids it has used, while the last stream goes on", () => {
    const harness = new EngineHarness("client", { streamIdLimit: 3 }).open();
    for (let i = 0; i < 2; i++) {
      const stream = harness.engine.request(headerList(GET), true);
      stream.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
    }
    expect(harness.engine.canOpenStream).toBe(false);
    expect(() => harness.engine.request(headerList(GET), true)).toThrow(
      expect.objectContaining({ code: "HTTP2_SESSION_CLOSING", retryable: true }),
    );
    expect(goawayCode(harness)).toBe(ErrorCode.NO_ERROR);
    harness.feed(headersFrame(1, OK, END), headersFrame(3, OK, END));
    expect(harness.events.at(-1)).toBe("finished");
  });

  it("an end of the connection under open streams is an error, else not", () => {
    const { harness } = clientWithStream();
    harness.engine.receiveEnd(undefined);
    harness.engine.turn();
    expect(harness.events).toEqual(["failed HTTP2_SESSION_CLOSED", "close HTTP2_SESSION_CLOSED"]);
    const idle = new EngineHarness("client").open();
    idle.engine.receiveEnd(undefined);
    expect(idle.events).toEqual(["failed clean"]);
  });
});

describe("Http2Engine: pings", () => {
  it("answers, and calls back for its own", () => {
    const harness = new EngineHarness("server").open();
    harness.feed(rawFrame(FrameType.PING, 0, 0, Buffer.from("12345678")));
    expect(harness.sent()).toEqual([
      { type: FrameType.PING, flags: Flag.ACK, streamId: 0, payload: Buffer.from("12345678") },
    ]);
    let answered = 0;
    harness.engine.ping(() => answered++);
    const [ping] = harness.sent();
    harness.feed(rawFrame(FrameType.PING, Flag.ACK, 0, Buffer.from("nonsense")));
    expect(answered).toBe(0);
    harness.feed(rawFrame(FrameType.PING, Flag.ACK, 0, ping?.payload));
    expect(answered).toBe(1);
  });

  it("has a limit on unanswered ones", () => {
    const harness = new EngineHarness("server", { maxOutstandingPings: 2 }).open();
    expect([1, 2, 3].map(() => harness.engine.ping(() => {}))).toEqual([true, true, false]);
  });
});

describe("Http2Engine: floods", () => {
  const openRequest = headersFrame(1, POST, OPEN);
  it.each<[string, keyof EngineHarness["engine"]["stats"]["limitHits"], (i: number) => Buffer]>([
    [
      "rapid reset",
      "resets",
      (i) =>
        Buffer.concat([headersFrame(3 + 2 * i, GET, END), rawFrame(FrameType.RST_STREAM, 0, 3 + 2 * i, uint32(8))]),
    ],
    [
      "resets we are made to send by WINDOW_UPDATE 0",
      "resets",
      (i) =>
        Buffer.concat([headersFrame(3 + 2 * i, GET, END), rawFrame(FrameType.WINDOW_UPDATE, 0, 3 + 2 * i, uint32(0))]),
    ],
    [
      "resets we are made to send by DATA after the end",
      "resets",
      (i) =>
        Buffer.concat([headersFrame(3 + 2 * i, GET, END), rawFrame(FrameType.DATA, 0, 3 + 2 * i, Buffer.alloc(1))]),
    ],
    ["malformed requests", "resets", (i) => headersFrame(3 + 2 * i, GET.slice(1), END)],
    ["PING", "pings", () => rawFrame(FrameType.PING, 0, 0, Buffer.alloc(8))],
    ["PING acks nobody asked for", "pings", () => rawFrame(FrameType.PING, Flag.ACK, 0, Buffer.alloc(8))],
    ["SETTINGS", "settings", () => rawFrame(FrameType.SETTINGS, 0, 0)],
    ["empty DATA", "emptyData", () => rawFrame(FrameType.DATA, 0, 1)],
    [
      "DATA with nothing but padding",
      "emptyData",
      () => rawFrame(FrameType.DATA, Flag.PADDED, 1, Buffer.from([2, 0, 0])),
    ],
    ["PRIORITY", "ignoredFrames", () => rawFrame(FrameType.PRIORITY, 0, 1, Buffer.alloc(5))],
    ["unknown frames", "ignoredFrames", () => rawFrame(0x42, 0, 0, Buffer.alloc(5))],
    ["WINDOW_UPDATE of one byte", "windowUpdates", () => rawFrame(FrameType.WINDOW_UPDATE, 0, 0, uint32(1))],
    ["frames for a stream that is gone", "ignoredFrames", () => rawFrame(FrameType.RST_STREAM, 0, 1, uint32(8))],
  ])("cuts a peer for %s", (_, limit, frame) => {
    const harness = new EngineHarness("server").open();
    harness.feed(openRequest);
    let sent = 0;
    while (!harness.engine.failed && sent < 10_000) harness.feed(frame(sent++));
    expect(harness.engine.stats.limitHits[limit]).toBe(1);
    expect(harness.events).toContain("failed HTTP2_ENHANCE_YOUR_CALM");
    expect(goawayCode(harness)).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    expect(sent).toBeLessThan(5100);
  });

  it.each<[string, Buffer, keyof EngineHarness["engine"]["stats"]["limitHits"]]>([
    ["empty CONTINUATIONs", rawFrame(FrameType.CONTINUATION, 0, 1), "continuationFrames"],
    ["large CONTINUATIONs", rawFrame(FrameType.CONTINUATION, 0, 1, Buffer.alloc(10_000)), "headerBlockBytes"],
  ])("cuts a peer for %s", (_, frame, limit) => {
    const harness = new EngineHarness("server").open();
    harness.feed(headersFrame(1, GET, 0));
    expect(harness.engine.stats.headerBlockOpen).toBe(true);
    let sent = 0;
    for (; !harness.engine.failed && sent < 100; sent++) harness.feed(frame);
    expect(sent).toBeLessThan(10);
    expect(harness.engine.stats.limitHits[limit]).toBe(1);
    expect(goawayCode(harness)).toBe(ErrorCode.ENHANCE_YOUR_CALM);
  });

  it("is patient with the same number of frames over a longer time", () => {
    const harness = new EngineHarness("server").open();
    for (let i = 0; i < 5000; i++) {
      harness.now += 100;
      harness.feed(
        rawFrame(FrameType.PING, 0, 0, Buffer.alloc(8)),
        headersFrame(1 + 2 * i, GET, END),
        rawFrame(FrameType.RST_STREAM, 0, 1 + 2 * i, uint32(8)),
      );
    }
    expect(harness.engine.failed).toBe(false);
  });

  it("cuts a peer whose WINDOW_UPDATEs serve nothing, however slowly they come", () => {
    const harness = new EngineHarness("server").open();
    const update = rawFrame(FrameType.WINDOW_UPDATE, 0, 0, uint32(1));
    let sent = 0;
    for (; !harness.engine.failed && sent < 20_000; sent++) {
      harness.now += 1000;
      harness.feed(update);
    }
    expect(sent).toBe(5001);
    expect(harness.engine.stats.limitHits.windowUpdates).toBe(1);
  });

  it("lets WINDOW_UPDATEs pass that come with streams or bytes", () => {
    const harness = new EngineHarness("server").open();
    for (let i = 0; i < 20_000; i++) {
      const id = 1 + 2 * i;
      harness.now += 2;
      harness.feed(headersFrame(id, GET, END), rawFrame(FrameType.WINDOW_UPDATE, 0, id, uint32(1)));
      harness.streams.pop()?.respond(headerList(OK), { endStream: true });
    }
    expect(harness.engine.failed).toBe(false);
  });

  it("does not count tunnels that carried data and were then reset", () => {
    const harness = new EngineHarness("server", {}, (stream) => {
      stream.resume();
      stream.respond(headerList(OK));
    }).open();
    for (let i = 0; i < 1000; i++) {
      const id = 1 + 2 * i;
      harness.feed(
        headersFrame(id, POST, OPEN),
        rawFrame(FrameType.DATA, 0, id, Buffer.from("x")),
        rawFrame(FrameType.RST_STREAM, 0, id, uint32(8)),
      );
    }
    expect(harness.engine.failed).toBe(false);
  });
});

describe("Http2Engine: any input", () => {
  const script = Buffer.concat([
    CLIENT_PREFACE,
    rawFrame(FrameType.SETTINGS, 0, 0, setting(SettingId.INITIAL_WINDOW_SIZE, 100_000)),
    rawFrame(FrameType.SETTINGS, Flag.ACK, 0),
    headersFrame(1, POST, 0),
    rawFrame(FrameType.CONTINUATION, 0, 1, block([["x-a", "1"]])),
    rawFrame(FrameType.CONTINUATION, Flag.END_HEADERS, 1, block([["x-b", "2"]])),
    rawFrame(FrameType.DATA, Flag.PADDED, 1, Buffer.from("\u0003hello\0\0\0", "latin1")),
    headersFrame(3, [...POST, ["content-length", "4"]], OPEN),
    rawFrame(0x77, 3, 1, Buffer.from("unknown")),
    rawFrame(FrameType.DATA, 0, 3, Buffer.from("body")),
    rawFrame(FrameType.DATA, 0, 1, Buffer.from(" world")),
    rawFrame(FrameType.PING, 0, 0, Buffer.from("pingpong")),
    headersFrame(3, [["trailer", "x"]], END),
    headersFrame(5, GET, END),
    rawFrame(FrameType.RST_STREAM, 0, 5, uint32(8)),
    headersFrame(7, [...GET, ["bad", "a\nb"]], END),
    rawFrame(FrameType.DATA, Flag.END_STREAM, 1),
    rawFrame(FrameType.GOAWAY, 0, 0, Buffer.concat([uint32(0, 0), Buffer.from("bye")])),
    rawFrame(FrameType.DATA, 0, 9),
  ]);

  function run(chunks: Iterable<Buffer>): { events: string[]; frames: string[] } {
    const harness = new EngineHarness("server", {}, (stream) => {
      stream.resume();
      if (stream.id === 3) stream.respond(headerList(OK), { endStream: true });
    });
    for (const chunk of chunks) harness.engine.receive(chunk, 0);
    harness.engine.turn();
    const byStream = (event: string): string => event.split(" ")[0] as string;
    return {
      // Only the order within a stream (and of the session's own events) is promised.
      events: harness.events.toSorted((a, b) => (byStream(a) < byStream(b) ? -1 : byStream(a) > byStream(b) ? 1 : 0)),
      frames: harness
        .sent()
        .map(({ type, flags, streamId, payload }) => `${type} ${flags} ${streamId} ${payload.toString("hex")}`),
    };
  }

  it("gives the same events and answers however it is split", () => {
    const expected = run([script]);
    expect(expected.events).toContain("1 data hello world");
    expect(expected.events).toContain("failed HTTP2_PROTOCOL_ERROR");
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: script.length - 1 }), { maxLength: 60 }), (cuts) => {
        const at = [0, ...new Set(cuts.toSorted((a, b) => a - b)), script.length];
        const chunks = at.slice(1).map((end, i) => Buffer.from(script.subarray(at[i], end)));
        expect(run(chunks)).toEqual(expected);
      }),
    );
    expect(run(Array.from(script, (byte) => Buffer.from([byte])))).toEqual(expected);
  });

  it("ends in order on frames made of anything", () => {
    const frame = fc.record({
      type: fc.integer({ min: 0, max: 10 }),
      flags: fc.integer({ min: 0, max: 255 }),
      streamId: fc.integer({ min: 0, max: 8 }),
      payload: fc.oneof(
        fc.uint8Array({ maxLength: 40 }),
        fc.constantFrom(block(GET), block(POST), uint32(0), uint32(100), Buffer.alloc(8)),
      ),
    });
    fc.assert(
      fc.property(
        fc.constantFrom<Http2Role>("client", "server"),
        fc.array(frame, { maxLength: 30 }),
        (role, frames) => {
          const harness = new EngineHarness(role, {}, (stream) => {
            stream.resume();
            stream.respond(headerList(OK));
            stream.write(Buffer.from("x"));
          }).open();
          if (role === "client") {
            const stream = harness.engine.request(headerList(POST), false);
            stream.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
          }
          for (const { type, flags, streamId, payload } of frames)
            harness.feed(rawFrame(type, flags, streamId, payload));
          harness.engine.fail(undefined, ErrorCode.NO_ERROR);
          harness.engine.turn();
          const { stats } = harness.engine;
          expect([stats.openStreams, stats.queuedBytes, stats.heldBytes]).toEqual([0, 0, 0]);
          // Every stream that was announced was closed exactly once.
          for (const stream of harness.streams) {
            expect(harness.events.filter((event) => event.startsWith(`${stream.id} close`))).toHaveLength(1);
          }
        },
      ),
      { numRuns: 500 },
    );
  });
});
