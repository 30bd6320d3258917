// Callers and servers in and out of the mesh, as ztunnel's own scenarios have them, on manifests/capture.yaml.
import type { KubernetesObject } from "@hairpin/cli";
import { eventually } from "@hairpin/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { countBy, seenBy } from "./harness/call-loop.ts";
import { HandmadeClients } from "./harness/handmade-client.ts";
import { findSeries } from "./harness/metrics.ts";
import { type PodName, ScenarioMesh } from "./harness/scenario-mesh.ts";

let mesh: ScenarioMesh;
let clients: HandmadeClients;

beforeAll(async () => {
  mesh = await ScenarioMesh.start("e2e-capture", "capture.yaml", "certificate-client.yaml");
  clients = await HandmadeClients.of(mesh);
});
afterAll(async () => {
  await mesh?.[Symbol.asyncDispose]();
});

const spiffe = (namespace: string, account: string): string => `spiffe://cluster.local/ns/${namespace}/sa/${account}`;

describe("captured calls", () => {
  it.each([
    ["on the same node", "near", "node1"],
    ["on another node", "far", "node2"],
  ])("go by HBONE with both identities, counted and logged on both sides, %s", async (_where, server, node) => {
    const answer = await mesh.curl("l4/client", `http://${server}/`);
    expect(answer).toMatchObject({ status: 200, curlExitCode: 0 });
    expect(seenBy(answer)).toMatchObject({ pod: server, caller: await mesh.podIp("l4/client") });
    const parties = {
      "src.workload": "client",
      "src.namespace": "l4",
      "src.identity": spiffe("l4", "client"),
      "dst.workload": server,
      "dst.identity": spiffe("l4", server),
      "dst.service": `${server}.l4.svc.cluster.local`,
      "dst.addr": `${await mesh.podIp(`l4/${server}`)}:15008`,
      "dst.hbone_addr": `${await mesh.podIp(`l4/${server}`)}:8080`,
    };
    const outbound = await mesh.findAccess({ ...parties, direction: "outbound" }, "node1");
    const inbound = await mesh.findAccess({ ...parties, direction: "inbound" }, node);
    for (const line of [outbound, inbound])
      expect(line).toMatchObject({ level: "info", message: "connection complete" });
    // Each side tells bytes from its application's view.
    expect(inbound.fields["bytes_sent"]).toBe(outbound.fields["bytes_recv"]);
    expect(inbound.fields["bytes_recv"]).toBe(outbound.fields["bytes_sent"]);
    const labels = {
      source_workload: "client",
      source_principal: spiffe("l4", "client"),
      destination_service: `${server}.l4.svc.cluster.local`,
      destination_workload: server,
      destination_principal: spiffe("l4", server),
      connection_security_policy: "mutual_tls",
      response_flags: "-",
    };
    for (const [reporter, where] of [
      ["source", "node1"],
      ["destination", node],
    ] as const) {
      const page = await mesh.page(`ztunnel/${where}`, 15_020, "/stats/prometheus");
      const wanted = { ...labels, reporter };
      expect(findSeries(page, "istio_tcp_connections_opened_total", wanted)).toBeGreaterThan(0);
      expect(findSeries(page, "istio_tcp_connections_closed_total", wanted)).toBeGreaterThan(0);
      expect(findSeries(page, "istio_tcp_sent_bytes_total", wanted)).toBe(
        Number(inbound.fields["bytes_sent"]) * findSeries(page, "istio_tcp_connections_closed_total", wanted),
      );
    }
  });

  it("reach an uncaptured server in the clear", async () => {
    const answer = await mesh.curl("l4/client", "http://server.outside/");
    expect(answer.status).toBe(200);
    expect(seenBy(answer).caller).toBe(await mesh.podIp("l4/client"));
    const line = await mesh.findAccess({ direction: "outbound", "dst.workload": "server", "dst.namespace": "outside" });
    expect(line.fields).not.toHaveProperty("dst.hbone_addr");
    expect(line.fields).not.toHaveProperty("src.identity");
    const page = await mesh.page("ztunnel/node1", 15_020, "/stats/prometheus");
    const wanted = { reporter: "source", destination_workload: "server", destination_workload_namespace: "outside" };
    expect(
      findSeries(page, "istio_tcp_connections_opened_total", { ...wanted, connection_security_policy: "unknown" }),
    ).toBe(1);
  });

  it("come from an uncaptured client in the clear, by Service and by pod IP", async () => {
    const far = await mesh.podIp("l4/far");
    for (const url of ["http://far.l4/", `http://${far}:8080/`]) {
      const answer = await mesh.curl("outside/client", url);
      expect(answer.status).toBe(200);
      expect(seenBy(answer)).toMatchObject({ pod: "far", caller: await mesh.podIp("outside/client") });
    }
    const line = await mesh.findAccess(
      { direction: "inbound", "src.namespace": "outside", "dst.workload": "far" },
      "node2",
    );
    expect(line.fields).not.toHaveProperty("src.identity");
    expect(line.fields["dst.addr"]).toBe(`${far}:8080`);
  });

  it("to a pod's own address or localhost stay in the pod", async () => {
    const before = (await mesh.accessLog()).filter(({ fields }) => fields["src.workload"] === "far").length;
    const far = await mesh.podIp("l4/far");
    for (const url of ["http://127.0.0.1:8080/", `http://${far}:8080/`]) {
      const answer = await mesh.curl("l4/far", url);
      expect(answer.status).toBe(200);
      expect(seenBy(answer).pod).toBe("far");
    }
    const after = (await mesh.accessLog()).filter(({ fields }) => fields["src.workload"] === "far").length;
    expect(after).toBe(before);
  });
});

describe("bytes", () => {
  const size = 24_000_000;

  it.each([
    ["from pod to pod", "far"],
    ["through a waypoint", "server.by-service"],
    ["to an uncaptured server", "server.outside"],
  ])("arrive whole, both ways, %s", async (_way, host) => {
    const local = host === "far" ? "l4/far" : host === "server.outside" ? "outside/server" : "by-service/server";
    const digest = async (from: "l4/client" | typeof local, url: string): Promise<string> =>
      (await mesh.exec(from, ["sh", "-c", `curl -sS -m 20 ${url} | sha256sum; `])).stdout;
    const wanted = await digest(local, `http://127.0.0.1:8080/bytes/${size}`);
    expect(await digest("l4/client", `http://${host}/bytes/${size}`)).toBe(wanted);
    const upload = `head -c ${size} /dev/zero | curl -sS -m 20 --data-binary @- http://${host}/`;
    const { stdout } = await mesh.exec("l4/client", ["sh", "-c", upload]);
    expect(seenBy({ body: stdout }).bodyBytes).toBe(size);
  });

  it.each(["far", "server.outside"])(
    "may be answered after their end: a half-closed connection to %s",
    async (host) => {
      const [told] = await mesh.runApp<{ answer: string }>("l4/client", "half-close", [host, "9000"]);
      expect(told?.answer).toMatch(/^\w+ last words\n$/);
    },
  );
});

describe("calls by Service", () => {
  it("take one backend per connection and all backends over many, captured or not", async () => {
    const url = "http://mix.mixed/";
    const oneConnection = await mesh.calls("l4/client", { url, count: 20, keepAlive: true });
    expect(Object.keys(countBy(oneConnection, (call) => seenBy(call).pod))).toHaveLength(1);
    const many = await mesh.calls("l4/client", { url, count: 50 });
    const counts = countBy(many, (call) => seenBy(call).pod);
    expect(counts["captured"]).toBeGreaterThan(5);
    expect(counts["plain"]).toBeGreaterThan(5);
    const service = { destination_service: "mix.mixed.svc.cluster.local", destination_service_name: "mix" };
    const source = await mesh.page("ztunnel/node1", 15_020, "/stats/prometheus");
    expect(findSeries(source, "istio_tcp_connections_opened_total", { ...service, reporter: "source" })).toBe(51);
    const remote = await mesh.page("ztunnel/node2", 15_020, "/stats/prometheus");
    expect(
      findSeries(remote, "istio_tcp_connections_opened_total", { ...service, reporter: "destination" }),
    ).toBeGreaterThan(5);
  });

  it("to a port that the Service has not, or to nobody, are refused and say so", async () => {
    const vip = await mesh.clusterIp("l4/near");
    const answer = await mesh.curl("l4/client", `http://${vip}:4444/`);
    expect(answer).toMatchObject({ status: 0 });
    const line = await mesh.findAccess({ direction: "outbound", error: /no healthy upstream/ }, "node1");
    expect(line.text).toContain(`${vip}:4444`);
  });

  it("through a waypoint keep the Service's address as authority", async () => {
    const answer = await mesh.curl("l4/client", "http://server.by-service/");
    expect(answer.status).toBe(200);
    const vip = await mesh.clusterIp("by-service/server");
    const line = await mesh.findAccess({ direction: "outbound", "dst.hbone_addr": `${vip}:80` }, "node1");
    const [waypoint = ""] = await mesh.waypointPods("by-service", "front");
    expect(line.fields).toMatchObject({
      "dst.workload": waypoint,
      "dst.addr": `${await mesh.podIp(`by-service/${waypoint}`)}:15008`,
      "dst.service": "server.by-service.svc.cluster.local",
    });
    await expectServedFor("by-service", "front");
  });

  it("do not take a pod's workload waypoint, and calls by pod IP do", async () => {
    const ip = await mesh.podIp("by-workload/server");
    expect((await mesh.curl("l4/client", `http://${ip}:8080/`)).status).toBe(200);
    const line = await mesh.findAccess({ direction: "outbound", "dst.hbone_addr": `${ip}:8080` }, "node1");
    const [waypoint = ""] = await mesh.waypointPods("by-workload", "guard");
    expect(line.fields["dst.workload"]).toBe(waypoint);
    await expectServedFor("by-workload", "guard");
  });
});

/** The server's ztunnel has seen one caller only: the waypoint. (It keeps its connection, so no log line has to be there.) */
async function expectServedFor(namespace: string, waypoint: string): Promise<void> {
  const page = await mesh.page("ztunnel/node2", 15_020, "/stats/prometheus");
  const all = { reporter: "destination", destination_workload_namespace: namespace };
  const opened = (labels: Readonly<Record<string, string>>): number =>
    findSeries(page, "istio_tcp_connections_opened_total", { ...all, ...labels });
  expect(opened({ source_principal: spiffe(namespace, waypoint) })).toBeGreaterThan(0);
  expect(opened({ source_principal: spiffe(namespace, waypoint) })).toBe(opened({}));
}

/** curl's: a FIN without a byte, a reset, and a reset that was there before curl looked at its new connection. */
const refusedExitCodes = [52, 56, 7];

describe("an ALLOW policy that no caller matches", () => {
  it("refuses a captured caller with ztunnel's words on both sides, and names the policy and whom it refused", async () => {
    const answer = await mesh.curl("l4/client", "http://server.guarded/");
    expect(answer.status).toBe(0);
    expect(refusedExitCodes).toContain(answer.curlExitCode);
    const outbound = await mesh.findAccess({ direction: "outbound", "dst.namespace": "guarded" }, "node1");
    expect(outbound).toMatchObject({ level: "error" });
    expect(outbound.fields["error"]).toBe("http status: 401 Unauthorized");
    const inbound = await mesh.findAccess(
      { direction: "inbound", "dst.namespace": "guarded", "src.workload": "client" },
      "node2",
    );
    expect(inbound.fields).toMatchObject({
      error: "connection closed due to policy rejection: allow policies exist, but none allowed",
      policy: "guarded/only-nobody",
      "denied.identity": spiffe("l4", "client"),
    });
    const page = await mesh.page("ztunnel/node2", 15_020, "/stats/prometheus");
    const wanted = { reporter: "destination", destination_workload_namespace: "guarded", response_flags: "DENY" };
    expect(findSeries(page, "istio_tcp_connections_failed_total", wanted)).toBeGreaterThan(0);
  });

  it("refuses a plaintext caller", async () => {
    const answer = await mesh.curl("outside/client", "http://server.guarded/");
    expect(answer.status).toBe(0);
    expect(refusedExitCodes).toContain(answer.curlExitCode);
    const inbound = await mesh.findAccess({
      direction: "inbound",
      "dst.namespace": "guarded",
      "src.namespace": "outside",
    });
    expect(inbound.fields).toMatchObject({
      error: "connection closed due to policy rejection: allow policies exist, but none allowed",
      "denied.identity": "none",
    });
  });
});

describe("a hand-made HBONE client", () => {
  const from = "outside/client";

  it("is served for the pod's own address and refused with 400 for another's", async () => {
    const [far, near] = [await mesh.podIp("l4/far"), await mesh.podIp("l4/near")];
    const connects = [{ authority: `${far}:8080` }, { authority: `${near}:8080` }];
    const results = await clients.call({ from, to: far, as: "l4/client", expect: ["l4/far"], connects });
    expect(results[0]).toMatchObject({ tunnel: 200, status: 200 });
    expect(results[1]).toMatchObject({ error: "HBONE_CONNECT_REFUSED", status: 400 });
    await mesh.findAccess({ direction: "inbound", error: `ip mismatch: ${far} != ${near}` }, "node2");
  });

  it("may name a service of the pod, by numeric and by named target port, and nothing else", async () => {
    const far = await mesh.podIp("l4/far");
    const connects = [
      "back.l4.svc.cluster.local:80",
      "back.l4.svc.cluster.local:81",
      "back.l4.svc.cluster.local:82",
      "nobody.l4.svc.cluster.local:80",
    ].map((authority) => ({ authority }));
    const results = await clients.call({ from, to: far, as: "l4/client", expect: ["l4/far"], connects });
    expect(results.map(({ tunnel, status }) => ({ tunnel, status }))).toEqual([
      { tunnel: 200, status: 200 },
      { tunnel: 200, status: 200 },
      { tunnel: undefined, status: 503 },
      { tunnel: undefined, status: 503 },
    ]);
  });

  it("is refused with 401 by a policy and with 503 when the application does not listen", async () => {
    const [server, far] = [await mesh.podIp("guarded/server"), await mesh.podIp("l4/far")];
    const denied = await clients.call({
      from,
      to: server,
      as: "l4/client",
      expect: ["guarded/server"],
      connects: [{ authority: `${server}:8080` }],
    });
    expect(denied[0]).toMatchObject({ error: "HBONE_CONNECT_REFUSED", status: 401 });
    const allowed = await clients.call({
      from,
      to: server,
      as: "l4/nobody",
      expect: ["guarded/server"],
      connects: [{ authority: `${server}:8080` }],
    });
    expect(allowed[0]).toMatchObject({ tunnel: 200, status: 200 });
    const closed = await clients.call({
      from,
      to: far,
      as: "l4/client",
      expect: ["l4/far"],
      connects: [{ authority: `${far}:4444` }],
    });
    expect(closed[0]).toMatchObject({ status: 503 });
  });

  it.each([
    ["of another trust domain", { as: "spiffe://other.example/ns/l4/sa/client" }],
    ["that has expired", { as: "l4/client", certificate: { expired: true } }],
    ["that signed itself", { as: "l4/client", certificate: { selfSigned: true } }],
    ["without an identity", { as: "l4/client", certificate: { uris: [] } }],
    ["with two identities", { as: "l4/client", certificate: { extraUris: ["spiffe://cluster.local/ns/l4/sa/near"] } }],
  ])("gets nothing with a certificate %s", async (_what, { as, certificate }: { as: string; certificate?: object }) => {
    const far = await mesh.podIp("l4/far");
    const call = clients.call({
      from,
      to: far,
      as,
      expect: ["l4/far"],
      connects: [{ authority: `${far}:8080` }],
      ...(certificate === undefined ? {} : { certificate }),
    });
    const outcome = await call.then(
      (results) => results[0]?.error ?? "served",
      (error: Error) => error.message.split(":")[0],
    );
    expect(outcome).toMatch(/^HBONE_/);
  });

  it.each([15_001, 15_006, 15_008, 15_053])("cannot reach ztunnel's own port %i through a tunnel", async (port) => {
    const far = await mesh.podIp("l4/far");
    const connects = [{ authority: `${far}:${port}` }];
    const [result] = await clients.call({ from, to: far, as: "l4/client", expect: ["l4/far"], connects });
    expect(result).toMatchObject({ error: "HBONE_CONNECT_REFUSED", status: 503 });
  });
});

describe("malicious calls", () => {
  const ports = [15_001, 15_006, 15_008, 15_000, 15_020, 15_021] as const;

  it("to the mesh's ports on the own pod, localhost and another pod are never served, never loop and never leak", async () => {
    const targets = [
      "127.0.0.1",
      await mesh.podIp("l4/client"),
      await mesh.podIp("l4/near"),
      await mesh.podIp("l4/far"),
    ];
    // A cluster may have other callers.
    const lines = async (): Promise<number> => (await mesh.accessLines({ "src.namespace": /^(l4|outside)$/ })).length;
    const before = { lines: await lines(), sockets: await openSockets() };
    for (const from of ["l4/client", "outside/client"] as const) {
      const urls = targets.flatMap((ip) => ports.map((port) => `http://${ip}:${port}/config_dump`));
      const script = urls.map((url) => `curl -s -m 2 -o /dev/null -w '${url} %{http_code}\\n' ${url}`).join("; ");
      const { stdout } = await mesh.exec(from, ["sh", "-c", `${script}; true`]);
      const served = stdout.split("\n").filter((line) => line !== "" && !line.endsWith(" 000"));
      expect(served).toEqual([]);
    }
    // A loop would have logged without end, or held on to sockets.
    expect((await lines()) - before.lines).toBeLessThan(2 * targets.length * ports.length * 2);
    await eventually(async () => expect(await openSockets()).toBeLessThanOrEqual(before.sockets), {
      timeoutMs: 10_000,
    });
  });

  it("to ztunnel's own pod see its readiness and metrics, but never its admin page", async () => {
    const ip = await mesh.partIp("ztunnel/node2");
    for (const from of ["l4/client", "outside/client"] as const) {
      expect((await mesh.curl(from, `http://${ip}:15021/healthz/ready`)).status).toBe(200);
      expect((await mesh.curl(from, `http://${ip}:15020/stats/prometheus`)).status).toBe(200);
      for (const port of [15_000, 15_001, 15_006, 15_008]) {
        expect((await mesh.curl(from, `http://${ip}:${port}/config_dump`, { timeoutSeconds: 2 })).status).toBe(0);
      }
    }
  });

  async function openSockets(): Promise<number> {
    const pages = await Promise.all(
      ["node1", "node2"].map((node) => mesh.page(`ztunnel/${node}`, 15_020, "/stats/prometheus")),
    );
    return pages.reduce((sum, page) => sum + findSeries(page, "istio_tcp_sockets_open", {}), 0);
  }
});

describe("certificates", () => {
  it("are held for the identities of the node's own captured pods and for no other", async () => {
    for (const [node, pod, own] of [
      ["node1", "l4/client", [spiffe("l4", "client"), spiffe("l4", "near")]],
      [
        "node2",
        "l4/far",
        [
          spiffe("by-service", "default"),
          spiffe("by-workload", "default"),
          spiffe("guarded", "server"),
          spiffe("l4", "far"),
          spiffe("mixed", "default"),
        ],
      ],
    ] as const) {
      // A cluster may have captured pods of others, which come and go.
      await eventually(
        async () => {
          const captured = await capturedIdentities(pod);
          const dump = (await mesh.configDump(node)) as { certificates: { identity: string; state: string }[] };
          // Its own, for its own port and for hairpins, is fetched when it is needed.
          const certificates = dump.certificates.filter(
            ({ identity }) => identity !== spiffe("istio-system", "ztunnel"),
          );
          expect(certificates.map(({ identity }) => identity).toSorted()).toEqual(captured);
          expect(certificates.filter(({ state }) => state !== "Available")).toEqual([]);
          expect(captured).toEqual(expect.arrayContaining([...own]));
        },
        { timeoutMs: 20_000, intervalMs: 250 },
      );
    }
  });

  /** Of the captured pods on the node of this one, in their order. */
  async function capturedIdentities(neighbour: PodName): Promise<readonly string[]> {
    const nodeOf = ({ spec }: KubernetesObject): string | undefined => (spec as { nodeName?: string }).nodeName;
    const node = nodeOf(await mesh.object("Pod", neighbour));
    const captured = (await mesh.mesh.get("Pod")).filter(
      (pod) => nodeOf(pod) === node && pod.metadata.annotations?.["ambient.istio.io/redirection"] === "enabled",
    );
    const identities = captured.map(({ metadata, spec }) =>
      spiffe(metadata.namespace ?? "", (spec as { serviceAccountName?: string }).serviceAccountName ?? "default"),
    );
    return [...new Set(identities)].toSorted();
  }

  it("are given up with the last pod of an identity", async () => {
    const brief = `apiVersion: v1
kind: ServiceAccount
metadata: {name: brief, namespace: l4}
---
apiVersion: v1
kind: Pod
metadata: {name: brief, namespace: l4}
spec:
  nodeName: node2
  serviceAccountName: brief
  terminationGracePeriodSeconds: 1
  containers: [{name: main, command: [sleep, infinity]}]
`;
    const held = async (): Promise<readonly string[]> =>
      ((await mesh.configDump("node2")) as { certificates: { identity: string }[] }).certificates.map(
        ({ identity }) => identity,
      );
    await mesh.apply(brief);
    await eventually(async () => expect(await held()).toContain(spiffe("l4", "brief")));
    await mesh.delete(brief);
    await eventually(async () => expect(await held()).not.toContain(spiffe("l4", "brief")), { timeoutMs: 10_000 });
  });

  interface Answer {
    readonly got?: string;
    readonly refused?: string;
  }

  it("are signed for a pod's own token in its own name, whatever it asks for, and for nobody else", async () => {
    const ca = `https://${await mesh.clusterIp("istio-system/istiod")}:15012`;
    const ask = async (identity: string, how: "own" | "other"): Promise<Answer | undefined> =>
      (await mesh.runApp<Answer>("outside/holder", "ask-certificate", [ca, identity, how]))[0];
    expect(await ask(spiffe("outside", "holder"), "own")).toEqual({ got: spiffe("outside", "holder") });
    // The request names another; the CA signs the token's, and the client sees that it is not what it wanted.
    expect((await ask(spiffe("l4", "client"), "own"))?.got).toBeUndefined();
    expect(await ask(spiffe("l4", "client"), "other")).toMatchObject({ refused: "CA_REFUSED" });
    expect(await ask(spiffe("istio-system", "ztunnel"), "other")).toMatchObject({ refused: "CA_REFUSED" });
  });
});

describe("ztunnel's own metrics", () => {
  it("can be read over HBONE, under its identity", async () => {
    const ip = await mesh.partIp("ztunnel/node2");
    const connects = [
      { authority: `${ip}:15020`, path: "/stats/prometheus" },
      { authority: `${ip}:15000`, path: "/config_dump" },
    ];
    const order = {
      from: "outside/client",
      to: ip,
      as: "l4/client",
      expect: ["istio-system/ztunnel"],
      connects,
    } as const;
    const [metrics, admin] = await clients.call(order);
    expect(metrics).toMatchObject({ tunnel: 200, status: 200 });
    expect(metrics?.answer).toContain("istio_tcp_connections_opened_total");
    expect(admin?.status).toBe(503);
  });
});

describe("names in a captured pod", () => {
  interface Resolved {
    readonly name: string;
    readonly a: string[] | string;
    readonly aaaa: string[] | string;
    readonly system: string[] | string;
  }

  it("of Services resolve in full and through the search domains; unknown ones are passed on", async () => {
    const names = [
      "far",
      "far.l4",
      "far.l4.svc",
      "far.l4.svc.cluster.local",
      "back-headless.l4.svc.cluster.local",
      "nobody.l4.svc.cluster.local",
      "example.org",
    ];
    const told = await mesh.runApp<Resolved>("l4/client", "resolve", names);
    const byName = new Map(told.map((answer) => [answer.name, answer]));
    const vip = await mesh.clusterIp("l4/far");
    for (const name of ["far", "far.l4", "far.l4.svc", "far.l4.svc.cluster.local"]) {
      expect(byName.get(name)?.system).toEqual([vip]);
    }
    expect(byName.get("far.l4.svc.cluster.local")).toMatchObject({ a: [vip], aaaa: "ENODATA" });
    const pods = [await mesh.podIp("l4/near"), await mesh.podIp("l4/far")].toSorted();
    const headless = byName.get("back-headless.l4.svc.cluster.local");
    expect(Array.isArray(headless?.a) ? headless.a.toSorted() : headless?.a).toEqual(pods);
    expect(headless?.aaaa).toBe("ENODATA");
    for (const name of ["nobody.l4.svc.cluster.local", "example.org"]) {
      expect(byName.get(name)).toMatchObject({ a: "ENOTFOUND", system: "ENOTFOUND" });
    }
  });

  it("of a headless Service lead to its pods, by HBONE", async () => {
    const answer = await mesh.curl("l4/client", "http://back-headless:8080/");
    expect(answer.status).toBe(200);
    expect(["near", "far"]).toContain(seenBy(answer).pod);
  });
});
