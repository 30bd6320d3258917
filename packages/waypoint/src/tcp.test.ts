import { createHash, randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { hairpinWaypoint } from "@hairpin/shared/api";
import { aMatch, aPolicy, eventually, startEchoServer } from "@hairpin/testkit";
import { startHttpApp, startTcpApp, type AppPlace } from "./testing/apps.ts";
import { rawConnection } from "./testing/http-client.ts";
import { openShop } from "./testing/shop.ts";
import { addressOf, serves } from "./testing/test-bed.ts";

const { TCP, UNKNOWN, HTTP1 } = hairpinWaypoint.Protocol;
const port = (protocol: hairpinWaypoint.Protocol) => ({ ports: [{ port: 80, protocol }] });
const echo = ({ ip }: AppPlace) => startEchoServer({ host: ip, port: 8080 });
const denyCurl = {
  name: "no-curl",
  namespace: "shop",
  action: hairpinWaypoint.Policy_Action.DENY,
  rules: [{ from: [{ principals: ["cluster.local/ns/shop/sa/curl"] }] }],
};

describe("bytes through a waypoint", () => {
  it("are relayed both ways with half-close and every byte kept", async () => {
    await using shop = await openShop(echo, { service: port(TCP) });
    const socket = await shop.web.connect();
    const sent = randomBytes(8 * 1024 * 1024);
    const sum = createHash("sha256");
    const received = (async () => {
      for await (const chunk of socket) sum.update(chunk as Buffer);
    })();
    socket.end(sent);
    await received;
    expect(sum.digest("hex")).toBe(createHash("sha256").update(sent).digest("hex"));
    await eventually(() =>
      expect(shop.bed.access()[0]).toMatchObject({
        message: "connection complete",
        "dst.workload": "web-0",
        bytes_sent: sent.length,
        bytes_recv: sent.length,
      }),
    );
  });

  it("are counted while the connection is open", async () => {
    await using shop = await openShop(echo, { service: port(TCP) });
    const client = await rawConnection(shop.web);
    client.send("12345");
    await client.until("12345");
    const metrics = await shop.bed.metrics();
    expect(metrics).toMatch(/^istio_tcp_connections_opened_total\{.*\} 1$/m);
    expect(metrics).toMatch(/^istio_tcp_received_bytes_total\{.*\} 5$/m);
    expect(metrics).toMatch(/^istio_tcp_sent_bytes_total\{.*\} 5$/m);
    expect(metrics).not.toMatch(/^istio_tcp_connections_closed_total\{/m);
    client.socket.end();
    await client.ended();
    await eventually(async () =>
      expect(await shop.bed.metrics()).toMatch(/^istio_tcp_connections_closed_total\{.*\} 1$/m),
    );
    expect(await shop.bed.metrics()).toMatch(/^istio_tcp_received_bytes_total\{.*\} 5$/m);
  });

  it("go to another endpoint when one cannot be reached", async () => {
    await using shop = await openShop(echo, { service: port(TCP), pods: 2, random: () => 0 });
    await shop.apps[0]?.close();
    const client = await rawConnection(shop.web);
    client.send("x");
    await client.until("x");
  });

  it("are refused by the policies of Service and Gateway: the connection closes without a byte", async () => {
    await using shop = await openShop(echo, { service: { ...port(TCP), policies: [denyCurl] } });
    const client = await rawConnection(shop.web);
    client.send("x");
    expect(await client.ended()).toBe("");
    expect(shop.bed.access()[0]).toMatchObject({
      error: "explicitly denied by: shop/no-curl",
      policy: "shop/no-curl",
      rule: 0,
    });
    expect(await shop.bed.metrics()).toContain('hairpin_waypoint_tunnels_refused_total{reason="denied"} 1');
    const friend = await rawConnection(await shop.bed.client("shop/friend").capture(addressOf(shop.service)));
    friend.send("x");
    await friend.until("x");
  });

  it("are cut when a policy comes that refuses them, and only those", async () => {
    await using shop = await openShop(echo, { service: port(TCP) });
    const curl = await rawConnection(shop.web);
    const friend = await rawConnection(await shop.bed.client("shop/friend").capture(addressOf(shop.service)));
    for (const client of [curl, friend]) {
      client.send("1");
      await client.until("1");
    }
    shop.bed.putService(shop.service, { ...port(TCP), policies: [denyCurl] });
    await curl.ended();
    friend.send("2");
    await friend.until("2");
    await eventually(() =>
      expect(shop.bed.access()[0]).toMatchObject({ error: "explicitly denied by: shop/no-curl", bytes_recv: 1 }),
    );
  });

  it("are cut when the endpoint's own L4 policies refuse the caller from now on", async () => {
    await using shop = await openShop(echo, { service: port(TCP) });
    const client = await rawConnection(shop.web);
    client.send("1");
    await client.until("1");
    const match = aMatch({ principals: [{ kind: "exact", value: "cluster.local/ns/shop/sa/curl" }] });
    shop.bed.addPolicy(aPolicy({ namespace: "shop", name: "l4", rules: [{ clauses: [[match]] }] }));
    await client.ended();
    await eventually(() => expect(shop.bed.access()[0]).toMatchObject({ error: "explicitly denied by: shop/l4" }));
  });

  it("are cut when what refuses them came while their endpoint was connected", async () => {
    await using shop = await openShop(echo, { service: port(TCP) });
    const ztunnel = shop.pods[0]?.ztunnel;
    if (!ztunnel) throw new Error("no ztunnel");
    const { promise, resolve } = Promise.withResolvers<void>();
    ztunnel.holdUntil = promise;
    const client = await rawConnection(shop.web);
    await eventually(() => expect(ztunnel.seen).toHaveLength(1));
    shop.bed.putService(shop.service, { ...port(TCP), policies: [denyCurl] });
    await shop.bed.settled();
    resolve();
    await client.ended();
    await eventually(() => expect(shop.bed.access()[0]).toMatchObject({ policy: "shop/no-curl" }));
  });

  it("are cut when the waypoint manages their service no more", async () => {
    await using shop = await openShop(echo, { service: port(TCP) });
    const client = await rawConnection(shop.web);
    client.send("1");
    await client.until("1");
    shop.bed.putService(shop.service, { ports: [] });
    await client.ended();
  });

  it("follow TCP routes by weight, and are refused where a route leads nowhere", async () => {
    await using shop = await openShop(echo, { service: port(TCP) });
    const other = shop.bed.addService({ name: "other" });
    const pod = await shop.bed.addPod("other-0", { services: serves(other) });
    await using _app = await startTcpApp({ name: "other", ip: pod.ip }, (socket) => void socket.write("other"));
    const routed = (backend: object) => ({
      ports: [
        {
          port: 80,
          protocol: TCP,
          routes: [
            {
              kind: hairpinWaypoint.RouteKind.TCP_ROUTE,
              namespace: "shop",
              name: "r",
              rules: [{ backends: [{ namespace: "shop", port: 80, weight: 1, ...backend }] }],
            },
          ],
        },
      ],
    });
    shop.bed.putService(shop.service, routed({ hostname: other.hostname }));
    await shop.bed.settled();
    await (await rawConnection(shop.web)).until("other");
    shop.bed.putService(shop.service, routed({ hostname: "", invalidReason: "Service shop/none does not exist" }));
    await shop.bed.settled();
    expect(await (await rawConnection(shop.web)).ended()).toBe("");
    expect(shop.bed.access().at(-1)).toMatchObject({
      error: "TCP route shop/r: Service shop/none does not exist",
    });
  });
});

describe("a port without a known protocol", () => {
  it("is HTTP when the client's first bytes are, and then has routes and policies", async () => {
    await using shop = await openShop(startHttpApp, { service: port(UNKNOWN) });
    const client = await rawConnection(shop.web);
    // The first bytes may come one by one.
    for (const byte of "GET / HTTP/1.1\r\nhost: web\r\n\r\n") client.send(byte);
    await client.until("web-0");
    expect(shop.bed.access()[0]).toMatchObject({ message: "request complete", status: 200 });
  });

  it("is bytes when they are anything else", async () => {
    await using shop = await openShop(echo, { service: port(UNKNOWN) });
    const client = await rawConnection(shop.web);
    client.send("\x16\x03\x01\x02\x00");
    await client.until("\x16\x03\x01\x02\x00");
    client.socket.end();
    await client.ended();
    await eventually(() => expect(shop.bed.access()[0]).toMatchObject({ message: "connection complete" }));
  });

  it("is bytes when the client waits for the server to speak", async () => {
    await using shop = await openShop((place) => startTcpApp(place, (socket) => void socket.write("220 welcome\r\n")), {
      service: port(UNKNOWN),
    });
    const client = await rawConnection(shop.web);
    const before = performance.now();
    await client.until("220 welcome");
    expect(performance.now() - before).toBeGreaterThan(150);
  });

  it("loses no byte of a client that began like HTTP and fell silent", async () => {
    await using shop = await openShop(echo, { service: port(UNKNOWN) });
    const client = await rawConnection(shop.web);
    client.send("PO");
    await client.until("PO");
    client.send("GO");
    await client.until("POGO");
  });

  it("is bytes also when the client ends at once", async () => {
    await using shop = await openShop(echo, { service: port(UNKNOWN) });
    const client = await rawConnection(shop.web);
    client.socket.end("GE");
    expect(await client.ended()).toBe("GE");
  });
});

describe("a port that is declared HTTP", () => {
  it("refuses what is not", async () => {
    await using shop = await openShop(startHttpApp, { service: port(HTTP1) });
    const client = await rawConnection(shop.web);
    client.send("\x16\x03\x01\x02\x00\r\n\r\n");
    expect(await client.ended()).toMatch(/^HTTP\/1.1 400 Bad Request\r\n/);
    expect(shop.apps[0]?.accepted).toBe(0);
  });
});
