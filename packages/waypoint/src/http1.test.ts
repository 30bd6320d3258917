import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import http from "node:http";
import { describe, expect, it } from "vitest";
import { eventually } from "@hairpin/testkit";
import { startHttpApp, startTcpApp } from "./testing/apps.ts";
import { rawConnection, request } from "./testing/http-client.ts";
import { openShop } from "./testing/shop.ts";

const get = (path = "/", more = ""): string => `GET ${path} HTTP/1.1\r\nhost: web\r\n${more}\r\n`;

describe("HTTP/1.1 through a waypoint", () => {
  it("reaches the application with the request as it was, an id and how it came", async () => {
    await using shop = await openShop(startHttpApp);
    const answer = await request(shop.web, "/a/b?x=1&y=%20", { headers: { "x-custom": "1" } });
    expect(answer).toMatchObject({ status: 200, body: "web-0" });
    const [seen] = shop.apps[0]?.requests ?? [];
    expect(seen).toMatchObject({
      method: "GET",
      url: "/a/b?x=1&y=%20",
      httpVersion: "1.1",
      headers: { host: "web", "x-custom": "1", "x-forwarded-proto": "http" },
    });
    expect(seen?.headers["x-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
  });

  it("keeps connections to the client and to the application for further requests", async () => {
    await using shop = await openShop(startHttpApp);
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    for (let i = 0; i < 5; i++) expect((await request(shop.web, `/${i}`, { agent })).status).toBe(200);
    expect(shop.apps[0]?.accepted).toBe(1);
    expect(shop.pods[0]?.ztunnel?.seen).toHaveLength(1);
    agent.destroy();
  });

  it("answers pipelined requests in order, however many come at once", async () => {
    await using shop = await openShop((place) =>
      startHttpApp(place, (incoming, response) => response.end(`<${incoming.url}>`)),
    );
    const client = await rawConnection(shop.web);
    const paths = Array.from({ length: 500 }, (_, i) => `/${i}`);
    client.send(paths.map((path) => get(path)).join(""));
    const received = await client.until("</499>");
    expect([...received.matchAll(/<(.*?)>/g)].map(([, path]) => path)).toEqual(paths);
  });

  it("answers thousands of pipelined requests that are refused here", async () => {
    await using shop = await openShop(startHttpApp);
    shop.bed.putService(shop.service, { policies: [{ name: "nobody", namespace: "shop" }] });
    await shop.bed.settled();
    const client = await rawConnection(shop.web);
    client.send(get().repeat(5000) + get("/last", "connection: close\r\n"));
    const received = await client.ended();
    expect(received.match(/HTTP\/1.1 403 Forbidden/g)).toHaveLength(5001);
    expect(shop.apps[0]?.requests).toHaveLength(0);
  });

  it("serves a client that ended its direction after the request, pipelined ones too", async () => {
    await using shop = await openShop(startHttpApp);
    const client = await rawConnection(shop.web);
    client.send(get("/1") + get("/2"));
    client.socket.end();
    expect((await client.ended()).match(/200 OK/g)).toHaveLength(2);
  });

  it("passes chunked bodies and trailers both ways", async () => {
    await using shop = await openShop((place) =>
      startHttpApp(place, (incoming, response) => {
        let body = "";
        incoming.on("data", (chunk: Buffer) => (body += chunk.toString()));
        incoming.on("end", () => {
          response.writeHead(200, { trailer: "x-end" });
          response.write(`${body}|`);
          response.addTrailers({ "x-end": incoming.trailers["x-sum"] ?? "none" });
          response.end("done");
        });
      }),
    );
    const client = await rawConnection(shop.web);
    client.send(
      "POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\ntrailer: x-sum\r\n\r\n3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nx-sum: 5\r\n\r\n",
    );
    const received = await client.until("x-end: 5\r\n\r\n");
    expect(received).toContain("transfer-encoding: chunked");
    const [, chunks = ""] = received.split("\r\n\r\n");
    expect(
      chunks
        .split("\r\n")
        .filter((_, i) => i % 2 === 1)
        .join(""),
    ).toContain("abcde|done");
  });

  it("passes interim responses on, and asks for the body when the application does", async () => {
    await using shop = await openShop((place) =>
      startHttpApp(place, (incoming, response) => {
        response.writeEarlyHints({ link: "</a.css>; rel=preload" });
        response.writeContinue();
        incoming.resume().on("end", () => response.end("thanks"));
      }),
    );
    const client = await rawConnection(shop.web);
    client.send("POST / HTTP/1.1\r\nhost: web\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\n");
    expect(await client.until("100 Continue")).toContain("103 Early Hints\r\nlink: </a.css>; rel=preload");
    client.send("abc");
    expect(await client.until("thanks")).toContain("HTTP/1.1 200 OK");
  });

  it("sends a response's head when it comes, not when its body does", async () => {
    await using shop = await openShop((place) => startHttpApp(place, (_, response) => response.flushHeaders()));
    const client = await rawConnection(shop.web);
    client.send(get());
    expect(await client.until("\r\n\r\n")).toContain("200 OK");
  });

  it("keeps the head of a HEAD, 204 and 304 response and sends no body", async () => {
    await using shop = await openShop((place) =>
      startTcpApp(place, (socket) => {
        socket.on("data", (chunk) => {
          const text = chunk.toString();
          if (text.startsWith("HEAD")) socket.write("HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n");
          else if (text.includes("/204")) socket.write("HTTP/1.1 204 No Content\r\ncontent-length: 0\r\n\r\n");
          else socket.write('HTTP/1.1 304 Not Modified\r\netag: "x"\r\ncontent-length: 9\r\n\r\n');
        });
      }),
    );
    const client = await rawConnection(shop.web);
    client.send(`HEAD / HTTP/1.1\r\nhost: web\r\n\r\n${get("/204")}${get("/304")}`);
    const received = await client.until('etag: "x"\r\ncontent-length: 9\r\n\r\n');
    expect(received).toContain(
      "HTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\nHTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 304",
    );
  });

  it("keeps every byte of large bodies in both directions at once", async () => {
    await using shop = await openShop((place) =>
      startHttpApp(place, (incoming, response) => void incoming.pipe(response)),
    );
    const body = randomBytes(24 * 1024 * 1024);
    const hash = (bytes: Uint8Array): string => createHash("sha256").update(bytes).digest("hex");
    const answer = await request(shop.web, "/", { method: "POST", body });
    expect(hash(Buffer.from(answer.body, "latin1"))).toBe(hash(body));
  });

  it("stops an application whose client does not read, and goes on when it does", async () => {
    let written = 0;
    const total = 64 * 1024 * 1024;
    await using shop = await openShop((place) =>
      startHttpApp(place, (_, response) => {
        const chunk = Buffer.alloc(256 * 1024, 7);
        const more = (): void => {
          while (written < total) {
            written += chunk.length;
            if (!response.write(chunk)) {
              response.once("drain", more);
              return;
            }
          }
          response.end();
        };
        more();
      }),
    );
    const outgoing = http.get({ host: shop.web.host, port: shop.web.port, agent: false, headers: { host: "web" } });
    const [response] = (await once(outgoing, "response")) as [http.IncomingMessage];
    // Paused from here on: what the application writes comes to a stop.
    let before = -1;
    await eventually(
      () => {
        const stopped = written === before && written > 0;
        before = written;
        if (!stopped) throw new Error("still writing");
      },
      { intervalMs: 100 },
    );
    expect(written).toBeLessThan(total);
    let read = 0;
    for await (const chunk of response) read += (chunk as Buffer).length;
    expect(read).toBe(total);
  });

  it("stops a client whose application does not read, and keeps its bytes", async () => {
    const resumed = Promise.withResolvers<http.IncomingMessage>();
    await using shop = await openShop((place) =>
      startHttpApp(place, (incoming, response) => {
        resumed.resolve(incoming);
        const sum = createHash("sha256");
        incoming.pause();
        incoming.on("data", (chunk: Buffer) => sum.update(chunk));
        incoming.pause();
        incoming.on("end", () => response.end(sum.digest("hex")));
      }),
    );
    const body = randomBytes(48 * 1024 * 1024);
    const client = await rawConnection(shop.web);
    client.send(`POST / HTTP/1.1\r\nhost: web\r\ncontent-length: ${body.length}\r\n\r\n`);
    client.send(body);
    const incoming = await resumed.promise;
    let before = -1;
    await eventually(
      () => {
        const stopped = client.socket.bytesWritten - client.socket.writableLength === before;
        before = client.socket.bytesWritten - client.socket.writableLength;
        if (!stopped) throw new Error("still sending");
      },
      { intervalMs: 100 },
    );
    expect(client.socket.writableLength).toBeGreaterThan(0);
    incoming.resume();
    expect(await client.until(createHash("sha256").update(body).digest("hex"))).toContain("200 OK");
  });

  it("holds what a paused application's stream already gave without spoiling it", async () => {
    // Small chunks that arrive while the other side is full are copied: their memory is used again at once.
    await using shop = await openShop((place) =>
      startHttpApp(place, (incoming, response) => {
        incoming.on("data", (chunk: Buffer) => {
          if (!response.write(chunk)) {
            incoming.pause();
            response.once("drain", () => incoming.resume());
          }
        });
        incoming.on("end", () => response.end());
      }),
    );
    const bodies = Array.from({ length: 6 }, () => randomBytes(3 * 1024 * 1024));
    const answers = await Promise.all(bodies.map((body) => request(shop.web, "/", { method: "POST", body })));
    for (const [i, answer] of answers.entries())
      expect(Buffer.from(answer.body, "latin1").equals(bodies[i] ?? Buffer.alloc(0))).toBe(true);
  });
});
