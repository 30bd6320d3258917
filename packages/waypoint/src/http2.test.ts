import { once } from "node:events";
import http2 from "node:http2";
import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { hairpinWaypoint } from "@hairpin/shared/api";
import { eventually } from "@hairpin/testkit";
import { startHttp2App, startHttpApp } from "./testing/apps.ts";
import { rawConnection, request } from "./testing/http-client.ts";
import { openShop } from "./testing/shop.ts";
import type { CapturedPort } from "./testing/source-ztunnel.ts";

const { HTTP2 } = hairpinWaypoint.Protocol;
const http2Port = { ports: [{ port: 80, name: "http2", protocol: HTTP2 }] };

async function connect(to: CapturedPort, settings: http2.Settings = {}): Promise<http2.ClientHttp2Session> {
  const socket = await to.connect();
  const session = http2.connect("http://web", { createConnection: () => socket, settings });
  session.on("error", () => {});
  return session;
}

interface Answer {
  readonly headers: http2.IncomingHttpHeaders & http2.IncomingHttpStatusHeader;
  readonly trailers: http2.IncomingHttpHeaders;
  readonly body: Buffer;
}

/** Reads from the first moment: Node's client drops what nobody reads when the server says that it needs no more. */
async function read(stream: http2.ClientHttp2Stream): Promise<Answer> {
  let trailers: http2.IncomingHttpHeaders = {};
  let headers: Answer["headers"] = {};
  const chunks: Buffer[] = [];
  stream.on("response", (fields) => (headers = fields));
  stream.on("trailers", (fields) => (trailers = fields));
  stream.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(stream, "end");
  return { headers, trailers, body: Buffer.concat(chunks) };
}

describe("HTTP/2 through a waypoint", () => {
  it("carries requests, bodies and trailers both ways to an application of HTTP/2", async () => {
    await using shop = await openShop(
      (place) =>
        startHttp2App(place, (incoming, response) => {
          const chunks: Buffer[] = [];
          incoming.on("data", (chunk: Buffer) => chunks.push(chunk));
          incoming.on("end", () => {
            response.addTrailers({ "x-sum": String(incoming.trailers["x-in"]) });
            response.end(Buffer.concat(chunks));
          });
        }),
      { service: http2Port },
    );
    const session = await connect(shop.web);
    const body = randomBytes(3 * 1024 * 1024);
    const stream = session.request(
      { ":method": "POST", ":path": "/a?b=c", cookie: ["a=1", "b=2"] },
      { waitForTrailers: true },
    );
    stream.on("wantTrailers", () => stream.sendTrailers({ "x-in": "sum" }));
    stream.end(body);
    const answer = await read(stream);
    expect(answer.headers[":status"]).toBe(200);
    expect(answer.body.equals(body)).toBe(true);
    expect(answer.trailers["x-sum"]).toBe("sum");
    expect(shop.apps[0]?.requests[0]).toMatchObject({
      httpVersion: "2.0",
      url: "/a?b=c",
      headers: { cookie: "a=1; b=2" },
    });
    session.destroy();
  });

  it("shares one connection to the application among the requests of many clients", async () => {
    await using shop = await openShop(startHttp2App, { service: http2Port });
    const sessions = await Promise.all([1, 2, 3].map(() => connect(shop.web)));
    const answers = await Promise.all(
      sessions.flatMap((session) => Array.from({ length: 20 }, () => read(session.request({ ":path": "/" })))),
    );
    expect(answers.every(({ headers }) => headers[":status"] === 200)).toBe(true);
    expect(shop.apps[0]?.accepted).toBe(1);
    for (const session of sessions) session.destroy();
  });

  it("opens further connections when one is full, and fails no request of a burst", async () => {
    await using shop = await openShop(
      (place) => startHttp2App(place, (_, response) => setImmediate(() => response.end("ok"))),
      { service: http2Port },
    );
    // 450 at once for an application that nobody is connected to: more than any one connection takes.
    const sessions = await Promise.all([1, 2, 3, 4, 5].map(() => connect(shop.web)));
    const answers = await Promise.all(
      sessions.flatMap((session) => Array.from({ length: 90 }, () => read(session.request({ ":path": "/" })))),
    );
    expect(answers.filter(({ headers }) => headers[":status"] === 200)).toHaveLength(450);
    expect(shop.apps[0]?.accepted).toBeGreaterThan(1);
    expect(shop.apps[0]?.accepted).toBeLessThanOrEqual(8);
    for (const session of sessions) session.destroy();
  });

  it("cancels at the application what the client cancels", async () => {
    const cancelled = Promise.withResolvers<void>();
    await using shop = await openShop(
      (place) => startHttp2App(place, (incoming) => incoming.stream.on("close", () => cancelled.resolve())),
      { service: http2Port },
    );
    const session = await connect(shop.web);
    const stream = session.request({ ":path": "/" });
    stream.on("error", () => {});
    await eventually(() => expect(shop.apps[0]?.requests).toHaveLength(1));
    stream.close(http2.constants.NGHTTP2_CANCEL);
    await cancelled.promise;
    await eventually(() => expect(shop.bed.access()[0]).toMatchObject({ status: 0, response_flags: "DC" }));
    // The connection to the application is not harmed.
    const other = session.request({ ":path": "/" });
    other.on("error", () => {});
    await eventually(() => expect(shop.apps[0]?.requests).toHaveLength(2));
    expect(shop.apps[0]?.accepted).toBe(1);
    session.destroy();
  });

  it("resets one stream when the application does, and leaves its neighbours alone", async () => {
    await using shop = await openShop(
      (place) =>
        startHttp2App(place, (incoming, response) => {
          if (incoming.url === "/reset") {
            response.write("part");
            incoming.stream.close(http2.constants.NGHTTP2_INTERNAL_ERROR);
          } else {
            response.end("fine");
          }
        }),
      { service: http2Port },
    );
    const session = await connect(shop.web);
    const bad = session.request({ ":path": "/reset" });
    const broken = await read(bad).catch((error: Error) => error);
    // Reset before a byte of the answer left the application, or inside it: never a complete answer.
    expect(broken instanceof Error || broken.headers[":status"] === 503).toBe(true);
    expect((await read(session.request({ ":path": "/" }))).body.toString()).toBe("fine");
    session.destroy();
  });

  it("retries what an application refused before it looked at it", async () => {
    let refused = 0;
    await using shop = await openShop(
      (place) =>
        startHttp2App(place, (incoming, response) => {
          if (refused++ === 0) incoming.stream.close(http2.constants.NGHTTP2_REFUSED_STREAM);
          else response.end("ok");
        }),
      { service: http2Port },
    );
    const session = await connect(shop.web);
    const answer = await read(session.request({ ":method": "DELETE", ":path": "/" }));
    expect(answer.body.toString()).toBe("ok");
    session.destroy();
  });

  it("answers early and tells the client that the rest of the request is not wanted", async () => {
    await using shop = await openShop(
      (place) =>
        // Node resets a stream whose request nobody reads with NO_ERROR once it was answered.
        startHttp2App(place, (_, response) => {
          response.writeHead(413);
          response.end("enough");
        }),
      { service: http2Port },
    );
    const session = await connect(shop.web);
    const stream = session.request({ ":method": "POST", ":path": "/" });
    stream.write("some");
    const answer = await read(stream);
    expect(answer).toMatchObject({ headers: { ":status": 413 } });
    expect(answer.body.toString()).toBe("enough");
    await eventually(() => expect(stream.closed).toBe(true));
    expect(stream.rstCode).toBe(http2.constants.NGHTTP2_NO_ERROR);
    session.destroy();
  });

  it("holds little for a client that does not read, and loses nothing", async () => {
    let written = 0;
    const total = 32 * 1024 * 1024;
    await using shop = await openShop(
      (place) =>
        startHttp2App(place, (_, response) => {
          const more = (): void => {
            while (written < total) {
              written += 64 * 1024;
              if (!response.write(Buffer.alloc(64 * 1024, 1))) {
                response.once("drain", more);
                return;
              }
            }
            response.end();
          };
          more();
        }),
      { service: http2Port },
    );
    const session = await connect(shop.web, { initialWindowSize: 1024 });
    const stream = session.request({ ":path": "/" });
    await once(stream, "response");
    let before = -1;
    await eventually(
      () => {
        const stopped = written === before;
        before = written;
        if (!stopped) throw new Error("still writing");
      },
      { intervalMs: 100 },
    );
    // What the windows of the hops and Node's own buffers take; not the whole.
    expect(written).toBeLessThan(total / 2);
    session.destroy();
  });
});

describe("translation between versions", () => {
  it("HTTP/2 to HTTP/1.1: host, one cookie field, no te, chunked where there is no length", async () => {
    await using shop = await openShop((place) =>
      startHttpApp(place, (incoming, response) => void incoming.pipe(response)),
    );
    const session = await connect(shop.web);
    const stream = session.request({ ":method": "POST", ":path": "/x", cookie: ["a=1", "b=2"], te: "trailers" });
    stream.end("body");
    const answer = await read(stream);
    expect(answer.body.toString()).toBe("body");
    expect(answer.headers["transfer-encoding"]).toBeUndefined();
    const [seen] = shop.apps[0]?.requests ?? [];
    expect(seen).toMatchObject({
      httpVersion: "1.1",
      headers: { host: "web:80", cookie: "a=1; b=2", "transfer-encoding": "chunked" },
    });
    expect(seen?.headers["te"]).toBeUndefined();
    expect(seen?.rawHeaders.filter((name) => name.toLowerCase() === "cookie")).toHaveLength(1);
    session.destroy();
  });

  it("HTTP/2 to HTTP/1.1: a POST without body says so, a length stays a length, trailers arrive", async () => {
    await using shop = await openShop((place) =>
      startHttpApp(place, (incoming, response) => {
        incoming.resume().on("end", () => response.end(JSON.stringify(incoming.trailers)));
      }),
    );
    const session = await connect(shop.web);
    await read(session.request({ ":method": "POST", ":path": "/" }, { endStream: true }));
    const sized = session.request({ ":method": "PUT", ":path": "/", "content-length": "4" });
    sized.end("body");
    await read(sized);
    const trailed = session.request({ ":method": "POST", ":path": "/" }, { waitForTrailers: true });
    trailed.on("wantTrailers", () => trailed.sendTrailers({ "x-sum": "1", authorization: "no trailer" }));
    trailed.end("body");
    expect(JSON.parse((await read(trailed)).body.toString())).toEqual({ "x-sum": "1" });
    expect(shop.apps[0]?.requests.map(({ headers }) => headers["content-length"])).toEqual(["0", "4", undefined]);
    session.destroy();
  });

  it("HTTP/1.1 to HTTP/2: authority and body arrive, hop-by-hop fields do not", async () => {
    await using shop = await openShop(
      (place) => startHttp2App(place, (incoming, response) => void incoming.pipe(response)),
      { service: http2Port },
    );
    const answer = await request(shop.web, "/p", {
      method: "POST",
      body: "body",
      headers: { connection: "keep-alive, x-private", "x-private": "1", te: "trailers", "x-public": "1" },
    });
    expect(answer).toMatchObject({ status: 200, body: "body" });
    const [seen] = shop.apps[0]?.requests ?? [];
    expect(seen).toMatchObject({ httpVersion: "2.0", url: "/p", headers: { ":authority": "web", "x-public": "1" } });
    for (const name of ["connection", "x-private", "transfer-encoding", "keep-alive", "host"])
      expect(seen?.headers[name]).toBeUndefined();
  });

  it("HTTP/1.1 to HTTP/2: trailers and interim responses arrive", async () => {
    await using shop = await openShop(
      (place) =>
        startHttp2App(place, (_, response) => {
          response.writeEarlyHints({ link: "</a.css>" });
          response.addTrailers({ "x-end": "1" });
          response.end("body");
        }),
      { service: http2Port },
    );
    const client = await rawConnection(shop.web);
    client.send("GET / HTTP/1.1\r\nhost: web\r\n\r\n");
    const received = await client.until("0\r\nx-end: 1\r\n\r\n");
    expect(received).toMatch(/^HTTP\/1.1 103 Early Hints\r\nlink: <\/a.css>\r\n/);
  });

  it("refuses methods that some servers read as another method", async () => {
    await using shop = await openShop(startHttpApp);
    const session = await connect(shop.web);
    expect((await read(session.request({ ":method": "get", ":path": "/" }))).headers[":status"]).toBe(400);
    expect((await read(session.request({ ":path": "/" }))).headers[":status"]).toBe(200);
    expect(shop.apps[0]?.requests).toHaveLength(1);
    session.destroy();
  });
});
