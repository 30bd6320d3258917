import { describe, expect, it } from "vitest";
import { eventually } from "@hairpin/testkit";
import { startHttpApp, startTcpApp } from "./testing/apps.ts";
import { rawConnection } from "./testing/http-client.ts";
import { openShop } from "./testing/shop.ts";

const upgrade =
  "GET /chat HTTP/1.1\r\nhost: web\r\nconnection: keep-alive, Upgrade\r\nupgrade: WebSocket\r\nsec-websocket-key: abc\r\n\r\n";

describe("websocket through a waypoint", () => {
  it("passes the upgrade and then every byte both ways, with half-close", async () => {
    await using shop = await openShop(startHttpApp);
    const client = await rawConnection(shop.web);
    client.send(upgrade);
    const received = await client.until("hello");
    expect(received).toMatch(/^HTTP\/1.1 101 Switching Protocols\r\n/);
    expect(received).toContain("x-app: up\r\n");
    expect(received.toLowerCase()).toContain("connection: upgrade\r\n");
    expect(shop.apps[0]?.requests[0]?.headers).toMatchObject({ upgrade: "websocket", "sec-websocket-key": "abc" });
    client.send("GET / HTTP/1.1\r\n\r\n");
    await client.until("GET / HTTP/1.1\r\n\r\n");
    client.send("ping");
    await client.until("PING");
    client.socket.end();
    expect(await client.ended()).toMatch(/bye$/);
    await eventually(() => expect(shop.bed.access()[0]).toMatchObject({ status: 101, response_flags: "-" }));
  });

  it("keeps bytes that the client sent ahead of the answer", async () => {
    await using shop = await openShop(startHttpApp);
    const client = await rawConnection(shop.web);
    client.send(`${upgrade}early`);
    await client.until("EARLY");
  });

  it.each(["", "early"])("keeps the end of a client that ended ahead of the answer, after %j", async (early) => {
    await using shop = await openShop(startHttpApp);
    const client = await rawConnection(shop.web);
    client.socket.end(upgrade + early);
    expect(await client.ended()).toMatch(new RegExp(`hello${early.toUpperCase()}bye$`));
  });

  it("goes on as HTTP when the application does not want to upgrade", async () => {
    await using shop = await openShop((place) =>
      startTcpApp(place, (socket) => {
        socket.on("data", () => socket.write("HTTP/1.1 426 Upgrade Required\r\ncontent-length: 2\r\n\r\nno"));
      }),
    );
    const client = await rawConnection(shop.web);
    client.send(upgrade);
    await client.until("no");
    client.send("GET / HTTP/1.1\r\nhost: web\r\n\r\n");
    await eventually(() => expect(client.received.match(/426/g)).toHaveLength(2));
    expect(shop.apps[0]?.accepted).toBe(1);
  });

  it("tells the application when the client is gone, and the client when the application is", async () => {
    await using shop = await openShop(startHttpApp);
    const first = await rawConnection(shop.web);
    first.send(upgrade);
    await first.until("hello");
    first.socket.resetAndDestroy();
    await eventually(() => expect(shop.apps[0]?.sockets.size).toBe(0));
    const second = await rawConnection(shop.web);
    second.send(upgrade);
    await second.until("hello");
    for (const socket of shop.apps[0]?.sockets ?? []) socket.resetAndDestroy();
    await second.ended();
  });

  it.each([
    [
      "h2c",
      "GET / HTTP/1.1\r\nhost: web\r\nconnection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n\r\n",
    ],
    ["an unknown protocol", "GET / HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: evil\r\n\r\n"],
    [
      "websocket of a request with a body",
      "POST / HTTP/1.1\r\nhost: web\r\nconnection: upgrade\r\nupgrade: websocket\r\ncontent-length: 1\r\n\r\nx",
    ],
  ])("passes on a request that asks for %s without its wish", async (_, bytes) => {
    await using shop = await openShop(startHttpApp);
    const client = await rawConnection(shop.web);
    client.send(bytes);
    expect(await client.until("web-0")).toContain("200 OK");
    const [seen] = shop.apps[0]?.requests ?? [];
    expect(seen?.headers.upgrade).toBeUndefined();
    expect(seen?.headers["http2-settings"]).toBeUndefined();
  });
});
