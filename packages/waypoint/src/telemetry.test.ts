import { describe, expect, it } from "vitest";
import { eventually } from "@hairpin/testkit";
import { startHttpApp } from "./testing/apps.ts";
import { request } from "./testing/http-client.ts";
import { openShop } from "./testing/shop.ts";
import { addressOf, serves } from "./testing/test-bed.ts";

/** Names of istio-ambient.md §11.1, without those of HTTP alone. */
const commonLabels = [
  "reporter",
  "source_workload",
  "source_canonical_service",
  "source_canonical_revision",
  "source_workload_namespace",
  "source_principal",
  "source_app",
  "source_version",
  "source_cluster",
  "destination_workload",
  "destination_workload_namespace",
  "destination_principal",
  "destination_app",
  "destination_version",
  "destination_service",
  "destination_canonical_service",
  "destination_canonical_revision",
  "destination_service_name",
  "destination_service_namespace",
  "destination_cluster",
  "request_protocol",
  "response_flags",
  "connection_security_policy",
];

/** The labels and value of the first sample of a metric. */
function sample(metrics: string, name: string): { labels: Record<string, string>; value: number } {
  const line = metrics.split("\n").find((text) => text.startsWith(`${name}{`));
  if (line === undefined) throw new Error(`no sample of ${name}`);
  const labels = [...line.matchAll(/(\w+)="([^"]*)"/g)].map(([, key = "", value = ""]) => [key, value]);
  return { labels: Object.fromEntries(labels) as Record<string, string>, value: Number(line.split(" ").at(-1)) };
}

describe("metrics of a waypoint", () => {
  it("are Istio's, with every label, for a request from a known client to a known pod", async () => {
    await using shop = await openShop(startHttpApp);
    await shop.bed.addPod("curl-1", {
      addresses: [shop.client.ip],
      serviceAccount: "curl",
      workloadName: "curl",
      canonicalName: "curl",
      canonicalRevision: "v3",
    });
    await shop.bed.settled();
    await request(shop.web, "/", { headers: { "x-long": "y".repeat(1000) } });
    await eventually(() => expect(shop.bed.access()).toHaveLength(1));
    const metrics = await shop.bed.metrics();
    const { labels, value } = sample(metrics, "istio_requests_total");
    expect(value).toBe(1);
    expect(Object.keys(labels).toSorted()).toEqual(
      [...commonLabels, "response_code", "grpc_response_status"].toSorted(),
    );
    expect(labels).toEqual({
      reporter: "waypoint",
      source_workload: "curl",
      source_canonical_service: "curl",
      source_canonical_revision: "v3",
      source_workload_namespace: "shop",
      source_principal: "spiffe://cluster.local/ns/shop/sa/curl",
      source_app: "curl",
      source_version: "v3",
      source_cluster: "Kubernetes",
      destination_workload: "web-0",
      destination_workload_namespace: "shop",
      destination_principal: "spiffe://cluster.local/ns/shop/sa/web-0",
      destination_app: "web-0",
      destination_version: "latest",
      destination_service: "web.shop.svc.cluster.local",
      destination_canonical_service: "web-0",
      destination_canonical_revision: "latest",
      destination_service_name: "web",
      destination_service_namespace: "shop",
      destination_cluster: "Kubernetes",
      request_protocol: "http",
      response_flags: "-",
      connection_security_policy: "mutual_tls",
      response_code: "200",
      grpc_response_status: "",
    });
    for (const name of ["istio_request_duration_milliseconds", "istio_request_bytes", "istio_response_bytes"]) {
      expect(sample(metrics, `${name}_count`).value).toBe(1);
      expect(sample(metrics, `${name}_count`).labels).toEqual(labels);
      expect(metrics).toContain(`# TYPE ${name} histogram`);
    }
    expect(sample(metrics, "istio_request_bytes_sum").value).toBeGreaterThan(1000);
    const bounds = [...metrics.matchAll(/istio_request_bytes_bucket\{.*le="([^"]+)"\}/g)].map(([, bound]) => bound);
    expect(bounds.map(Number)).toEqual([
      0.5,
      1,
      5,
      10,
      25,
      50,
      100,
      250,
      500,
      1000,
      2500,
      5000,
      10_000,
      30_000,
      60_000,
      300_000,
      600_000,
      1_800_000,
      3_600_000,
      NaN,
    ]);
    expect(sample(metrics, "istio_build").labels).toMatchObject({ component: "proxy" });
  });

  it("say unknown of what is not known, and nothing of a client whose address belongs to somebody else", async () => {
    await using shop = await openShop(startHttpApp, { pods: 0 });
    await shop.bed.addPod("other-1", { addresses: [shop.client.ip], serviceAccount: "other" }, { captured: false });
    await shop.bed.settled();
    await request(shop.web, "/");
    const { labels } = sample(await shop.bed.metrics(), "istio_requests_total");
    expect(labels).toMatchObject({
      source_workload: "unknown",
      source_canonical_revision: "latest",
      source_version: "unknown",
      source_workload_namespace: "shop",
      destination_workload: "unknown",
      destination_principal: "unknown",
      destination_service: "web.shop.svc.cluster.local",
      response_code: "503",
      response_flags: "UH",
    });
  });

  it("name the service that a route chose", async () => {
    await using shop = await openShop(startHttpApp);
    const v2 = shop.bed.addService({ name: "v2" });
    const pod = await shop.bed.addPod("v2-0", { services: serves(v2) });
    await using _app = await startHttpApp({ name: "v2-0", ip: pod.ip });
    const backends = [{ namespace: "shop", hostname: v2.hostname, port: 80, weight: 1 }];
    shop.bed.putService(shop.service, {
      ports: [{ port: 80, routes: [{ namespace: "shop", name: "r", rules: [{ backends }] }] }],
    });
    await shop.bed.settled();
    await request(shop.web, "/");
    const { labels } = sample(await shop.bed.metrics(), "istio_requests_total");
    expect(labels).toMatchObject({ destination_service: v2.hostname, destination_service_name: "v2" });
  });

  it("tell series apart that differ in anything, and follow a workload that changed", async () => {
    await using shop = await openShop(startHttpApp);
    await request(shop.web, "/");
    await request(await shop.bed.client("shop/friend").capture(addressOf(shop.service)), "/");
    const [pod] = shop.pods;
    if (!pod) throw new Error("no pod");
    shop.bed.xds.put({ workloads: [{ ...pod.workload, canonicalName: "renamed" }] });
    await shop.bed.settled();
    await request(shop.web, "/");
    await request(shop.web, "/");
    await eventually(() => expect(shop.bed.access()).toHaveLength(4));
    const lines = (await shop.bed.metrics()).split("\n").filter((line) => line.startsWith("istio_requests_total{"));
    expect(lines.map((line) => Number(line.split(" ").at(-1))).toSorted((a, b) => a - b)).toEqual([1, 1, 2]);
    expect(lines.filter((line) => line.includes('destination_canonical_service="renamed"'))).toHaveLength(1);
  });
});

describe("the access log of a waypoint", () => {
  it("has one line per request with who, where, what came of it and why", async () => {
    await using shop = await openShop(startHttpApp, {
      service: { policies: [{ name: "get-only", namespace: "shop", rules: [{ to: [{ methods: ["GET"] }] }] }] },
    });
    await request(shop.web, "/a?secret=1", { method: "GET" });
    await request(shop.web, "/b", { method: "POST", body: "x" });
    await eventually(() => expect(shop.bed.access()).toHaveLength(2));
    const [first, second] = shop.bed.access();
    expect(first).toEqual({
      level: "info",
      time: expect.any(String),
      scope: "access",
      message: "request complete",
      "src.addr": expect.stringMatching(new RegExp(`^${shop.client.ip}:\\d+$`)),
      "src.identity": "spiffe://cluster.local/ns/shop/sa/curl",
      "dst.addr": addressOf(shop.service),
      "dst.service": "web.shop.svc.cluster.local",
      "dst.workload": "web-0",
      "dst.namespace": "shop",
      method: "GET",
      authority: "web",
      path: "/a",
      status: 200,
      response_flags: "-",
      bytes_sent: expect.any(Number),
      bytes_recv: expect.any(Number),
      duration: expect.stringMatching(/^\d+ms$/),
    });
    expect(second).toMatchObject({ path: "/b", status: 403, reason: "allow policies exist, but none allowed" });
    expect(second).not.toHaveProperty("dst.workload");
  });

  it("names the policy and the rule that refused", async () => {
    await using shop = await openShop(startHttpApp);
    shop.bed.putGateway({
      policies: [
        {
          name: "no-b",
          namespace: "shop",
          action: 1,
          rules: [{ to: [{ paths: ["/a"] }] }, { to: [{ paths: ["/b"] }] }],
        },
      ],
    });
    await shop.bed.settled();
    expect((await request(shop.web, "/b")).status).toBe(403);
    expect(shop.bed.access()[0]).toMatchObject({
      policy: "shop/no-b",
      rule: 1,
      reason: "explicitly denied by: shop/no-b",
    });
  });
});

describe("/config_dump of a waypoint", () => {
  it("shows what it was told, its certificate, and no secret", async () => {
    await using shop = await openShop(startHttpApp);
    const [pod] = shop.pods;
    if (!pod) throw new Error("no pod");
    shop.bed.putWorkload(pod.workload);
    shop.bed.putService(shop.service, {
      policies: [{ name: "p", namespace: "shop", rules: [{}] }],
      ports: [{ port: 80, protocol: 1, routes: [{ namespace: "shop", name: "r", rules: [{}] }] }],
    });
    await shop.bed.settled();
    await request(shop.web, "/");
    const dump = await shop.bed.configDump();
    expect(dump).toMatchObject({
      waypoint: {
        gateway: "shop/waypoint",
        services: [
          {
            namespace: "shop",
            hostname: shop.service.hostname,
            ports: [{ port: 80, protocol: "http1", routes: ["shop/r"] }],
            policies: [{ key: "shop/p", action: "ALLOW" }],
          },
        ],
        workloads: [pod.workload.uid],
        sessions: 1,
      },
      version: { tlsEngine: { name: "libssl", reason: expect.any(String) } },
      config: { gatewayName: "waypoint", trustDomain: "cluster.local" },
    });
    expect(Object.keys(dump)).toEqual(expect.arrayContaining(["workloads", "services", "policies", "certificates"]));
    expect(JSON.stringify(dump)).not.toMatch(/PRIVATE KEY|"token":"token"/);
  });
});
