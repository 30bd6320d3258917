// Nobody passes by a waypoint: every way round it that TCP offers, on manifests/enforcement.yaml. The server's policy lets
// everybody read and only `admin` write.
import { eventually } from "@hairpin/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { seenBy, type ToldCall } from "./harness/call-loop.ts";
import { type ConnectOrder, HandmadeClients } from "./harness/handmade-client.ts";
import { type PodName, ScenarioMesh } from "./harness/scenario-mesh.ts";

let mesh: ScenarioMesh;
let clients: HandmadeClients;
let reviews: string;
let waypoint: string;

beforeAll(async () => {
  mesh = await ScenarioMesh.start("e2e-enforce", "enforcement.yaml");
  clients = await HandmadeClients.of(mesh);
  reviews = await mesh.podIp("shop/reviews");
  const [pod = ""] = await mesh.waypointPods("shop", "waypoint");
  waypoint = await mesh.podIp(`shop/${pod}`);
});
afterAll(async () => {
  await mesh?.[Symbol.asyncDispose]();
});

const denied = { status: 403, body: "RBAC: access denied" };
const admin = "spiffe://cluster.local/ns/shop/sa/admin";
const asGateway = (namespace: string, name: string): string =>
  `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: ${name}, namespace: ${namespace}}
spec:
  gatewayClassName: istio-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
`;

/** The waypoint gives every request an id; a request without one came another way. */
function passedWaypoint(answer: { readonly body?: string }): boolean {
  return seenBy(answer).headers["x-request-id"] !== undefined;
}

describe("a policy on a Service lets its method through and refuses another", () => {
  it.each<[string, PodName, () => string]>([
    ["for a captured caller by Service", "shop/client", () => "http://reviews/"],
    ["for a captured caller of another namespace by Service", "late/client", () => "http://reviews.shop/"],
    ["for a captured caller by pod IP", "shop/client", () => `http://${reviews}:8080/`],
    ["for an outsider by Service", "outside/client", () => "http://reviews.shop/"],
    ["for an outsider by pod IP", "outside/client", () => `http://${reviews}:8080/`],
  ])("%s", async (_who, from, url) => {
    const read = await mesh.curl(from, url());
    expect(read.status).toBe(200);
    expect(passedWaypoint(read)).toBe(true);
    expect(await mesh.curl(from, url(), { method: "POST" })).toMatchObject(denied);
  });

  it("for a hand-made HBONE client that skips the waypoint", async () => {
    const authority = `${reviews}:8080`;
    const connects: ConnectOrder[] = [{ authority }, { authority, method: "POST" }];
    const order = { from: "outside/client", to: reviews, expect: ["shop/reviews"], connects } as const;
    const results = await clients.call({ ...order, as: "shop/client" });
    expect(results.map(({ status }) => status)).toEqual([200, 403]);
    expect(results[0]?.answer).toContain('"x-request-id"');
    const byAdmin = await clients.call({ ...order, as: "shop/admin" });
    expect(byAdmin.map(({ status }) => status)).toEqual([200, 200]);
  });

  it.each<PodName>(["shop/client", "outside/client"])("for %s by another Service of the same pods", async (from) => {
    const url = "http://reviews-alias.shop/";
    const read = await mesh.curl(from, url);
    expect(read.status).toBe(200);
    expect(passedWaypoint(read)).toBe(true);
    expect(await mesh.curl(from, url, { method: "POST" })).toMatchObject(denied);
  });

  it("and ztunnel's log names the waypoint that the connection was sent to", async () => {
    await mesh.curl("outside/client", `http://${reviews}:8080/`);
    const line = await mesh.findAccess({ direction: "inbound", hairpin: "shop/waypoint", "src.namespace": "outside" });
    expect(line.fields["dst.addr"]).toBe(`${reviews}:8080`);
  });
});

describe("a namespace that asks for permissive", () => {
  it("has its waypoint passed by, until it asks no more", async () => {
    const url = `http://${reviews}:8080/`;
    const namespace = (annotations: string): string =>
      `apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}, annotations: {${annotations}}}\n`;
    await mesh.apply(namespace("hairpin.mesh/waypoint-enforcement: permissive"));
    await eventually(async () => {
      const answer = await mesh.curl("outside/client", url, { method: "POST" });
      expect(answer.status).toBe(200);
      expect(passedWaypoint(answer)).toBe(false);
    });
    await mesh.apply(namespace("hairpin.mesh/waypoint-enforcement: enforce"));
    await eventually(async () =>
      expect(await mesh.curl("outside/client", url, { method: "POST" })).toMatchObject(denied),
    );
  });
});

describe("a connection that would turn in circles", () => {
  it("is refused with 503 when it is marked as the pod's own and comes from nobody accepted", async () => {
    const connects = [{ authority: `${reviews}:8080`, headers: { "x-hairpin-for": `${reviews}:8080` } }];
    const order = {
      from: "outside/client",
      to: reviews,
      as: "shop/client",
      expect: ["shop/reviews"],
      connects,
    } as const;
    expect(await clients.call(order)).toMatchObject([{ error: "HBONE_CONNECT_REFUSED", status: 503 }]);
    await mesh.findAccess({ direction: "inbound", error: /hairpin_loop/ }, "node2");
  });

  it("of another waypoint is hairpinned, not delivered", async () => {
    const connects = [{ authority: `${reviews}:8080`, method: "POST" }];
    const order = { from: "outside/client", to: reviews, expect: ["shop/reviews"], connects } as const;
    expect(await clients.call({ ...order, as: "labelled/door" })).toMatchObject([{ tunnel: 200, status: 403 }]);
  });
});

describe("who speaks for another caller with x-hairpin-source", () => {
  const claim = { "x-hairpin-source": admin, forwarded: 'for="10.0.0.1:1234"' };
  const order = { expect: ["shop/waypoint"] } as const;
  const post = (headers?: ConnectOrder["headers"]): ConnectOrder => ({
    authority: `${reviews}:8080`,
    method: "POST",
    ...(headers === undefined ? {} : { headers }),
  });

  it("is not believed when it is a workload", async () => {
    const connects = [post(claim), { ...post(claim), authority: `${await mesh.clusterIp("shop/reviews")}:80` }];
    const results = await clients.call({ ...order, from: "outside/client", to: waypoint, as: "shop/client", connects });
    expect(results.map(({ status }) => status)).toEqual([403, 403]);
    const byAdmin = await clients.call({
      ...order,
      from: "outside/client",
      to: waypoint,
      as: "shop/admin",
      connects: [post()],
    });
    expect(byAdmin).toMatchObject([{ tunnel: 200, status: 200 }]);
  });

  it("is not believed when it is a ztunnel that does not call from the pod", async () => {
    const as = "istio-system/ztunnel";
    const results = await clients.call({ ...order, from: "outside/client", to: waypoint, as, connects: [post(claim)] });
    expect(results).toMatchObject([{ tunnel: 200, status: 403 }]);
    await eventually(async () => {
      const lines = await mesh.logLines("waypoint/waypoint", "shop");
      expect(lines.filter((line) => line.includes("x-hairpin-source ignored")).length).toBeGreaterThan(2);
    });
  });

  it("is believed when it is a ztunnel in the pod, and must then say it once and well", async () => {
    const as = "istio-system/ztunnel";
    const connects = [
      post(claim),
      post(),
      post({ ...claim, "x-hairpin-source": "somebody" }),
      post({ ...claim, "x-hairpin-source": [admin, "none"] }),
      post({ ...claim, "x-hairpin-source": "none" }),
    ];
    const results = await clients.call({ ...order, from: "shop/reviews", to: waypoint, as, connects });
    expect(results.map(({ tunnel, status }) => ({ tunnel, status }))).toEqual([
      { tunnel: 200, status: 200 },
      { tunnel: undefined, status: 400 },
      { tunnel: undefined, status: 400 },
      { tunnel: undefined, status: 400 },
      { tunnel: 200, status: 403 },
    ]);
  });
});

describe("a waypoint", () => {
  it("takes only addresses of what it manages", async () => {
    const connects = [
      `${await mesh.podIp("late/server")}:8080`,
      `${await mesh.clusterIp("late/server")}:80`,
      `${await mesh.clusterIp("shop/reviews")}:4444`,
      "reviews.shop.svc.cluster.local:80",
      "127.0.0.1:15000",
      `${waypoint}:15000`,
      `${waypoint}:15020`,
      "10.0.0.1:80",
    ].map((authority) => ({ authority }));
    const order = {
      from: "outside/client",
      to: waypoint,
      as: "shop/client",
      expect: ["shop/waypoint"],
      connects,
    } as const;
    for (const result of await clients.call(order)) expect(result).toMatchObject({ error: "HBONE_STREAM_RESET" });
  });
});

describe("plaintext is refused behind a waypoint", () => {
  it.each(["strict", "known"])("by %s, by Service and by pod IP, while captured callers are served", async (server) => {
    const ip = await mesh.podIp(`shop/${server}`);
    for (const url of [`http://${server}.shop/`, `http://${ip}:8080/`]) {
      expect((await mesh.curl("outside/client", url)).status).toBe(0);
      const captured = await mesh.curl("shop/client", url);
      expect(captured.status).toBe(200);
      expect(passedWaypoint(captured)).toBe(true);
    }
    const line = await mesh.findAccess(
      { direction: "inbound", "dst.workload": server, error: /policy rejection/ },
      "node2",
    );
    expect(line.fields["denied.identity"]).toBe("none");
  });
});

describe("when the waypoint that a namespace names", () => {
  const callers: readonly [PodName, () => Promise<string>][] = [
    ["shop/client", async () => "http://server.labelled/"],
    ["shop/client", async () => `http://${await mesh.podIp("labelled/server")}:8080/`],
    ["outside/client", async () => "http://server.labelled/"],
    ["outside/client", async () => `http://${await mesh.podIp("labelled/server")}:8080/`],
  ];
  const isServed = (call: ToldCall): boolean => call.status === 200;

  it("is killed, calls fail until it is back, and none goes round it", async () => {
    const loops = await Promise.all(
      callers.map(async ([from, url]) => await mesh.startCalls(from, { url: await url(), intervalMs: 20 })),
    );
    await Promise.all(loops.map((loop) => loop.first(0, isServed)));
    const killedAt = await mesh.kill("waypoint/door", { namespace: "labelled" });
    const failures = await Promise.all(loops.map((loop) => loop.first(killedAt, (call) => !isServed(call))));
    await Promise.all(loops.map((loop, index) => loop.first(failures[index]?.startedAt ?? 0, isServed, 20_000)));
    for (const loop of loops) {
      const served = (await loop.stop()).filter(isServed);
      expect(served.filter((call) => !passedWaypoint(call))).toEqual([]);
    }
  });

  it("is deleted, calls are refused with the reason until it is there again", async () => {
    await mesh.delete(asGateway("labelled", "door"));
    for (const [from, url] of callers) {
      await eventually(async () => {
        expect((await mesh.curl(from, await url(), { timeoutSeconds: 2 })).status).toBe(0);
      });
    }
    // An open connection that it cost says so in other words.
    const reason = /^waypoint labelled\/door cannot be used: /;
    await mesh.findAccess({ direction: "inbound", "dst.namespace": "labelled", error: reason }, "node2");
    await mesh.apply(asGateway("labelled", "door"));
    for (const [from, url] of callers) {
      await eventually(
        async () => {
          const answer = await mesh.curl(from, await url(), { timeoutSeconds: 2 });
          expect(answer.status).toBe(200);
          expect(passedWaypoint(answer)).toBe(true);
        },
        { timeoutMs: 20_000, intervalMs: 100 },
      );
    }
  });
});

describe("a namespace that gets a waypoint later", () => {
  it("has its open connections closed when enforcement begins, and goes on without it after its deletion", async () => {
    const server = await mesh.podIp("late/server");
    const held = [
      await mesh.hold("late/client", server, 9000),
      await mesh.hold("late/client", "server", 9000),
      await mesh.hold("outside/client", server, 9000),
      await mesh.hold("outside/client", "server.late", 9000),
    ];
    for (const connection of held) expect(await connection.echo()).toMatch(/^server ping/);
    expect(passedWaypoint(await mesh.curl("late/client", `http://${server}:8080/`))).toBe(false);

    await mesh.apply(asGateway("late", "waypoint"));
    for (const connection of held) expect((await connection.end(20_000)).how).toMatch(/fin|ECONNRESET/);
    for (const from of ["late/client", "outside/client"] as const) {
      for (const url of [`http://${server}:8080/`, "http://server.late/"]) {
        const answer = await mesh.curl(from, url);
        expect(answer.status).toBe(200);
        expect(passedWaypoint(answer)).toBe(true);
      }
    }
    const again = await mesh.hold("outside/client", server, 9000);
    expect(await again.echo()).toMatch(/^server ping/);

    await mesh.delete(asGateway("late", "waypoint"));
    for (const from of ["late/client", "outside/client"] as const) {
      await eventually(
        async () => {
          const answer = await mesh.curl(from, `http://${server}:8080/`, { timeoutSeconds: 2 });
          expect(answer.status).toBe(200);
          expect(passedWaypoint(answer)).toBe(false);
        },
        { timeoutMs: 20_000, intervalMs: 100 },
      );
    }
  });
});
