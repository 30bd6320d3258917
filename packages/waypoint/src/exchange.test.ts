import { describe, expect, it } from "vitest";
import { startHttpApp } from "./testing/apps.ts";
import { rawConnection, request } from "./testing/http-client.ts";
import { openShop } from "./testing/shop.ts";

describe("a mistake inside the waypoint", () => {
  it("while an endpoint is drawn is a 500 of that request; its connection and the process go on", async () => {
    const random = { fails: true };
    await using shop = await openShop(startHttpApp, {
      random: () => {
        if (random.fails) throw new Error("no dice");
        return 0;
      },
    });
    const client = await rawConnection(shop.web);
    client.send("GET / HTTP/1.1\r\nhost: web\r\n\r\n");
    expect(await client.until("internal error")).toMatch(/^HTTP\/1.1 500 /);
    expect(shop.bed.access()[0]).toMatchObject({ status: 500, reason: "no dice" });
    random.fails = false;
    client.send("GET / HTTP/1.1\r\nhost: web\r\n\r\n");
    await client.until("web-0");
  });

  it("while a request is planned is a 500 of that request", async () => {
    const random = { fails: true };
    await using shop = await openShop(startHttpApp, {
      random: () => {
        if (random.fails) throw new Error("no dice");
        return 0;
      },
    });
    const backends = [{ namespace: "shop", hostname: shop.service.hostname, port: 80, weight: 1 }];
    shop.bed.putService(shop.service, {
      ports: [{ port: 80, protocol: 1, routes: [{ namespace: "shop", name: "r", rules: [{ backends }] }] }],
    });
    await shop.bed.settled();
    expect((await request(shop.web, "/")).status).toBe(500);
    random.fails = false;
    expect((await request(shop.web, "/")).status).toBe(200);
    expect(shop.bed.lines.find(({ level }) => level === "error")).toMatchObject({ error: "no dice" });
  });

  it("while a byte connection is opened closes that connection", async () => {
    await using shop = await openShop(startHttpApp, {
      random: () => {
        throw new Error("no dice");
      },
      service: { ports: [{ port: 80, protocol: 4 }] },
    });
    const client = await rawConnection(shop.web);
    expect(await client.ended()).toBe("");
    expect(shop.bed.lines.find(({ level }) => level === "error")).toMatchObject({ error: "no dice" });
  });
});
