// The engine over real sockets against node:http in both roles, and against curl.
import { execFile } from "node:child_process";
import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { promisify } from "node:util";
import { afterEach, describe, expect, it } from "vitest";
import { connectTcp } from "../connect-tcp.ts";
import { createSocketChannel } from "../socket.ts";
import { listenTcp } from "../tcp-listener.ts";
import { Http1Error } from "./errors.ts";
import { Http1Headers } from "./headers.ts";
import type { Http1RequestHead, Http1ResponseHead } from "./message.ts";
import { Http1RequestParser } from "./request-parser.ts";
import { Http1ResponseParser } from "./response-parser.ts";
import { Http1Writer, type RequestHeadToWrite } from "./writer.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** Answers each request with its method, path and the hash of its body, in chunks with a trailer. Returns the port. */
async function startEngineServer(): Promise<number> {
  const listener = await listenTcp({
    host: "127.0.0.1",
    port: 0,
    onConnection: (socket) => serve(createSocketChannel(socket)),
  });
  cleanups.push(() => listener.close());
  return listener.address.port;
}

function serve(channel: ReturnType<typeof createSocketChannel>): void {
  const writer = new Http1Writer(channel);
  let head: Http1RequestHead | undefined;
  let hash = createHash("sha256");
  let bytes = 0;
  const parser: Http1RequestParser = new Http1RequestParser({
    onHead: (received) => {
      head = received;
      hash = createHash("sha256");
      bytes = 0;
      if (received.expectContinue) writer.informational(100);
    },
    onBody: (chunk) => {
      hash.update(chunk);
      bytes += chunk.length;
    },
    onEnd: (trailers) => {
      const { method, path, version, keepAlive } = head as Http1RequestHead;
      const close: [string, string][] = keepAlive ? [] : [["Connection", "close"]];
      writer.responseHead({
        status: 200,
        headers: Http1Headers.from([["X-Trailer", trailers?.get("x-sum") ?? "none"], ["Trailer", "X-Bytes"], ...close]),
        body: { kind: "chunked" },
        requestMethod: method,
        requestVersion: version,
        hold: true,
      });
      if (method !== "HEAD") writer.body(Buffer.from(`${method} ${path} ${bytes} ${hash.digest("hex")}`));
      writer.end(Http1Headers.from([["X-Bytes", String(bytes)]]));
      if (keepAlive) parser.next();
      else channel.end();
    },
  });
  channel.setHandler({
    onData: (chunk) => {
      try {
        parser.push(chunk);
      } catch (error) {
        if (!(error instanceof Http1Error)) throw error;
        writer.responseHead({
          status: error.status,
          headers: Http1Headers.from([["X-Code", error.code]]),
          body: { kind: "none" },
          requestMethod: "GET",
        });
        writer.end();
        channel.end();
      }
    },
    onEnd: () => channel.end(),
    onDrain: () => undefined,
    onClose: () => undefined,
  });
  channel.resume();
}

interface Reply {
  readonly head: Http1ResponseHead;
  readonly informational: number[];
  body: string;
  trailers: Http1Headers | undefined;
}

/** A client made of the engine: sends requests in one go (pipelined) and resolves with all replies. */
async function exchange(
  port: number,
  requests: readonly (Omit<RequestHeadToWrite, "headers"> & {
    chunks?: readonly Buffer[];
    lines?: [string, string][];
    trailers?: Http1Headers;
  })[],
): Promise<Reply[]> {
  const channel = createSocketChannel(await connectTcp({ ip: "127.0.0.1", port, timeoutMs: 2000 }));
  const replies: Reply[] = [];
  const done = Promise.withResolvers<void>();
  let informational: number[] = [];
  const parser: Http1ResponseParser = new Http1ResponseParser({
    onInformational: (head) => informational.push(head.status),
    onHead: (head) => {
      replies.push({ head, informational, body: "", trailers: undefined });
      informational = [];
    },
    onBody: (chunk) => {
      replies.at(-1)!.body += Buffer.from(chunk).toString("latin1");
    },
    onEnd: (trailers) => {
      replies.at(-1)!.trailers = trailers;
      const next = requests[replies.length];
      if (next === undefined) done.resolve();
      else parser.next({ method: next.method });
    },
  });
  parser.next({ method: requests[0]!.method });
  channel.setHandler({
    onData: (chunk) => void parser.push(chunk),
    onEnd: () => parser.finish(),
    onDrain: () => undefined,
    onClose: (error) => (error === undefined ? done.resolve() : done.reject(error)),
  });
  channel.resume();
  const writer = new Http1Writer(channel);
  for (const { chunks, lines, trailers, ...head } of requests) {
    writer.requestHead({ ...head, headers: Http1Headers.from([["Host", `127.0.0.1:${port}`], ...(lines ?? [])]) });
    for (const chunk of chunks ?? []) writer.body(chunk);
    writer.end(trailers);
  }
  await done.promise;
  channel.destroy();
  return replies;
}

async function startNodeServer(
  handler: http.RequestListener,
  onServer?: (server: http.Server) => void,
): Promise<number> {
  const server = http.createServer(handler);
  onServer?.(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(
    () => server.closeAllConnections(),
    () => server.close(),
  );
  return (server.address() as AddressInfo).port;
}

function nodeRequest(
  options: http.RequestOptions,
  body?: (request: http.ClientRequest) => void,
): Promise<http.IncomingMessage & { text: string }> {
  return new Promise((resolve, reject) => {
    const request = http.request({ host: "127.0.0.1", ...options }, (response) => {
      let text = "";
      response.setEncoding("latin1");
      response.on("data", (chunk: string) => (text += chunk));
      response.on("end", () => resolve(Object.assign(response, { text })));
    });
    request.on("error", reject);
    if (body === undefined) request.end();
    else body(request);
  });
}

describe("HTTP/1 engine as server of node:http", () => {
  it("keeps a connection alive over requests of every framing", async () => {
    const port = await startEngineServer();
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    cleanups.push(() => agent.destroy());
    const content = randomBytes(700_000);
    const sha = createHash("sha256").update(content).digest("hex");
    const sockets = new Set<unknown>();
    for (let round = 0; round < 3; round++) {
      const get = await nodeRequest({ port, agent, path: "/a?b" });
      expect([get.text, get.trailers]).toEqual([
        `GET /a?b 0 ${createHash("sha256").digest("hex")}`,
        { "x-bytes": "0" },
      ]);
      const put = await nodeRequest(
        { port, agent, method: "PUT", headers: { "content-length": content.length } },
        (request) => request.end(content),
      );
      expect(put.text).toBe(`PUT / ${content.length} ${sha}`);
      const post = await nodeRequest({ port, agent, method: "POST" }, (request) => {
        request.setHeader("Trailer", "X-Sum");
        for (let offset = 0; offset < content.length; offset += 50_000)
          request.write(content.subarray(offset, offset + 50_000));
        request.addTrailers({ "X-Sum": "sum" });
        request.end();
      });
      expect([post.text, post.headers["x-trailer"]]).toEqual([`POST / ${content.length} ${sha}`, "sum"]);
      const head = await nodeRequest({ port, agent, method: "HEAD" });
      expect([head.text, head.statusCode]).toEqual(["", 200]);
      for (const response of [get, put, post, head]) sockets.add(response.socket);
    }
    expect(sockets.size).toBe(1);
  });

  it("answers 100-continue", async () => {
    const port = await startEngineServer();
    let continued = false;
    const reply = await nodeRequest(
      { port, method: "POST", headers: { expect: "100-continue", "content-length": 3 } },
      (request) => {
        request.on("continue", () => {
          continued = true;
          request.end("abc");
        });
      },
    );
    expect([continued, reply.text.slice(0, 8)]).toEqual([true, "POST / 3"]);
  });
});

describe("HTTP/1 engine as server of curl", () => {
  async function curl(...args: string[]): Promise<string> {
    const { stdout } = await promisify(execFile)("curl", ["--silent", "--show-error", "--max-time", "5", ...args]);
    return stdout;
  }

  it.each([
    { what: "GET", args: [], expected: /^GET \/x 0 / },
    { what: "POST", args: ["--data", "abc"], expected: /^POST \/x 3 / },
    {
      what: "a chunked POST",
      args: ["--header", "Transfer-Encoding: chunked", "--data", "abc"],
      expected: /^POST \/x 3 /,
    },
    { what: "100-continue", args: ["--header", "Expect: 100-continue", "--data", "abc"], expected: /^POST \/x 3 / },
    { what: "HEAD", args: ["--head"], expected: /^HTTP\/1\.1 200 OK\r\n/ },
    { what: "HTTP/1.0", args: ["--http1.0"], expected: /^GET \/x 0 / },
    {
      what: "a bad Host",
      args: ["--include", "--header", "Host: a/b"],
      expected: /^HTTP\/1\.1 400 Bad Request\r\nX-Code: HTTP1_BAD_HOST\r\n/,
    },
    { what: "a lower-case method", args: ["--include", "--request", "get"], expected: /X-Code: HTTP1_BAD_METHOD\r\n/ },
  ])("answers $what", async ({ args, expected }) => {
    const port = await startEngineServer();
    expect(await curl(...args, `http://127.0.0.1:${port}/x`)).toMatch(expected);
  });

  it("answers two requests on one connection, and a request for a proxy in absolute form", async () => {
    const port = await startEngineServer();
    const url = `http://127.0.0.1:${port}`;
    const both = await curl("--write-out", "%{num_connects},", `${url}/1`, `${url}/2`);
    expect(both).toMatch(/^GET \/1 0 \w+1,GET \/2 0 \w+0,$/);
    expect(await curl("--proxy", url, "http://example.test/p?q")).toMatch(/^GET \/p\?q 0 /);
  });
});

describe("HTTP/1 engine as client of node:http", () => {
  it("reads pipelined responses of every framing", async () => {
    const port = await startNodeServer((request, response) => {
      if (request.url === "/length") return response.setHeader("Content-Length", 5).end("12345");
      if (request.url === "/empty") return response.writeHead(204).end();
      if (request.url === "/not-modified") return response.writeHead(304).end();
      if (request.url === "/hints") response.writeEarlyHints({ link: "</a>; rel=preload" });
      response.writeHead(200, { Trailer: "X-T" });
      response.write("chunk 1,");
      response.addTrailers({ "X-T": "t" });
      return response.end("chunk 2");
    });
    const plan = ["/length", "/chunked", "/empty", "/not-modified", "/hints"].map((target) => ({
      method: "GET",
      target,
      body: { kind: "none" } as const,
    }));
    const replies = await exchange(port, [
      ...plan,
      { method: "HEAD", target: "/length", body: { kind: "none" } },
      plan[0]!,
    ]);
    expect(replies.map((reply) => [reply.head.status, reply.body, reply.trailers?.get("x-t")])).toEqual([
      [200, "12345", undefined],
      [200, "chunk 1,chunk 2", "t"],
      [204, "", undefined],
      [304, "", undefined],
      [200, "chunk 1,chunk 2", "t"],
      [200, "", undefined],
      [200, "12345", undefined],
    ]);
    expect(replies[4]?.informational).toEqual([103]);
    expect(replies.every((reply) => reply.head.keepAlive)).toBe(true);
  });

  it("sends bodies that node:http reads: length, chunks with trailers, 100-continue", async () => {
    const seen: unknown[] = [];
    const port = await startNodeServer((request, response) => {
      const hash = createHash("sha256");
      request.on("data", (chunk: Buffer) => hash.update(chunk));
      request.on("end", () => {
        seen.push([request.method, hash.digest("hex"), request.trailers]);
        response.end("ok");
      });
    });
    const content = randomBytes(400_000);
    const sha = createHash("sha256").update(content).digest("hex");
    const replies = await exchange(port, [
      { method: "PUT", target: "/", body: { kind: "length", length: content.length }, chunks: [content], hold: true },
      {
        method: "POST",
        target: "/",
        body: { kind: "chunked" },
        chunks: [content.subarray(0, 7), content.subarray(7)],
        trailers: Http1Headers.from([["X-Sum", "1"]]),
      },
      {
        method: "POST",
        target: "/",
        body: { kind: "length", length: 3 },
        chunks: [Buffer.from("abc")],
        lines: [["Expect", "100-continue"]],
      },
    ]);
    expect(seen).toEqual([
      ["PUT", sha, {}],
      ["POST", sha, { "x-sum": "1" }],
      ["POST", createHash("sha256").update("abc").digest("hex"), {}],
    ]);
    expect(replies.map((reply) => [reply.head.status, reply.body, reply.informational])).toEqual([
      [200, "ok", []],
      [200, "ok", []],
      [200, "ok", [100]],
    ]);
  });

  it("reads a response that ends with the connection", async () => {
    const port = await startNodeServer((_request, response) => {
      response.useChunkedEncodingByDefault = false;
      response.removeHeader("transfer-encoding");
      response.shouldKeepAlive = false;
      response.write("until ");
      response.end("the end");
    });
    const [reply] = await exchange(port, [{ method: "GET", target: "/", body: { kind: "none" } }]);
    expect([reply?.head.body.kind, reply?.body, reply?.head.keepAlive]).toEqual([
      "until-close",
      "until the end",
      false,
    ]);
  });

  it("leaves the bytes of an upgraded protocol to the caller", async () => {
    const port = await startNodeServer(
      () => undefined,
      (server) =>
        server.on("upgrade", (_request, socket) => {
          socket.end("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: test\r\n\r\nraw bytes");
        }),
    );
    const channel = createSocketChannel(await connectTcp({ ip: "127.0.0.1", port, timeoutMs: 2000 }));
    const raw = Promise.withResolvers<string>();
    const heads: Http1ResponseHead[] = [];
    let rest = "";
    const parser = new Http1ResponseParser({
      onInformational: () => undefined,
      onHead: (head) => heads.push(head),
      onBody: () => undefined,
      onEnd: () => undefined,
    });
    parser.next({ method: "GET", upgradeRequested: true });
    channel.setHandler({
      onData: (chunk) => {
        const consumed = parser.complete ? 0 : parser.push(chunk);
        rest += Buffer.from(chunk.subarray(consumed)).toString();
      },
      onEnd: () => {
        raw.resolve(rest);
        channel.end();
      },
      onDrain: () => undefined,
      onClose: () => undefined,
    });
    channel.resume();
    const headers = Http1Headers.from([
      ["Host", "a"],
      ["Connection", "Upgrade"],
      ["Upgrade", "test"],
    ]);
    new Http1Writer(channel).requestHead({ method: "GET", target: "/", headers, body: { kind: "none" } });
    expect(await raw.promise).toBe("raw bytes");
    expect(heads[0]).toMatchObject({ tunnel: true, upgrade: ["test"] });
  });
});
