import { once } from "node:events";
import http2 from "node:http2";
import net from "node:net";
import tls from "node:tls";
import { describe, expect, it } from "vitest";
import { connectHbone } from "@hairpin/hbone";
import { hairpinWaypoint } from "@hairpin/shared/api";
import type { Workload } from "@hairpin/shared/model";
import { aMatch, aPolicy, eventually, TestAuthority } from "@hairpin/testkit";
import { findHeader } from "@hairpin/wire";
import { startHttpApp } from "./testing/apps.ts";
import { channelDuplex } from "./testing/channel-duplex.ts";
import { rawConnection, request } from "./testing/http-client.ts";
import { openShop } from "./testing/shop.ts";
import type { SourceZtunnel } from "./testing/source-ztunnel.ts";
import { addressOf } from "./testing/test-bed.ts";

const { DENY } = hairpinWaypoint.Policy_Action;
const ztunnel = "istio-system/ztunnel";
const spiffe = (name: string): string => `spiffe://cluster.local/ns/${name.replace("/", "/sa/")}`;

/** Sends a GET through a tunnel with these headers and gives what comes back; "closed" when it is refused without a status. */
async function call(
  client: SourceZtunnel,
  authority: string,
  headers: Record<string, string | string[]> = {},
): Promise<string> {
  const list = Object.entries(headers).flatMap(([name, values]) => [values].flat().map((value) => ({ name, value })));
  let tunnel;
  try {
    tunnel = await client.tunnel(authority, list);
  } catch (error) {
    const message = error instanceof Error ? error.message : "";
    return /http status: (\d+)/.exec(message)?.[1] ?? "closed";
  }
  const stream = channelDuplex(tunnel);
  stream.on("error", () => {});
  stream.write("GET / HTTP/1.1\r\nhost: web\r\nconnection: close\r\n\r\n");
  const chunks: Buffer[] = [];
  for await (const chunk of stream) chunks.push(chunk as Buffer);
  stream.destroy();
  return Buffer.concat(chunks).toString().split(" ")[1] ?? "";
}

describe("a tunnel to a waypoint", () => {
  it.each([
    ["a host name", "web.shop.svc.cluster.local:80"],
    ["an address outside the mesh", "192.0.2.1:80"],
    ["the waypoint's own admin port", "127.0.0.1:15000"],
    ["a port that the service has not", "VIP:81"],
    ["a service that is managed by another", "OTHER:80"],
    ["a pod that is managed by another", "POD:8080"],
    ["nothing that is an address", "10.0.0.1"],
    ["a number for an address", "2130706433:80"],
  ])("is closed without an answer when it asks for %s", async (_, authority) => {
    await using shop = await openShop(startHttpApp);
    const other = shop.bed.addService({ name: "other" });
    await shop.bed.settled();
    const wanted = authority
      .replace("VIP", addressOf(shop.service).split(":")[0] ?? "")
      .replace("OTHER", addressOf(other).split(":")[0] ?? "")
      .replace("POD", shop.pods[0]?.ip ?? "");
    expect(await call(shop.client, wanted)).toBe("closed");
    expect(await shop.bed.metrics()).toContain('hairpin_waypoint_tunnels_refused_total{reason="unmanaged"} 1');
    // The session lives on.
    expect(await call(shop.client, addressOf(shop.service))).toBe("200");
  });

  it("is refused to peers of another trust domain, without certificate, and of another authority", async () => {
    await using shop = await openShop(startHttpApp);
    const { authority, address } = shop.bed;
    const dial = async (material: Parameters<typeof connectHbone>[0]["material"]): Promise<void> => {
      const client = await connectHbone({
        address,
        material,
        expectedIdentities: [authority.identity("shop/waypoint")],
        timeoutMs: 2000,
      });
      try {
        await client.openTunnel(addressOf(shop.service));
      } finally {
        client.close();
      }
    };
    await dial(authority.material("shop/curl"));
    await expect(dial(authority.material("shop/curl", { wrongTrustDomain: true }))).rejects.toThrow();
    await expect(dial({ ...new TestAuthority().material("shop/curl"), roots: [authority.rootPem] })).rejects.toThrow();
    await expect(dial(authority.material("shop/curl", { expired: true }))).rejects.toThrow();
  });

  it("of another method than CONNECT gets 400", async () => {
    await using shop = await openShop(startHttpApp);
    const { certificateChain, privateKey, roots } = shop.bed.authority.material("shop/curl");
    const socket = tls.connect({
      host: shop.bed.address.ip,
      port: shop.bed.address.port,
      cert: certificateChain,
      key: privateKey,
      ca: [...roots],
      ALPNProtocols: ["h2"],
      checkServerIdentity: () => undefined,
    });
    await once(socket, "secureConnect");
    const session = http2.connect("https://waypoint", { createConnection: () => socket });
    const [headers] = (await once(session.request({ ":path": "/" }), "response")) as [http2.IncomingHttpHeaders];
    expect(headers[":status"]).toBe(400);
    expect(await shop.bed.metrics()).toContain('hairpin_waypoint_tunnels_refused_total{reason="bad-request"} 1');
    session.destroy();
  });

  it("is dialled onwards with the waypoint's identity, the pod's address, and the service's name", async () => {
    await using shop = await openShop(startHttpApp);
    await request(shop.web, "/");
    const [seen] = shop.pods[0]?.ztunnel?.seen ?? [];
    expect(seen).toMatchObject({
      authority: `${shop.pods[0]?.ip}:8080`,
      peerIdentity: { namespace: "shop", serviceAccount: "waypoint" },
    });
    const headers = Object.fromEntries((seen?.headers ?? []).map(({ name, value }) => [name, value]));
    expect(headers["forwarded"]).toBe("host=web.shop.svc.cluster.local");
    expect(headers["baggage"]).toContain("k8s.deployment.name=waypoint");
    expect(headers["x-hairpin-for"]).toBeUndefined();
  });

  it("is not served before the waypoint knows its own Gateway", async () => {
    await using shop = await openShop(startHttpApp);
    shop.bed.xds.remove();
    shop.bed.xds.xds.update("type.googleapis.com/hairpin.waypoint.v1.Waypoint", "mesh", { removed: ["shop/waypoint"] });
    await shop.bed.settled();
    expect(await call(shop.client, addressOf(shop.service))).toBe("closed");
  });
});

describe("a pod-addressed call", () => {
  it("goes to exactly that pod, without routes", async () => {
    await using shop = await openShop(startHttpApp, { pods: 3 });
    for (const pod of shop.pods) shop.bed.putWorkload(pod.workload);
    await shop.bed.settled();
    for (const [i, pod] of shop.pods.entries()) {
      const port = await shop.client.capture(`${pod.ip}:8080`);
      for (let n = 0; n < 3; n++) expect((await request(port, "/")).body).toBe(`web-${i}`);
    }
  });

  it("is subject to the policies of every Service of the pod on the port, and of the Gateway", async () => {
    await using shop = await openShop(startHttpApp);
    const [pod] = shop.pods;
    if (!pod) throw new Error("no pod");
    const deny = (name: string, path: string) => ({
      name,
      namespace: "shop",
      action: DENY,
      rules: [{ to: [{ paths: [path] }] }],
    });
    shop.bed.putGateway({ policies: [deny("gateway", "/gateway")] });
    shop.bed.putWorkload(pod.workload, {
      servicePolicies: [
        { policy: deny("a", "/a"), targetPorts: [8080], service: "shop/web" },
        { policy: deny("b", "/b"), targetPorts: [8080], service: "shop/other" },
        { policy: deny("c", "/c"), targetPorts: [9090], service: "shop/third" },
        { policy: deny("d", "/d"), targetPorts: [], service: "shop/headless" },
      ],
      ports: [{ port: 8080, protocol: hairpinWaypoint.Protocol.HTTP1 }],
    });
    await shop.bed.settled();
    const port = await shop.client.capture(`${pod.ip}:8080`);
    const statuses: [string, number][] = [];
    for (const path of ["/gateway", "/a", "/b", "/c", "/d", "/"])
      statuses.push([path, (await request(port, path)).status]);
    expect(Object.fromEntries(statuses)).toEqual({
      "/gateway": 403,
      "/a": 403,
      "/b": 403,
      "/c": 200,
      "/d": 403,
      "/": 200,
    });
  });

  it("is refused where a Service of the pod without policies leaves the Gateway's alone to decide", async () => {
    await using shop = await openShop(startHttpApp);
    const [pod] = shop.pods;
    if (!pod) throw new Error("no pod");
    const allow = (name: string, path: string) => ({ name, namespace: "shop", rules: [{ to: [{ paths: [path] }] }] });
    shop.bed.putGateway({ policies: [allow("gateway", "/open")] });
    const bySecondService = new Map([
      ...pod.workload.services,
      ["shop/second.shop.svc.cluster.local", [{ servicePort: 80, targetPort: 8080 }]],
    ] as const);
    shop.bed.xds.put({ workloads: [{ ...pod.workload, services: bySecondService }] });
    shop.bed.putWorkload(pod.workload, {
      servicePolicies: [{ policy: allow("a", "/a"), targetPorts: [8080], service: "shop/web.shop.svc.cluster.local" }],
      ports: [{ port: 8080, protocol: hairpinWaypoint.Protocol.HTTP1 }],
    });
    await shop.bed.settled();
    const port = await shop.client.capture(`${pod.ip}:8080`);
    // By the second Service `/a` would be refused, so going round it must not allow it.
    expect((await request(port, "/a")).status).toBe(403);
    expect((await request(port, "/open")).status).toBe(200);
  });
});

describe("a Service-addressed call", () => {
  it("meets the policies of the endpoint's other Services where its own Service has none, so that no alias leads round them", async () => {
    await using shop = await openShop(startHttpApp);
    const [pod] = shop.pods;
    if (!pod) throw new Error("no pod");
    const readOnly = (name: string, path: string) => ({
      name,
      namespace: "shop",
      rules: [{ to: [{ methods: ["GET"], paths: [path] }] }],
    });
    const other = "shop/other.shop.svc.cluster.local";
    const enforced: Workload = {
      ...pod.workload,
      enforcement: { mode: "refuse", acceptedIdentities: [], waypoint: "shop/waypoint", reason: "for the test" },
    };
    shop.bed.xds.put({ workloads: [enforced] });
    shop.bed.putWorkload(pod.workload, {
      servicePolicies: [
        { policy: readOnly("other", "/a"), targetPorts: [8080], service: other },
        { policy: readOnly("third", "/c"), targetPorts: [9090], service: "shop/third.shop.svc.cluster.local" },
      ],
      ports: [{ port: 8080, protocol: hairpinWaypoint.Protocol.HTTP1 }],
    });
    await shop.bed.settled();
    const port = await shop.client.capture(addressOf(shop.service));
    expect((await request(port, "/a")).status).toBe(200);
    expect((await request(port, "/c")).status).toBe(403);
    await eventually(() => expect(shop.bed.access()[1]).toMatchObject({ policy: "shop/other" }));
    // Nothing is enforced for a pod of a permissive namespace.
    shop.bed.xds.put({ workloads: [pod.workload] });
    await shop.bed.settled();
    expect((await request(port, "/c")).status).toBe(200);
    shop.bed.xds.put({ workloads: [enforced] });
    await shop.bed.settled();
    expect((await request(port, "/c")).status).toBe(403);

    // With a policy of its own the Service is a door of its own.
    shop.bed.putService(shop.service, { policies: [readOnly("own", "/c")] });
    await shop.bed.settled();
    expect((await request(port, "/c")).status).toBe(200);
    expect((await request(port, "/a")).status).toBe(403);
  });
});

describe("x-hairpin-source", () => {
  const onlyCurl = {
    name: "only-curl",
    namespace: "shop",
    rules: [{ from: [{ principals: ["cluster.local/ns/shop/sa/curl"] }] }],
  };

  async function hairpinShop() {
    const shop = await openShop(startHttpApp);
    const [pod] = shop.pods;
    if (!pod) throw new Error("no pod");
    shop.bed.putWorkload(pod.workload, {
      servicePolicies: [
        {
          policy: onlyCurl,
          targetPorts: [8080],
          service: "shop/web",
        },
      ],
      ports: [{ port: 8080, protocol: hairpinWaypoint.Protocol.HTTP1 }],
    });
    await shop.bed.settled();
    return { shop, pod, authority: `${pod.ip}:8080` };
  }
  const forwarded = 'for="10.1.2.3:4567"';

  it("is believed of a listed ztunnel that dials from the pod's own address", async () => {
    const { shop, pod, authority } = await hairpinShop();
    await using _shop = shop;
    const node = shop.bed.client(ztunnel, pod.ip);
    expect(await call(node, authority, { "x-hairpin-source": spiffe("shop/curl"), forwarded })).toBe("200");
    expect(await call(node, authority, { "x-hairpin-source": spiffe("shop/evil"), forwarded })).toBe("403");
    expect(await call(node, authority, { "x-hairpin-source": "none", forwarded })).toBe("403");
    await eventually(() => expect(shop.bed.access()).toHaveLength(3));
    expect(shop.bed.access()[0]).toMatchObject({
      "src.addr": "10.1.2.3:4567",
      "src.identity": spiffe("shop/curl"),
      hairpinned: true,
    });
    expect(shop.bed.access()[2]).not.toHaveProperty("src.identity");
    // The way back is marked with the pod's address, so that a loop is found.
    const [seen] = pod.ztunnel?.seen ?? [];
    expect(findHeader(seen?.headers ?? [], "x-hairpin-for")).toBe(authority);
  });

  it.each([
    ["missing", {}],
    ["without forwarded", { "x-hairpin-source": "none" }],
    ["twice", { "x-hairpin-source": ["none", "none"], forwarded }],
    ["malformed", { "x-hairpin-source": "spiffe://cluster.local/ns/shop", forwarded }],
    ["with a malformed address", { "x-hairpin-source": "none", forwarded: "for=unknown" }],
  ])("that is %s gets 400 from such a ztunnel", async (_, headers) => {
    const { shop, pod, authority } = await hairpinShop();
    await using _shop = shop;
    expect(await call(shop.bed.client(ztunnel, pod.ip), authority, headers)).toBe("400");
    expect(await shop.bed.metrics()).toContain('hairpin_waypoint_tunnels_refused_total{reason="bad-request"} 1');
  });

  it("is ignored, and counted, from a workload, from another node's ztunnel, and for a service", async () => {
    const { shop, pod, authority } = await hairpinShop();
    await using _shop = shop;
    const claim = { "x-hairpin-source": spiffe("shop/curl"), forwarded };
    // A workload that borrows the pod's address, and one of its own.
    expect(await call(shop.bed.client("shop/evil", pod.ip), authority, claim)).toBe("403");
    expect(await call(shop.bed.client("shop/evil"), authority, claim)).toBe("403");
    // A ztunnel that is not at the pod: a stolen node speaks for its own pods only.
    expect(await call(shop.bed.client(ztunnel), authority, claim)).toBe("403");
    expect(await call(shop.bed.client(ztunnel, pod.ip), addressOf(shop.service), claim)).toBe("200");
    expect(await shop.bed.metrics()).toContain("hairpin_waypoint_ignored_hairpin_headers_total 4");
    expect(shop.bed.access().every(({ hairpinned }) => hairpinned === undefined)).toBe(true);
  });
});

describe("an endpoint's own L4 policies", () => {
  it("refuse the original caller, whom its ztunnel does not see", async () => {
    await using shop = await openShop(startHttpApp);
    const match = aMatch({ principals: [{ kind: "exact", value: "cluster.local/ns/shop/sa/curl" }] });
    shop.bed.addPolicy(aPolicy({ namespace: "shop", name: "l4", rules: [{ clauses: [[match]] }] }));
    await shop.bed.settled();
    expect(await request(shop.web, "/")).toMatchObject({ status: 403, body: "RBAC: access denied" });
    expect(shop.bed.access()[0]).toMatchObject({ policy: "shop/l4", reason: "explicitly denied by: shop/l4" });
    const friend = await shop.bed.client("shop/friend").capture(addressOf(shop.service));
    expect((await request(friend, "/")).status).toBe(200);
    expect(shop.apps[0]?.requests).toHaveLength(1);
  });

  it("see the caller's address, not the waypoint's", async () => {
    await using shop = await openShop(startHttpApp);
    const match = aMatch({ sourceIps: [{ ip: shop.client.ip, prefixLength: 32 }] });
    shop.bed.addPolicy(aPolicy({ namespace: "shop", name: "by-ip", rules: [{ clauses: [[match]] }] }));
    await shop.bed.settled();
    expect((await request(shop.web, "/")).status).toBe(403);
    const friend = await shop.bed.client().capture(addressOf(shop.service));
    expect((await request(friend, "/")).status).toBe(200);
  });

  it("refuse while one that the pod lists was not received", async () => {
    await using shop = await openShop(startHttpApp);
    const [pod] = shop.pods;
    if (!pod) throw new Error("no pod");
    shop.bed.xds.put({ workloads: [{ ...pod.workload, authorizationPolicies: ["shop/late"] }] });
    await shop.bed.settled();
    expect((await request(shop.web, "/")).status).toBe(403);
    expect(shop.bed.access()[0]).toMatchObject({ reason: "policy shop/late not received" });
    shop.bed.addPolicy(aPolicy({ namespace: "shop", name: "late", scope: "WORKLOAD_SELECTOR" }));
    await shop.bed.settled();
    expect((await request(shop.web, "/")).status).toBe(200);
  });

  it("that allow others only are left to that ztunnel: its refusal becomes 503", async () => {
    await using shop = await openShop(startHttpApp);
    const [pod] = shop.pods;
    if (!pod?.ztunnel) throw new Error("no pod");
    pod.ztunnel.refuseWith = 401;
    const answer = await request(shop.web, "/");
    expect(answer.status).toBe(503);
    expect(answer.body).toContain("http status: 401 Unauthorized");
  });
});

describe("a waypoint for some pods of a service", () => {
  it("balances over those alone", async () => {
    await using shop = await openShop(startHttpApp, { pods: 3 });
    const only = [shop.pods[1]?.workload.uid ?? ""];
    shop.bed.putService(shop.service, { restrictToWorkloads: true, onlyWorkloads: only });
    await shop.bed.settled();
    for (let i = 0; i < 6; i++) expect((await request(shop.web, "/")).body).toBe("web-1");
    shop.bed.putService(shop.service, { restrictToWorkloads: true, onlyWorkloads: [] });
    await shop.bed.settled();
    expect((await request(shop.web, "/")).status).toBe(503);
  });
});

describe("the listener of a waypoint", () => {
  it("takes garbage, half handshakes and resets without harm", async () => {
    await using shop = await openShop(startHttpApp);
    const address = { host: shop.bed.address.ip, port: shop.bed.address.port };
    for (const bytes of ["", "GET / HTTP/1.1\r\n\r\n", "\x16\x03\x01\x00\x05hello", "\0".repeat(1000)]) {
      const socket = net.connect(address);
      socket.on("error", () => {});
      await once(socket, "connect");
      socket.write(bytes);
      socket.resetAndDestroy();
    }
    expect((await request(shop.web, "/")).status).toBe(200);
    const client = await rawConnection(shop.web);
    client.send("GET / HTTP/1.1\r\nhost: web\r\n\r\n");
    await client.until("web-0");
  });
});
