import { describe, expect, it } from "vitest";
import { hairpinWaypoint } from "@hairpin/shared/api";
import type { Service } from "@hairpin/shared/model";
import { eventually } from "@hairpin/testkit";
import { startHttpApp, type AppPlace, type TestApp } from "./testing/apps.ts";
import { rawConnection, request } from "./testing/http-client.ts";
import { openShop, type Shop } from "./testing/shop.ts";
import { addressOf, serves, type PolicyInit, type RouteInit, type ServiceInit } from "./testing/test-bed.ts";

const { HTTP1 } = hairpinWaypoint.Protocol;
type RuleInit = NonNullable<Exclude<RouteInit["rules"], undefined>>[number];
type FilterCase = NonNullable<NonNullable<RuleInit["filters"]>[number]["filter"]>;

/** A service `web` with pods v1 and v2 as backends of their own. */
async function openStore(
  app: (place: AppPlace) => Promise<TestApp> = startHttpApp,
  random: () => number = Math.random,
) {
  const shop = await openShop(app, { pods: 0, random });
  const backends: Service[] = [];
  const apps: TestApp[] = [];
  for (const name of ["v1", "v2"]) {
    const service = shop.bed.addService({ name });
    const pod = await shop.bed.addPod(name, { services: serves(service) });
    apps.push(await app({ name, ip: pod.ip }));
    backends.push(service);
  }
  const backend = (name: string, more: object = {}) => ({
    namespace: "shop",
    hostname: `${name}.shop.svc.cluster.local`,
    port: 80,
    weight: 1,
    ...more,
  });
  return {
    ...shop,
    backends,
    apps,
    backend,
    async route(...rules: RuleInit[]) {
      shop.bed.putService(shop.service, routed(...rules));
      await shop.bed.settled();
    },
    async [Symbol.asyncDispose]() {
      await shop[Symbol.asyncDispose]();
      for (const running of apps) await running[Symbol.asyncDispose]();
    },
  };
}

function routed(...rules: RuleInit[]): ServiceInit {
  return { ports: [{ port: 80, protocol: HTTP1, routes: [{ namespace: "shop", name: "route", rules }] }] };
}

const status = async (shop: Pick<Shop<TestApp>, "web">, path: string, headers = {}): Promise<number> =>
  (await request(shop.web, path, { headers })).status;

describe("routes of a Service", () => {
  it("lead by path, header, query and method, and anything else is 404", async () => {
    await using store = await openStore();
    await store.route(
      {
        matches: [{ path: { type: hairpinWaypoint.MatchType.PREFIX, value: "/v1" } }],
        backends: [store.backend("v1")],
      },
      {
        matches: [
          { path: { type: hairpinWaypoint.MatchType.PREFIX, value: "/" }, headers: [{ name: "Version", value: "2" }] },
          { path: { type: hairpinWaypoint.MatchType.PREFIX, value: "/" }, queryParams: [{ name: "v", value: "2" }] },
          { path: { type: hairpinWaypoint.MatchType.PREFIX, value: "/" }, method: "PUT" },
        ],
        backends: [store.backend("v2")],
      },
    );
    expect((await request(store.web, "/v1/x")).body).toBe("v1");
    expect((await request(store.web, "/", { headers: { version: "2" } })).body).toBe("v2");
    expect((await request(store.web, "/?v=2&v=3")).body).toBe("v2");
    expect((await request(store.web, "/", { method: "PUT" })).body).toBe("v2");
    expect(await request(store.web, "/v11")).toMatchObject({ status: 404, body: "" });
    expect(store.bed.access().at(-1)).toMatchObject({ status: 404, response_flags: "NR" });
    expect(store.bed.access()[0]).toMatchObject({ route: "shop/route", backend: "v1.shop.svc.cluster.local" });
  });

  it("split by weight, live, on connections that are open", async () => {
    await using store = await openStore();
    const weights = (v1: number, v2: number) =>
      store.route({ backends: [store.backend("v1", { weight: v1 }), store.backend("v2", { weight: v2 })] });
    const client = await rawConnection(store.web);
    let asked = 0;
    const ask = async (): Promise<string> => {
      client.send("GET / HTTP/1.1\r\nhost: web\r\n\r\n");
      asked++;
      await eventually(() => expect(client.received.match(/\r\n\r\nv[12]/g)).toHaveLength(asked), { intervalMs: 1 });
      return client.received.slice(-2);
    };
    await weights(1, 1);
    const halves = [];
    for (let i = 0; i < 60; i++) halves.push(await ask());
    expect(new Set(halves)).toEqual(new Set(["v1", "v2"]));
    await weights(0, 1);
    for (let i = 0; i < 20; i++) expect(await ask()).toBe("v2");
    await weights(1, 0);
    for (let i = 0; i < 20; i++) expect(await ask()).toBe("v1");
  });

  it("answer 500 for their share when a backend is invalid, and for all when no weight is left", async () => {
    const random = { value: 0 };
    await using store = await openStore(startHttpApp, () => random.value);
    await store.route({
      backends: [{ weight: 1, invalidReason: "Service shop/none does not exist" }, store.backend("v2")],
    });
    expect(await request(store.web, "/")).toMatchObject({ status: 500, body: "" });
    expect(store.bed.access().at(-1)).toMatchObject({
      reason: "Service shop/none does not exist",
      response_flags: "-",
    });
    random.value = 0.9;
    expect((await request(store.web, "/")).body).toBe("v2");
    await store.route({ backends: [store.backend("v1", { weight: 0 })] });
    expect(await status(store, "/")).toBe(500);
    await store.route({ backends: [] });
    expect(await status(store, "/")).toBe(500);
    await store.route({ backends: [store.backend("unknown")] });
    expect(await status(store, "/")).toBe(500);
  });

  it("answer 503 when the backend has no endpoint", async () => {
    await using store = await openStore();
    store.bed.addService({ name: "empty" });
    await store.route({ backends: [store.backend("empty")] });
    expect(await request(store.web, "/")).toMatchObject({ status: 503, body: "no healthy upstream" });
  });

  it("answer 504 when the request takes too long, whatever part of it", async () => {
    await using store = await openStore((place) =>
      startHttpApp(place, (incoming, response) => {
        if (incoming.url === "/body") response.write("part");
        else if (incoming.url === "/fast") response.end("ok");
      }),
    );
    await store.route({ requestTimeoutMs: 80, backends: [store.backend("v1")] });
    expect(await request(store.web, "/head")).toMatchObject({ status: 504, body: "upstream request timeout" });
    expect(store.bed.access().at(-1)).toMatchObject({ status: 504, response_flags: "UT" });
    await expect(request(store.web, "/body")).rejects.toThrow();
    expect((await request(store.web, "/fast")).status).toBe(200);
    await store.route({ backendRequestTimeoutMs: 80, backends: [store.backend("v1")] });
    expect((await request(store.web, "/head")).status).toBe(504);
    await expect(request(store.web, "/body")).rejects.toThrow();
    // The application's side of what was given up is given up too.
    await eventually(() => expect(store.apps[0]?.sockets.size).toBeLessThanOrEqual(1));
  });

  it("redirect without asking a backend", async () => {
    await using store = await openStore();
    const filter: FilterCase = {
      case: "requestRedirect",
      value: {
        hostname: "example.org",
        statusCode: 308,
        path: { modifier: { case: "replacePrefixMatch", value: "/new" } },
      },
    };
    await store.route({
      matches: [{ path: { type: hairpinWaypoint.MatchType.PREFIX, value: "/old" } }],
      filters: [{ filter }],
    });
    const answer = await request(store.web, "/old/x?q=1", { method: "POST", body: "kept out" });
    expect(answer).toMatchObject({ status: 308, headers: { location: "http://example.org/new/x?q=1" } });
    expect(store.apps[0]?.requests).toHaveLength(0);
  });

  it("rewrite host and path, and change headers on the way there and back", async () => {
    await using store = await openStore((place) =>
      startHttpApp(place, (_, response) => {
        response.writeHead(200, { "x-app": "1", "set-cookie": ["a=1", "b=2"], server: "app" });
        response.end();
      }),
    );
    const filters: { filter: FilterCase }[] = [
      {
        filter: {
          case: "urlRewrite",
          value: { hostname: "inner", path: { modifier: { case: "replaceFullPath", value: "/full" } } },
        },
      },
      {
        filter: {
          case: "requestHeaderModifier",
          value: {
            set: [{ name: "X-Set", value: "new" }],
            add: [{ name: "x-add", value: "b" }],
            remove: ["x-gone"],
          },
        },
      },
      {
        filter: {
          case: "responseHeaderModifier",
          value: {
            add: [{ name: "set-cookie", value: "c=3" }],
            remove: ["server"],
            set: [{ name: "x-app", value: "2" }],
          },
        },
      },
    ];
    await store.route({ filters, backends: [store.backend("v1")] });
    const answer = await request(store.web, "/x?y=1", { headers: { "x-set": "old", "x-add": "a", "x-gone": "1" } });
    expect(store.apps[0]?.requests[0]).toMatchObject({
      url: "/full?y=1",
      headers: { host: "inner", "x-set": "new", "x-add": "a,b" },
    });
    expect(store.apps[0]?.requests[0]?.headers).not.toHaveProperty("x-gone");
    expect(answer.headers).toMatchObject({ "x-app": "2", "set-cookie": ["a=1", "b=2", "c=3"] });
    expect(answer.headers).not.toHaveProperty("server");
  });

  it("run a backend's filters only for that backend", async () => {
    await using store = await openStore(startHttpApp, () => 0.9);
    const filter: FilterCase = { case: "requestHeaderModifier", value: { set: [{ name: "x-for", value: "v1" }] } };
    await store.route({ backends: [store.backend("v1", { filters: [{ filter }] }), store.backend("v2")] });
    expect((await request(store.web, "/")).body).toBe("v2");
    expect(store.apps[1]?.requests[0]?.headers).not.toHaveProperty("x-for");
  });

  it("answer for the response of a filter that cannot be expressed", async () => {
    await using store = await openStore();
    const filter: FilterCase = { case: "responseHeaderModifier", value: { set: [{ name: "x", value: "a\r\nb" }] } };
    await store.route({ filters: [{ filter }], backends: [store.backend("v1")] });
    expect((await request(store.web, "/")).status).toBe(502);
    const towards: FilterCase = { case: "requestHeaderModifier", value: { set: [{ name: "x", value: "a\r\nb" }] } };
    await store.route({ filters: [{ filter: towards }], backends: [store.backend("v1")] });
    expect((await request(store.web, "/")).status).toBe(502);
    // Neither the client's nor the application's connections were harmed by it.
    await store.route({ backends: [store.backend("v1")] });
    expect((await request(store.web, "/")).status).toBe(200);
  });

  it("answer 500 where a filter is not supported", async () => {
    await using store = await openStore();
    await store.route({
      filters: [{ filter: { case: "unsupported", value: "CORS" } }],
      backends: [store.backend("v1")],
    });
    expect((await request(store.web, "/")).status).toBe(500);
    expect(store.apps[0]?.requests).toHaveLength(0);
  });

  it("of a consumer's namespace replace the producer's for its clients only", async () => {
    await using store = await openStore();
    store.bed.putService(store.service, {
      ports: [
        {
          port: 80,
          protocol: HTTP1,
          routes: [
            { namespace: "shop", name: "producer", rules: [{ backends: [store.backend("v1")] }] },
            {
              namespace: "guest",
              name: "consumer",
              onlyFromNamespace: "guest",
              rules: [{ matches: [{ path: { value: "/only" } }], backends: [store.backend("v2")] }],
            },
          ],
        },
      ],
    });
    await store.bed.settled();
    const guest = await store.bed.client("guest/curl").capture(addressOf(store.service));
    expect((await request(store.web, "/only")).body).toBe("v1");
    expect((await request(guest, "/only")).body).toBe("v2");
    expect((await request(guest, "/")).status).toBe(404);
  });

  it("see the canonical path: what policies see and what the application gets", async () => {
    await using store = await openStore();
    const admin = { type: hairpinWaypoint.MatchType.PREFIX, value: "/admin" };
    const policies: PolicyInit[] = [
      {
        name: "no-secret",
        namespace: "shop",
        action: hairpinWaypoint.Policy_Action.DENY,
        rules: [{ to: [{ paths: ["/admin/secret*"] }] }],
      },
    ];
    const routes: RouteInit[] = [
      {
        namespace: "shop",
        name: "route",
        rules: [{ matches: [{ path: admin }], backends: [store.backend("v2")] }, { backends: [store.backend("v1")] }],
      },
    ];
    store.bed.putService(store.service, { ports: [{ port: 80, protocol: HTTP1, routes }], policies });
    await store.bed.settled();
    const raw = async (target: string): Promise<string> => {
      const client = await rawConnection(store.web);
      client.send(`GET ${target} HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n`);
      const received = await client.ended();
      return `${received.slice(9, 12)} ${received.slice(-2)}`;
    };
    for (const target of ["/admin/x", "/public/../admin/x", "/%61dmin/x", "/.//../admin/x"])
      expect(await raw(target)).toBe("200 v2");
    expect(store.apps[1]?.requests.map(({ url }) => url)).toEqual(["/admin/x", "/admin/x", "/admin/x", "/admin/x"]);
    for (const target of [
      "/admin/secret",
      "/x/../admin/secret/y",
      "/%61dmin/%73ecret",
      "/admin//secret",
      "/admin;x=1/secret",
      "/admin%2Fsecret",
      "//admin/secret",
    ])
      expect(await raw(target)).toMatch(/^403/);
    for (const target of ["/admin/..%2Fsecret", "/x/..;/admin/secret", "/admin#/x", "/a%00b", "/%zz"])
      expect(await raw(target)).toMatch(/^400/);
    expect([...store.apps].flatMap(({ requests }) => requests)).toHaveLength(4);
  });
});
