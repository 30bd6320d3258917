import http from "node:http";
import type net from "node:net";
import { describe, expect, it } from "vitest";
import { eventually } from "@hairpin/testkit";
import { startHttpApp, startTcpApp, type AppPlace, type TestApp } from "./testing/apps.ts";
import { rawConnection, request } from "./testing/http-client.ts";
import { openShop } from "./testing/shop.ts";
import { serves } from "./testing/test-bed.ts";

const get = (path = "/", more = ""): string => `GET ${path} HTTP/1.1\r\nhost: web\r\n${more}\r\n`;

/** An application that does as told with each connection once something came. */
const raw =
  (onRequest: (socket: net.Socket, count: number) => void) =>
  (place: AppPlace): Promise<TestApp> => {
    let count = 0;
    return startTcpApp(place, (socket) => socket.on("data", () => onRequest(socket, ++count)));
  };

describe("HTTP/1.1 through a waypoint, when something breaks", () => {
  it("tells the application when the client goes away inside a request, and stays up", async () => {
    const closed = Promise.withResolvers<void>();
    await using shop = await openShop((place) =>
      startHttpApp(place, (incoming, response) => {
        if (incoming.url === "/") response.end("ok");
        else incoming.on("close", () => closed.resolve());
      }),
    );
    const client = await rawConnection(shop.web);
    client.send("POST /upload HTTP/1.1\r\nhost: web\r\ncontent-length: 100\r\n\r\nabc");
    await eventually(() => expect(shop.apps[0]?.requests).toHaveLength(1));
    client.socket.resetAndDestroy();
    await closed.promise;
    expect((await request(shop.web, "/")).body).toBe("ok");
    await eventually(() =>
      expect(shop.bed.access()[0]).toMatchObject({ path: "/upload", status: 0, response_flags: "DC" }),
    );
  });

  it("tells the application when the client goes away while it waits for the answer", async () => {
    const closed = Promise.withResolvers<void>();
    await using shop = await openShop((place) =>
      startHttpApp(place, (_, response) => response.on("close", () => closed.resolve())),
    );
    const client = await rawConnection(shop.web);
    client.send(get());
    await eventually(() => expect(shop.apps[0]?.requests).toHaveLength(1));
    client.socket.resetAndDestroy();
    await closed.promise;
  });

  it("answers 503 when the application closes before it answered", async () => {
    await using shop = await openShop(raw((socket) => socket.destroy()));
    const answer = await request(shop.web, "/");
    expect(answer).toMatchObject({
      status: 503,
      body: "upstream connect error or disconnect/reset before headers. reset reason: connection termination",
      headers: { "content-type": "text/plain" },
    });
    // The application may have acted on it: it was asked once.
    expect(shop.apps[0]?.accepted).toBe(1);
    expect(shop.bed.access()[0]).toMatchObject({ status: 503, response_flags: "UC" });
  });

  it.each([
    ["inside its head", "HTTP/1.1 200 OK\r\ncontent-le", 503, "UC"],
    ["with something that is not HTTP", "SSH-2.0-OpenSSH_9\r\n\r\n", 502, "UPE"],
    [
      "with a head that can be read in two ways",
      "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
      502,
      "UPE",
    ],
    ["with a bare line feed", "HTTP/1.1 200 OK\ncontent-length: 1\n\na", 502, "UPE"],
    [
      "with an upgrade nobody asked for",
      "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
      502,
      "UPE",
    ],
    ["with more interim responses than anybody needs", "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(40), 502, "UPE"],
    ["with a head beyond every limit", `HTTP/1.1 200 OK\r\nx: ${"y".repeat(70_000)}\r\n\r\n`, 502, "UPE"],
  ])("answers for an application that breaks off %s", async (_, bytes, status, flag) => {
    await using shop = await openShop(raw((socket) => socket.end(bytes)));
    expect((await request(shop.web, "/")).status).toBe(status);
    expect(shop.bed.access()[0]).toMatchObject({ status, response_flags: flag });
  });

  it("breaks the client's connection when the application dies inside its answer", async () => {
    await using shop = await openShop(
      raw((socket) => {
        socket.write("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nabc", () => socket.resetAndDestroy());
      }),
    );
    await expect(request(shop.web, "/")).rejects.toThrow(/aborted|hang up|ECONNRESET/);
    await eventually(() => expect(shop.bed.access()[0]).toMatchObject({ status: 200, response_flags: "UC" }));
  });

  it("never uses a connection again whose application said more than it was asked", async () => {
    await using shop = await openShop(
      raw((socket, count) => {
        socket.write(
          `HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n${count}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil`,
        );
      }),
    );
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const bodies = [];
    for (let i = 0; i < 3; i++) {
      const answer = await request(shop.web, "/", { agent }).catch((error: Error) => error);
      bodies.push(answer instanceof Error ? "broken" : answer.body);
    }
    expect(bodies).not.toContain("evil");
    expect(shop.apps[0]?.accepted).toBe(3);
    agent.destroy();
  });

  /** Answers the first request of each connection, and drops the connection at the second. */
  const answersOnce = (place: AppPlace): Promise<TestApp> =>
    startTcpApp(place, (socket) => {
      let count = 0;
      socket.on("data", () => {
        if (++count === 1) socket.write("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok");
        else socket.destroy();
      });
    });

  it("retries what may be done twice when a kept connection turns out closed", async () => {
    await using shop = await openShop(answersOnce);
    for (let i = 0; i < 3; i++) expect((await request(shop.web, "/")).status).toBe(200);
    expect(shop.apps[0]?.accepted).toBe(3);
  });

  it("retries a request whose empty body had ended by then", async () => {
    await using shop = await openShop(answersOnce);
    const client = await rawConnection(shop.web);
    client.send(get());
    await client.until("ok");
    client.send("PUT / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n");
    await eventually(() => expect(client.received.match(/200 OK/g)).toHaveLength(2));
  });

  it.each([
    ["a POST, which may have been acted on", { method: "POST" }],
    ["a body, which is gone", { method: "PUT", body: "body" }],
  ])("does not retry %s", async (_, init) => {
    await using shop = await openShop(answersOnce);
    expect((await request(shop.web, "/")).status).toBe(200);
    expect((await request(shop.web, "/", init)).status).toBe(503);
    expect(shop.apps[0]?.accepted).toBe(1);
  });

  it("forgets connections that the application closed while idle", async () => {
    await using shop = await openShop((place) => startHttpApp(place));
    expect((await request(shop.web, "/")).status).toBe(200);
    for (const socket of shop.apps[0]?.sockets ?? []) socket.end();
    await eventually(() => expect(shop.apps[0]?.sockets.size).toBe(0));
    expect((await request(shop.web, "/", { method: "POST", body: "x" })).status).toBe(200);
  });

  it("tries other endpoints when one cannot be reached", async () => {
    await using shop = await openShop(startHttpApp, { pods: 3, random: () => 0 });
    await shop.apps[0]?.[Symbol.asyncDispose]();
    await shop.apps[1]?.[Symbol.asyncDispose]();
    const answer = await request(shop.web, "/", { method: "POST", body: "body" });
    expect(answer).toMatchObject({ status: 200, body: "web-2" });
    // Random alone would have drawn the first one every time.
    expect(shop.pods.map(({ ztunnel }) => ztunnel?.seen.length)).toEqual([1, 1, 1]);
  });

  it("answers 503 after three attempts when no endpoint can be reached", async () => {
    await using shop = await openShop(startHttpApp, { pods: 1 });
    await shop.apps[0]?.[Symbol.asyncDispose]();
    const answer = await request(shop.web, "/");
    expect(answer.status).toBe(503);
    expect(answer.body).toMatch(
      /^upstream connect error or disconnect\/reset before headers\. retried and the latest reset reason: remote connection failure/,
    );
    expect(shop.pods[0]?.ztunnel?.seen).toHaveLength(3);
    expect(shop.bed.access()[0]).toMatchObject({ status: 503, response_flags: "UF,URX" });
  });

  it("answers 503 when there is no endpoint at all", async () => {
    await using shop = await openShop(startHttpApp, { pods: 0 });
    expect(await request(shop.web, "/")).toMatchObject({ status: 503, body: "no healthy upstream" });
    expect(shop.bed.access()[0]).toMatchObject({ status: 503, response_flags: "UH" });
  });

  it("trusts no pod that proves to be somebody else", async () => {
    await using shop = await openShop(startHttpApp);
    const [pod] = shop.pods;
    if (!pod) throw new Error("no pod");
    shop.bed.xds.put({ workloads: [{ ...pod.workload, serviceAccount: "other" }] });
    await shop.bed.settled();
    expect((await request(shop.web, "/")).status).toBe(503);
    expect(shop.apps[0]?.requests).toHaveLength(0);
  });

  it("lets an early answer through and closes, when the rest of the request is not wanted", async () => {
    await using shop = await openShop((place) =>
      startHttpApp(place, (_, response) => {
        response.writeHead(413, { connection: "close" });
        response.end("too large");
      }),
    );
    const client = await rawConnection(shop.web);
    client.send("POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 1000000000\r\n\r\nabc");
    expect(await client.ended()).toContain("too large");
    expect(client.received).toContain("413");
  });

  it("passes a streamed answer on while the request still streams", async () => {
    await using shop = await openShop((place) =>
      startHttpApp(place, (incoming, response) => {
        response.writeHead(200);
        incoming.on("data", (chunk: Buffer) => response.write(`[${chunk.toString()}]`));
        incoming.on("end", () => response.end("end"));
      }),
    );
    const client = await rawConnection(shop.web);
    client.send("POST / HTTP/1.1\r\nhost: web\r\ntransfer-encoding: chunked\r\n\r\n");
    for (const text of ["one", "two"]) {
      client.send(`3\r\n${text}\r\n`);
      await client.until(`[${text}]`);
    }
    client.send("0\r\n\r\n");
    await client.until("end");
    // The connection lives on.
    client.send(get());
    await client.until("200 OK\r\n");
  });

  it("serves clients of HTTP/1.0: framed by the close, or kept when asked to", async () => {
    await using shop = await openShop((place) =>
      startHttpApp(place, (incoming, response) => {
        if (incoming.url === "/length") response.setHeader("content-length", 2);
        response.write("o");
        response.end("k");
      }),
    );
    const old = await rawConnection(shop.web);
    old.send("GET / HTTP/1.0\r\n\r\n");
    const received = await old.ended();
    expect(received).toMatch(/^HTTP\/1.1 200 OK\r\n/);
    expect(received).toContain("connection: close\r\n");
    expect(received).not.toContain("transfer-encoding");
    expect(received.endsWith("\r\n\r\nok")).toBe(true);
    // Without Host the service's name stands in.
    expect(shop.apps[0]?.requests[0]?.headers.host).toBe("web.shop.svc.cluster.local");
    const kept = await rawConnection(shop.web);
    for (let i = 1; i <= 2; i++) {
      kept.send("GET /length HTTP/1.0\r\nhost: web\r\nconnection: keep-alive\r\n\r\n");
      await eventually(() => expect(kept.received.match(/connection: keep-alive/g)).toHaveLength(i));
    }
  });

  it("closes an idle client's connection slowly enough that the last answer is read", async () => {
    await using shop = await openShop(startHttpApp);
    const client = await rawConnection(shop.web);
    client.send(get("/", "connection: close\r\n"));
    expect(await client.ended()).toMatch(/connection: close\r\n[^]*web-0/);
  });

  it("reaches pods that are not captured without a tunnel", async () => {
    await using shop = await openShop(startHttpApp, { captured: false });
    expect((await request(shop.web, "/")).body).toBe("web-0");
  });

  it("uses an endpoint as soon as it is there and none that is gone", async () => {
    await using shop = await openShop(startHttpApp);
    const pod = await shop.bed.addPod("web-new", { services: serves(shop.service) });
    await using _app = await startHttpApp({ name: "web-new", ip: pod.ip });
    shop.bed.xds.remove(shop.pods[0]?.workload.uid ?? "");
    await shop.bed.settled();
    for (let i = 0; i < 5; i++) expect((await request(shop.web, "/")).body).toBe("web-new");
  });
});
