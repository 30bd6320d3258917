import { createHash, randomBytes } from "node:crypto";
import http2 from "node:http2";
import { once } from "node:events";
import { describe, expect, it } from "vitest";
import { eventually, startEchoServer } from "@hairpin/testkit";
import { hairpinWaypoint } from "@hairpin/shared/api";
import { startHttpApp } from "./testing/apps.ts";
import { rawConnection, request } from "./testing/http-client.ts";
import { openShop } from "./testing/shop.ts";
import { createTestBed } from "./testing/test-bed.ts";

describe("a waypoint that starts", () => {
  it("is ready and listens only when it has its configuration and a certificate", async () => {
    await using bed = await createTestBed({ settings: { ca: noServer } });
    for (const component of bed.waypoint.components) await component.start();
    await eventually(() => expect(bed.lines.some(({ message }) => message === "no certificate yet")).toBe(true));
    const { status, body } = await bed.readiness();
    expect(status).toBe(500);
    expect(body).toContain("certificate");
    expect(bed.waypoint.listener.port).toBe(0);
  });

  it("is not ready without the control plane", async () => {
    await using bed = await createTestBed({ settings: { xds: noServer } });
    for (const component of bed.waypoint.components) await component.start();
    await eventually(async () => expect((await bed.readiness()).body).toBe("not ready, pending: state manager\n"));
    expect(bed.waypoint.listener.port).toBe(0);
  });

  it("is ready with both, and keeps serving when the control plane goes away", async () => {
    await using shop = await openShop(startHttpApp);
    expect((await shop.bed.readiness()).status).toBe(200);
    await shop.bed.xds.close();
    expect((await request(shop.web, "/")).status).toBe(200);
    expect((await shop.bed.readiness()).status).toBe(200);
  });
});

const noServer = {
  address: "http://127.0.0.1:9",
  root: { kind: "system" },
  alternativeHostname: undefined,
  headers: {},
} as const;

describe("configuration that changes", () => {
  it("holds for the next request of a connection that is open", async () => {
    await using shop = await openShop(startHttpApp);
    const client = await rawConnection(shop.web);
    const ask = async (count: number): Promise<string> => {
      client.send("GET / HTTP/1.1\r\nhost: web\r\n\r\n");
      await eventually(() => expect(client.received.match(/HTTP\/1.1 \d/g)).toHaveLength(count), { intervalMs: 1 });
      return /.*HTTP\/1.1 (\d+)/s.exec(client.received)?.[1] ?? "";
    };
    expect(await ask(1)).toBe("200");
    shop.bed.putService(shop.service, { policies: [{ name: "nobody", namespace: "shop" }] });
    await shop.bed.settled();
    expect(await ask(2)).toBe("403");
    shop.bed.putService(shop.service);
    shop.bed.putGateway({ policies: [{ name: "nobody", namespace: "shop" }] });
    await shop.bed.settled();
    expect(await ask(3)).toBe("403");
    shop.bed.putGateway();
    await shop.bed.settled();
    expect(await ask(4)).toBe("200");
    // The waypoint is no longer responsible: the connection is of no use.
    shop.bed.putService(shop.service, { ports: [] });
    await shop.bed.settled();
    expect(await ask(5)).toBe("503");
    await client.ended();
  });

  it("keeps the last good version of what cannot be read", async () => {
    await using shop = await openShop(startHttpApp, {
      service: { policies: [{ name: "nobody", namespace: "shop" }] },
    });
    shop.bed.xds.putRaw("type.googleapis.com/hairpin.waypoint.v1.Service", {
      name: `shop/waypoint/shop/${shop.service.hostname}`,
      body: new Uint8Array([0xff, 0xff, 0xff]),
    });
    await eventually(() => expect(shop.bed.lines.some(({ level }) => level === "warn")).toBe(true));
    expect((await request(shop.web, "/")).status).toBe(403);
  });
});

describe("a waypoint that drains", () => {
  it("lets requests finish, says so to their clients, and takes no new connections", async () => {
    const { promise: finish, resolve } = Promise.withResolvers<void>();
    await using shop = await openShop((place) =>
      startHttpApp(place, (_, response) => {
        response.write("begun ");
        void finish.then(() => response.end("finished"));
      }),
    );
    const running = await rawConnection(shop.web);
    running.send("GET / HTTP/1.1\r\nhost: web\r\n\r\n");
    await running.until("begun");
    const idle = await rawConnection(shop.web);
    const socket = await shop.web.connect();
    const session = http2.connect("http://web", { createConnection: () => socket });
    const goaway = once(session, "goaway");
    const stream = session.request({ ":path": "/" });
    await once(stream, "response");
    const drained = shop.bed.waypoint.drain();
    await goaway;
    await idle.ended();
    expect(shop.bed.waypoint.listener.port).toBe(0);
    await expect(shop.bed.client().tunnel("10.96.0.1:80")).rejects.toThrow();
    resolve();
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    expect(Buffer.concat(chunks).toString()).toBe("begun finished");
    expect(await running.ended()).toContain("finished");
    await drained;
    expect(shop.bed.lines.find(({ message }) => message === "drained")).toMatchObject({ outcome: "empty" });
    session.destroy();
  });

  it("tells a client whose connection would be kept that this was the last answer", async () => {
    await using shop = await openShop((place) =>
      startHttpApp(place, (incoming, response) => void incoming.resume().on("end", () => response.end("ok"))),
    );
    const client = await rawConnection(shop.web);
    client.send("GET / HTTP/1.1\r\nhost: web\r\ncontent-length: 1\r\n\r\n");
    await eventually(() => expect(shop.apps[0]?.requests).toHaveLength(1));
    const drained = shop.bed.waypoint.drain();
    client.send("x");
    expect(await client.ended()).toContain("connection: close\r\n");
    await drained;
  });

  it("ends what did not finish at the deadline", async () => {
    await using shop = await openShop(startHttpApp, { settings: { drainDeadlineMs: 50 } });
    const client = await rawConnection(shop.web);
    client.send("POST / HTTP/1.1\r\nhost: web\r\ncontent-length: 10\r\n\r\n");
    await eventually(() => expect(shop.apps[0]?.requests).toHaveLength(1));
    await shop.bed.waypoint.drain();
    expect(shop.bed.lines.find(({ message }) => message === "drained")).toMatchObject({
      outcome: "deadline",
      tunnels: 1,
    });
    for (const component of shop.bed.waypoint.components.toReversed()) await component.stop();
    await client.ended();
  });

  it("relays bytes until their connection ends", async () => {
    await using shop = await openShop((place) => startEchoServer({ host: place.ip, port: 8080 }), {
      service: { ports: [{ port: 80, protocol: hairpinWaypoint.Protocol.TCP }] },
    });
    const client = await rawConnection(shop.web);
    client.send("1");
    await client.until("1");
    const drained = shop.bed.waypoint.drain();
    client.send("2");
    await client.until("2");
    client.socket.end();
    await drained;
  });
});

describe("a busy waypoint", () => {
  it("keeps many mixed exchanges apart, and leaves nothing behind", async () => {
    await using shop = await openShop(
      (place) =>
        startHttpApp(place, (incoming, response) => {
          const sum = createHash("sha256");
          incoming.on("data", (chunk: Buffer) => sum.update(chunk));
          incoming.on("end", () => response.end(sum.digest("hex")));
        }),
      { pods: 3 },
    );
    const exchange = async (index: number): Promise<void> => {
      const body = randomBytes(1 + ((index * 7919) % 200_000));
      if (index % 10 === 9) {
        const client = await rawConnection(shop.web);
        client.send(`POST / HTTP/1.1\r\nhost: web\r\ncontent-length: ${body.length + 1}\r\n\r\n`);
        client.send(body);
        client.socket.resetAndDestroy();
        return;
      }
      const answer = await request(shop.web, `/${index}`, { method: "POST", body });
      expect(answer.body).toBe(createHash("sha256").update(body).digest("hex"));
    };
    await Promise.all(Array.from({ length: 200 }, (_, index) => exchange(index)));
    await shop.bed.waypoint.drain();
    expect(shop.bed.lines.find(({ message }) => message === "drained")).toMatchObject({ outcome: "empty" });
    expect(shop.bed.lines.filter(({ level }) => level === "error")).toEqual([]);
  });
});
