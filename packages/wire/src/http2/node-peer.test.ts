// node:http2 (nghttp2) and curl as peers, over real loopback sockets, in both roles.

import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import http2 from "node:http2";
import net, { type AddressInfo } from "node:net";
import { promisify } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { ErrorCode } from "./error.ts";
import { findHeader, headerList, type HeaderList } from "./header-field.ts";
import type { Http2Options } from "./options.ts";
import { createHttp2Session } from "./session.ts";
import { OK, POST } from "./test-support/frames.ts";
import { collect, pour } from "./test-support/session-pair.ts";
import { socketChannel } from "./test-support/socket-channel.ts";
import type { Http2Session, Http2SessionHandler, Http2Stream } from "./types.ts";

const cleanups: (() => void)[] = [];
afterEach(() => {
  for (const clean of cleanups.splice(0)) clean();
});

function hashOf(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

/** A server of ours; the sessions it made, and its port. */
async function startServer(
  onStream: (stream: Http2Stream, headers: HeaderList, endStream: boolean) => void,
  options: Http2Options = {},
): Promise<{ port: number; sessions: Http2Session[]; closed: Promise<Error | undefined> }> {
  const sessions: Http2Session[] = [];
  const closed = Promise.withResolvers<Error | undefined>();
  const server = net.createServer({ allowHalfOpen: true }, (socket) => {
    cleanups.push(() => socket.destroy());
    const handler = { onStream, onClose: closed.resolve };
    sessions.push(createHttp2Session({ role: "server", channel: socketChannel(socket), handler, options }));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => server.close());
  return { port: (server.address() as AddressInfo).port, sessions, closed: closed.promise };
}

function connectNode(port: number, options: http2.ClientSessionOptions = {}): http2.ClientHttp2Session {
  const session = http2.connect(`http://127.0.0.1:${port}`, { maxSessionMemory: 1000, ...options });
  session.on("error", () => {});
  cleanups.push(() => session.destroy());
  return session;
}

/** A node:http2 server and a client session of ours on it. */
async function connectOurs(
  onStream: (stream: http2.ServerHttp2Stream, headers: http2.IncomingHttpHeaders) => void,
  setup: { server?: http2.ServerOptions; options?: Http2Options; handler?: Partial<Http2SessionHandler> } = {},
): Promise<{ session: Http2Session; server: http2.Http2Server; closed: Promise<Error | undefined> }> {
  const server = http2.createServer({ maxSessionMemory: 1000, ...setup.server });
  server.on("stream", (stream: http2.ServerHttp2Stream, headers) => {
    stream.on("error", () => {});
    onStream(stream, headers);
  });
  server.on("sessionError", () => {});
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const socket = net.connect({ port: (server.address() as AddressInfo).port, host: "127.0.0.1", allowHalfOpen: true });
  await once(socket, "connect");
  cleanups.push(
    () => socket.destroy(),
    () => server.close(),
  );
  const closed = Promise.withResolvers<Error | undefined>();
  const session = createHttp2Session({
    role: "client",
    channel: socketChannel(socket),
    handler: { ...setup.handler, onClose: closed.resolve },
    ...(setup.options && { options: setup.options }),
  });
  return { session, server, closed: closed.promise };
}

function echo(stream: Http2Stream): void {
  stream.setHandler({
    onData: (chunk) => {
      if (!stream.write(chunk)) stream.pause();
    },
    onEnd: () => stream.sendTrailers(headerList({ "x-trailer": "ours" })),
    onDrain: () => stream.resume(),
    onClose: () => {},
  });
  stream.respond(headerList({ ":status": "200", "content-type": "application/octet-stream" }));
  stream.resume();
}

describe("our server, node:http2 as client", () => {
  it("echoes large bodies on many streams under back-pressure, with trailers", async () => {
    const { port } = await startServer(echo, { initialWindowSize: 200_000, maxSendBufferBytes: 100_000 });
    const session = connectNode(port);
    const body = randomBytes(1_500_000);
    const hashes = await Promise.all(
      Array.from({ length: 20 }, async () => {
        const request = session.request({ ":method": "POST", ":path": "/echo" });
        let trailers: http2.IncomingHttpHeaders = {};
        request.on("trailers", (headers) => (trailers = headers));
        request.end(body);
        const chunks = await request.toArray();
        expect(trailers["x-trailer"]).toBe("ours");
        return hashOf(Buffer.concat(chunks));
      }),
    );
    expect(new Set(hashes)).toEqual(new Set([hashOf(body)]));
  });

  it("serves thousands of small requests with every kind of header", async () => {
    const { port, sessions } = await startServer((stream, headers) => {
      stream.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
      stream.resume();
      const copies = headers.filter(({ name }) => name.startsWith("x-")).map(({ name, value }) => ({ name, value }));
      stream.respond([...headerList(OK), ...copies]);
      stream.write(Buffer.from(findHeader(headers, ":path") ?? ""));
      stream.end();
    });
    const session = connectNode(port);
    const printable = Array.from({ length: 0x7e - 0x21 + 1 }, (_, i) => String.fromCharCode(0x21 + i)).join("");
    const obsText = Array.from({ length: 0x80 }, (_, i) => String.fromCharCode(0x80 + i)).join("");
    for (let batch = 0; batch < 20; batch++) {
      await Promise.all(
        Array.from({ length: 100 }, async (_, i) => {
          const value = `${printable} ${batch} ${i}`;
          const request = session.request({
            ":path": `/${batch}/${i}`,
            "x-value": value,
            "x-obs": obsText,
            [`x-${i}`]: "1",
          });
          const [headers] = (await once(request, "response")) as [http2.IncomingHttpHeaders];
          expect(headers["x-value"]).toBe(value);
          expect(headers["x-obs"]).toBe(obsText);
          expect(Buffer.concat(await request.toArray()).toString()).toBe(`/${batch}/${i}`);
        }),
      );
    }
    expect(sessions[0]?.stats.streamsOpened).toBe(2000);
    expect(sessions[0]?.stats.openStreams).toBe(0);
  });

  it("takes CONNECT tunnels, half-closed from either side", async () => {
    const heads: string[][] = [];
    const { port } = await startServer((stream, headers) => {
      heads.push(headers.map(({ name, value }) => `${name}=${value}`).toSorted());
      echo(stream);
    });
    const request = connectNode(port).request({ ":method": "CONNECT", ":authority": "10.1.2.3:8080" });
    const [headers] = (await once(request, "response")) as [http2.IncomingHttpHeaders];
    expect(headers[":status"]).toBe(200);
    expect(heads).toEqual([[":authority=10.1.2.3:8080", ":method=CONNECT"]]);
    request.end("through the tunnel");
    expect(Buffer.concat(await request.toArray()).toString()).toBe("through the tunnel");
  });

  it("passes resets both ways, and the session goes on", async () => {
    const closes: Promise<Error | undefined>[] = [];
    const { port } = await startServer((stream, headers) => {
      const { promise, resolve } = Promise.withResolvers<Error | undefined>();
      closes.push(promise);
      stream.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose: resolve });
      stream.resume();
      if (findHeader(headers, ":path") === "/reset") stream.reset(ErrorCode.HTTP_1_1_REQUIRED);
      else stream.respond(headerList(OK));
    });
    const session = connectNode(port);
    const ours = session.request({ ":path": "/reset" });
    await expect(once(ours, "response")).rejects.toThrow(/HTTP_1_1_REQUIRED/);
    expect(await closes[0]).toBeUndefined();
    const theirs = session.request({ ":path": "/keep", ":method": "POST" });
    theirs.on("error", () => {});
    await once(theirs, "response");
    theirs.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
    expect(await closes[1]).toMatchObject({ code: "HTTP2_STREAM_RESET", errorCode: ErrorCode.INTERNAL_ERROR });
    const next = session.request({ ":path": "/next" });
    const [headers] = (await once(next, "response")) as [http2.IncomingHttpHeaders];
    expect(headers[":status"]).toBe(200);
  });

  it("goes away in two steps that node understands", async () => {
    const { port, sessions, closed } = await startServer(echo);
    const session = connectNode(port);
    const request = session.request({ ":method": "POST" });
    await once(request, "response");
    const goaway = once(session, "goaway");
    sessions[0]?.shutdown();
    expect((await goaway)[0]).toBe(ErrorCode.NO_ERROR);
    request.end("last words");
    expect(Buffer.concat(await request.toArray()).toString()).toBe("last words");
    expect(await closed).toBeUndefined();
  });

  it("answers pings and keeps to SETTINGS changed on the way", async () => {
    const { port } = await startServer(echo);
    const session = connectNode(port, { settings: { initialWindowSize: 1000, headerTableSize: 0 } });
    await once(session, "connect");
    await new Promise<void>((resolve, reject) => {
      session.ping((error) => (error ? reject(error) : resolve()));
    });
    session.settings({ initialWindowSize: 50_000, headerTableSize: 8192, maxFrameSize: 32_768 });
    const body = randomBytes(300_000);
    for (let i = 0; i < 3; i++) {
      const request = session.request({ ":method": "POST", "x-same": "value that is worth an entry" });
      request.end(body);
      expect(hashOf(Buffer.concat(await request.toArray()))).toBe(hashOf(body));
    }
  });

  it("cuts a rapid reset attack", async () => {
    const { port, sessions, closed } = await startServer((stream) => {
      stream.setHandler({ onData() {}, onEnd() {}, onDrain() {}, onClose() {} });
    });
    const session = connectNode(port);
    await once(session, "remoteSettings");
    const goaway = once(session, "goaway");
    for (let i = 0; i < 400; i++) {
      const request = session.request({ ":path": "/" });
      request.on("error", () => {});
      request.close(http2.constants.NGHTTP2_CANCEL);
    }
    expect((await goaway)[0]).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    expect(await closed).toMatchObject({ code: "HTTP2_ENHANCE_YOUR_CALM" });
    expect(sessions[0]?.stats.limitHits.resets).toBe(1);
  });
});

describe("our client, node:http2 as server", () => {
  it("sends and receives large bodies on many streams, with trailers", async () => {
    const { session, closed } = await connectOurs((stream) => {
      stream.respond({ ":status": 200 }, { waitForTrailers: true });
      stream.on("wantTrailers", () => stream.sendTrailers({ "x-trailer": "node's" }));
      stream.pipe(stream);
    });
    const body = randomBytes(1_500_000);
    await Promise.all(
      Array.from({ length: 20 }, async () => {
        const stream = session.request(headerList(POST));
        const go = pour(stream, body, () => stream.sendTrailers(headerList({ "x-sent": "1" })));
        const answer = collect(stream, go);
        go();
        const { body: returned, error, trailers } = await answer;
        expect(error).toBeUndefined();
        expect(hashOf(returned)).toBe(hashOf(body));
        expect(trailers).toEqual([{ name: "x-trailer", value: "node's", sensitive: false }]);
      }),
    );
    session.shutdown();
    expect(await closed).toBeUndefined();
  });

  it("gives 1xx heads, the head and an empty body", async () => {
    const { session } = await connectOurs((stream) => {
      stream.additionalHeaders({ ":status": 103, link: "</style.css>" });
      stream.respond({ ":status": 204, "x-a": "b" }, { endStream: true });
    });
    const { informational, headers, ended, body } = await collect(
      session.request(headerList([[":method", "HEAD"], ...POST.slice(1)]), { endStream: true }),
    );
    expect(findHeader(informational[0] ?? [], "link")).toBe("</style.css>");
    expect(findHeader(headers ?? [], ":status")).toBe("204");
    expect([ended, body.length]).toEqual([true, 0]);
  });

  it("opens tunnels by CONNECT", async () => {
    const { session } = await connectOurs((stream, headers) => {
      stream.respond({ ":status": 200, "x-asked": `${headers[":method"]} ${headers[":authority"]}` });
      stream.pipe(stream);
    });
    const tunnel = session.request(
      headerList([
        [":method", "CONNECT"],
        [":authority", "10.1.2.3:80"],
      ]),
    );
    const answer = collect(tunnel);
    tunnel.write(Buffer.from("over and back"));
    tunnel.end();
    expect(await answer).toMatchObject({ body: Buffer.from("over and back"), ended: true, error: undefined });
    expect(findHeader(tunnel.headers ?? [], "x-asked")).toBe("CONNECT 10.1.2.3:80");
  });

  it("learns the server's limit and keeps to it", async () => {
    const settled = Promise.withResolvers<void>();
    const { session } = await connectOurs((stream) => stream.respond({ ":status": 200 }), {
      server: { settings: { maxConcurrentStreams: 2 } },
      handler: { onSettings: () => settled.resolve() },
    });
    await settled.promise;
    expect(session.stats.peerMaxConcurrentStreams).toBe(2);
    for (let i = 0; i < 2; i++) void collect(session.request(headerList(POST)));
    expect(session.canOpenStream).toBe(false);
  });

  it("tells resets and a goaway of the server", async () => {
    let goaways = 0;
    const { session, closed } = await connectOurs(
      (stream, headers) => {
        if (headers[":path"] === "/") stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
        else stream.session?.goaway(http2.constants.NGHTTP2_NO_ERROR, 1);
      },
      { handler: { onGoaway: () => goaways++ } },
    );
    const first = await collect(session.request(headerList(POST)));
    expect(first.error).toMatchObject({
      code: "HTTP2_STREAM_RESET",
      errorCode: ErrorCode.REFUSED_STREAM,
      retryable: true,
    });
    const second = await collect(
      session.request(headerList(POST.map(([n, v]) => [n, n === ":path" ? "/goaway" : v] as const))),
    );
    expect(second.error).toMatchObject({ code: "HTTP2_GOAWAY", retryable: true });
    expect(goaways).toBe(1);
    expect(await closed).toBeUndefined();
  });

  it("tells its streams when the server's socket is gone", async () => {
    const { session, closed } = await connectOurs((stream) => stream.session?.socket.destroy());
    const { error } = await collect(session.request(headerList(POST)));
    expect(error).toMatchObject({ code: "HTTP2_SESSION_CLOSED" });
    expect(await closed).toMatchObject({ code: "HTTP2_SESSION_CLOSED" });
  });
});

describe("our server, curl as client", () => {
  const run = promisify(execFile);
  const curl = ["--silent", "--show-error", "--http2-prior-knowledge", "--max-time", "10"];

  it("posts a large body and gets it back", async () => {
    const { port } = await startServer(echo);
    const body = "curl's body, long enough for several frames. ".repeat(20_000);
    const child = run("curl", [...curl, "--data-binary", "@-", `http://127.0.0.1:${port}/`], { maxBuffer: 10_000_000 });
    child.child.stdin?.end(body);
    expect((await child).stdout).toBe(body);
  });

  // Each run is a connection: curl 7.88 cannot use one twice with prior knowledge, whoever the server is.
  it("downloads with back-pressure, asks for the head alone, and shows what it got", async () => {
    const body = randomBytes(3_000_000).toString("base64");
    const { port } = await startServer((stream, headers) => {
      stream.respond(
        headerList({
          ":status": "200",
          "content-length": `${body.length}`,
          "x-path": findHeader(headers, ":path") ?? "",
        }),
      );
      const head = findHeader(headers, ":method") === "HEAD";
      const go = pour(stream, Buffer.from(head ? "" : body), () => stream.end());
      stream.setHandler({ onData() {}, onEnd() {}, onDrain: go, onClose() {} });
      stream.resume();
      go();
    });
    const url = `http://127.0.0.1:${port}/some/path?query`;
    expect((await run("curl", [...curl, url], { maxBuffer: 10_000_000 })).stdout).toBe(body);
    const { stdout } = await run("curl", [...curl, "--head", url]);
    expect(stdout).toMatch(/^HTTP\/2 200 \r\ncontent-length: 4000000\r\nx-path: \/some\/path\?query\r\n/);
  });
});
