import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ErrorCode, Http2Error } from "./error.ts";
import { findHeader, headerList } from "./header-field.ts";
import { CLIENT_PREFACE, Flag, FrameType } from "./frame.ts";
import { createHttp2Session } from "./session.ts";
import { createChannelPair } from "./test-support/channel-pair.ts";
import { GET, headersFrame, OK, POST, rawFrame } from "./test-support/frames.ts";
import { collect, createSessionPair, pour } from "./test-support/session-pair.ts";
import type { Http2Stream } from "./types.ts";

/** Bytes that are all different enough to notice a swap. */
function bytesOf(seed: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed + 1;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    bytes[i] = state >>> 16;
  }
  return bytes;
}

function hashOf(bytes: Buffer): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** Answers with what comes in, under back-pressure, and with trailers. */
function echo(stream: Http2Stream): void {
  stream.setHandler({
    onData: (chunk) => {
      if (!stream.write(chunk)) stream.pause();
    },
    onEnd: () => stream.sendTrailers(headerList({ "x-end": "1" })),
    onDrain: () => stream.resume(),
    onClose: () => {},
  });
  stream.respond(headerList(OK));
  stream.resume();
}

describe("Http2Session", () => {
  it("carries a request with body and trailers both ways, and 1xx heads", async () => {
    const received = Promise.withResolvers<Awaited<ReturnType<typeof collect>>>();
    const { client, clientClosed, serverClosed } = createSessionPair({
      onStream: (stream) => {
        stream.sendInformational(headerList({ ":status": "103", link: "</a>" }));
        stream.respond(headerList({ ":status": "200", "x-answer": "42" }));
        stream.write(Buffer.from("answer"));
        void collect(stream).then(received.resolve);
        stream.sendTrailers(headerList({ "grpc-status": "0" }));
      },
    });
    const stream = client.request(headerList(POST));
    const answer = collect(stream);
    stream.write(Buffer.from("question"));
    stream.sendTrailers(headerList({ checksum: "abc" }));
    expect(await answer).toMatchObject({
      body: Buffer.from("answer"),
      ended: true,
      error: undefined,
      informational: [
        [
          { name: ":status", value: "103" },
          { name: "link", value: "</a>" },
        ],
      ],
      trailers: [{ name: "grpc-status", value: "0" }],
    });
    expect(findHeader(stream.headers ?? [], "x-answer")).toBe("42");
    expect(await received.promise).toMatchObject({
      body: Buffer.from("question"),
      trailers: [{ name: "checksum", value: "abc" }],
      error: undefined,
    });
    client.shutdown();
    expect(await clientClosed).toBeUndefined();
    expect(await serverClosed).toBeUndefined();
    expect(client.closed).toBe(true);
  });

  it("delivers equal bytes on every stream, whatever the sizes, windows and cuts", async () => {
    const plan = fc.record({
      bodies: fc.array(fc.integer({ min: 0, max: 120_000 }), { minLength: 1, maxLength: 6 }),
      piece: fc.integer({ min: 1, max: 70_000 }).map((n) => Math.max(n, 50)),
      initialWindowSize: fc.integer({ min: 1000, max: 300_000 }),
      connectionWindowSize: fc.integer({ min: 65_535, max: 500_000 }),
      maxDataFrameBytes: fc.integer({ min: 100, max: 100_000 }),
      maxSendBufferBytes: fc.integer({ min: 1, max: 50_000 }),
      headerTableSize: fc.constantFrom(0, 100, 4096, 10_000),
      highWaterMark: fc.integer({ min: 1, max: 100_000 }),
      cuts: fc.array(fc.integer({ min: 1, max: 40_000 }), { minLength: 1, maxLength: 5 }),
    });
    await fc.assert(
      fc.asyncProperty(plan, async ({ bodies, piece, highWaterMark, cuts, ...options }) => {
        let cut = 0;
        const { client, server, clientClosed, serverClosed } = createSessionPair({
          client: options,
          server: options,
          channel: { highWaterMark, chunking: () => cuts[cut++ % cuts.length] ?? 1 },
          onStream: echo,
        });
        const answers = bodies.map(async (length, i) => {
          const body = bytesOf(i, length);
          const stream = client.request(headerList([...POST, ["content-length", `${length}`], ["x-stream", `${i}`]]));
          const go = pour(stream, body, () => stream.end(), piece);
          const answer = collect(stream, go);
          go();
          const { body: returned, error, ended, trailers } = await answer;
          expect([error, ended, trailers?.length]).toEqual([undefined, true, 1]);
          expect(hashOf(returned)).toBe(hashOf(body));
          expect([stream.bytesRead, stream.bytesWritten, stream.bufferedBytes]).toEqual([length, length, 0]);
        });
        await Promise.all(answers);
        client.shutdown();
        expect([await clientClosed, await serverClosed]).toEqual([undefined, undefined]);
        for (const { stats } of [client, server]) {
          expect([stats.openStreams, stats.heldBytes, stats.queuedBytes]).toEqual([0, 0, 0]);
          expect(stats.dataBytesReceived).toBe(bodies.reduce((sum, length) => sum + length, 0));
        }
      }),
      { numRuns: 25 },
    );
  }, 60_000);

  it("holds no more than the window for a stream whose reader stopped, and lets the others pass", async () => {
    const stopped = Promise.withResolvers<Http2Stream>();
    const { client, server } = createSessionPair({
      server: { initialWindowSize: 100_000, connectionWindowSize: 300_000 },
      onStream: (stream, headers) => {
        if (findHeader(headers, ":path") === "/") {
          echo(stream);
          return;
        }
        stream.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
        stream.respond(headerList(OK));
        stopped.resolve(stream);
      },
    });
    const slow = client.request(headerList(POST.map(([n, v]) => [n, n === ":path" ? "/slow" : v] as const)));
    slow.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
    slow.write(bytesOf(0, 1_000_000));
    await stopped.promise;
    const body = bytesOf(1, 2_000_000);
    const fast = client.request(headerList(POST));
    const go = pour(fast, body, () => fast.end());
    const answer = collect(fast, go);
    go();
    expect(hashOf((await answer).body)).toBe(hashOf(body));
    expect(server.stats.heldBytes).toBe(100_000);
    expect(slow.bufferedBytes).toBe(900_000);
    client.destroy();
  });

  it("keeps the two directions of a tunnel apart", async () => {
    const serverSide = Promise.withResolvers<Http2Stream>();
    const { client } = createSessionPair({
      onStream: (stream) => {
        stream.respond(headerList(OK));
        serverSide.resolve(stream);
        stream.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
      },
    });
    const tunnel = client.request(
      headerList([
        [":method", "CONNECT"],
        [":authority", "10.0.0.1:80"],
      ]),
    );
    const down = collect(tunnel);
    tunnel.write(Buffer.from("up"));
    tunnel.end();
    const up = await serverSide.promise;
    const got = collect(up);
    up.write(Buffer.from("down, after the other direction ended"));
    await new Promise(setImmediate);
    expect([tunnel.localEnded, tunnel.remoteEnded, tunnel.closed]).toEqual([true, false, false]);
    up.end();
    expect((await down).body.toString()).toBe("down, after the other direction ended");
    expect(await got).toMatchObject({ body: Buffer.from("up"), ended: true, error: undefined });
    client.destroy();
  });

  it("a reset reaches the other side with its code, and ends nothing else", async () => {
    const { client } = createSessionPair({
      onStream: (stream, headers) => {
        if (findHeader(headers, ":method") === "GET") {
          stream.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
          stream.reset(ErrorCode.HTTP_1_1_REQUIRED);
        } else {
          echo(stream);
        }
      },
    });
    const refused = collect(client.request(headerList(GET), { endStream: true }));
    const echoed = client.request(headerList(POST));
    const answer = collect(echoed);
    echoed.write(Buffer.from("x"));
    echoed.end();
    const { error } = await refused;
    expect(error).toBeInstanceOf(Http2Error);
    expect(error).toMatchObject({
      code: "HTTP2_STREAM_RESET",
      errorCode: ErrorCode.HTTP_1_1_REQUIRED,
      retryable: false,
    });
    expect((await answer).body.toString()).toBe("x");
    client.destroy();
  });

  it("a ping is answered", async () => {
    const { client, server } = createSessionPair({ onStream: echo });
    await new Promise<void>((resolve) => client.ping(resolve));
    await new Promise<void>((resolve) => server.ping(resolve));
    expect(client.stats.unansweredPings).toBe(0);
    client.destroy();
  });

  it("a server's shutdown lets open streams finish and takes no new ones", async () => {
    let goaways = 0;
    const { client, server, clientClosed, serverClosed } = createSessionPair({
      onStream: echo,
      clientHandler: { onGoaway: () => goaways++ },
    });
    const stream = client.request(headerList(POST));
    const answer = collect(stream);
    stream.write(Buffer.from("before"));
    await new Promise<void>((resolve) => client.ping(resolve));
    server.shutdown();
    await new Promise<void>((resolve) => client.ping(resolve));
    expect(client.closing).toBe(true);
    expect(() => client.request(headerList(GET))).toThrow(expect.objectContaining({ code: "HTTP2_SESSION_CLOSING" }));
    stream.write(Buffer.from(" after"));
    stream.end();
    expect((await answer).body.toString()).toBe("before after");
    expect([await clientClosed, await serverClosed]).toEqual([undefined, undefined]);
    expect(goaways).toBe(2);
  });

  it("destroy closes every stream and the other side", async () => {
    const serverStreams: Promise<Awaited<ReturnType<typeof collect>>>[] = [];
    const { client, clientClosed, serverClosed } = createSessionPair({
      onStream: (stream) => {
        serverStreams.push(collect(stream));
        stream.respond(headerList(OK));
      },
    });
    const streams = [1, 2].map(() => collect(client.request(headerList(POST))));
    await new Promise<void>((resolve) => client.ping(resolve));
    const reason = new Error("policy changed");
    client.destroy(reason);
    for (const exchange of await Promise.all(streams)) {
      expect(exchange.error).toMatchObject({ code: "HTTP2_SESSION_CLOSED", cause: reason });
    }
    for (const exchange of await Promise.all(serverStreams)) {
      expect(exchange.error).toMatchObject({ code: "HTTP2_SESSION_CLOSED" });
    }
    expect(serverStreams).toHaveLength(2);
    expect(await clientClosed).toBe(reason);
    expect(await serverClosed).toMatchObject({ code: "HTTP2_SESSION_CLOSED" });
  });

  it("an error thrown by a stream's handler ends that stream only", async () => {
    const told = Promise.withResolvers<Error | undefined>();
    const { client } = createSessionPair({
      onStream: (stream, headers) => {
        if (findHeader(headers, ":method") !== "POST") {
          echo(stream);
          return;
        }
        stream.respond(headerList(OK));
        stream.setHandler({
          onData() {
            throw new Error("a bug of the owner");
          },
          onEnd() {},
          onDrain() {},
          onClose: told.resolve,
        });
        stream.resume();
      },
    });
    const sibling = client.request(headerList(GET));
    const answer = collect(sibling);
    const stream = client.request(headerList(POST));
    const failing = collect(stream);
    stream.write(Buffer.from("x"));
    expect((await failing).error).toMatchObject({ code: "HTTP2_STREAM_RESET", errorCode: ErrorCode.INTERNAL_ERROR });
    expect(await told.promise).toMatchObject({ message: "a bug of the owner" });
    sibling.end();
    expect(await answer).toMatchObject({ ended: true, error: undefined });
    client.destroy();
  });

  it("an error that no stream can be told of ends the session, and its streams are told", async () => {
    const { client, clientClosed, serverClosed } = createSessionPair({
      onStream: (stream, headers) => {
        if (findHeader(headers, ":method") === "POST") throw new Error("a bug of the owner");
        echo(stream);
      },
    });
    const sibling = collect(client.request(headerList(GET)));
    const failing = collect(client.request(headerList(POST)));
    for (const { error } of [await sibling, await failing])
      expect(error).toMatchObject({ code: "HTTP2_SESSION_CLOSED" });
    expect(await serverClosed).toMatchObject({ message: "a bug of the owner" });
    expect(await clientClosed).toMatchObject({ code: "HTTP2_SESSION_CLOSED" });
  });

  it("tells its owner when a header block stays open, and when its end came", async () => {
    const [raw, ours] = createChannelPair();
    raw.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
    raw.resume();
    const told: boolean[] = [];
    const session = createHttp2Session({
      role: "server",
      channel: ours,
      handler: {
        onStream: (stream) => stream.reset(ErrorCode.NO_ERROR),
        onHeaderBlock: (open) => told.push(open),
        onClose: () => {},
      },
    });
    const send = async (...frames: Buffer[]): Promise<void> => {
      raw.write(Buffer.concat(frames));
      await new Promise((resolve) => setTimeout(resolve));
      await new Promise((resolve) => setImmediate(resolve));
    };
    const end = Flag.END_STREAM | Flag.END_HEADERS;
    await send(Buffer.from(CLIENT_PREFACE), rawFrame(FrameType.SETTINGS, 0, 0), headersFrame(1, GET, end));
    expect(told).toEqual([]);
    await send(headersFrame(3, GET, Flag.END_STREAM));
    expect(told).toEqual([true]);
    await send(rawFrame(FrameType.CONTINUATION, 0, 3));
    expect(told).toEqual([true]);
    // The end of one block and the beginning of the next in one read: another block, another clock.
    const half = headersFrame(5, GET, end);
    await send(rawFrame(FrameType.CONTINUATION, Flag.END_HEADERS, 3), half.subarray(0, 12));
    expect(told).toEqual([true, true]);
    await send(half.subarray(12));
    expect(told).toEqual([true, true, false]);
    session.destroy();
  });

  it("stops reading from a peer that does not read its answers", async () => {
    const { client, server } = createSessionPair({
      server: { maxOutputBytes: 20_000 },
      channel: { highWaterMark: 1000 },
      onStream: (stream) => {
        stream.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
        stream.resume();
        stream.respond(headerList([...OK, ["x-large", "y".repeat(3000)]]), { endStream: true });
      },
    });
    const answers = Array.from({ length: 100 }, () => collect(client.request(headerList(GET), { endStream: true })));
    for (const { ended } of await Promise.all(answers)) expect(ended).toBe(true);
    expect(server.stats.streamsOpened).toBe(100);
    client.destroy();
  });
});
