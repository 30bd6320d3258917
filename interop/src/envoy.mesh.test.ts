// Envoy as an HBONE client, as in a sidecar: towards our ztunnel and towards our waypoint.
import type { RunningProgram } from "@hairpin/cli";
import { seenBy } from "@hairpin/e2e/harness/call-loop";
import { ScenarioMesh } from "@hairpin/e2e/harness/scenario-mesh";
import { startLocalMesh } from "@hairpin/cli";
import { eventually, TestAuthority } from "@hairpin/testkit";
import { afterAll, beforeAll, expect, it } from "vitest";
import { envoyConfig, type TunnelledPort } from "./envoy-config.ts";
import { describeWith } from "./foreign-part.ts";
import { interopManifest } from "./swapped-mesh.ts";

const wholeManifest = `${interopManifest("l4")}---\n${interopManifest("waypoints")}`;
const spiffe = (name: string): string => `spiffe://cluster.local/ns/${name.replace("/", "/sa/")}`;
const client = "outside/client";
const port = { http: 18_080, lines: 18_900, shop: 18_081, foreign: 18_082, impostor: 18_083 } as const;

describeWith("envoy", "Envoy as HBONE client", (path) => {
  let mesh: ScenarioMesh;
  const envoys: RunningProgram[] = [];

  beforeAll(async () => {
    mesh = ScenarioMesh.on(
      await startLocalMesh({ name: "interop-envoy", yaml: wholeManifest, readyTimeoutMs: 90_000 }),
    );
    const authority = new TestAuthority({
      root: {
        certificatePem: await mesh.authorityFile("ca-cert.pem"),
        privateKeyPem: await mesh.authorityFile("ca-key.pem"),
      },
    });
    const server = { proxyIp: await mesh.podIp("l4/server2"), expected: spiffe("l4/server2") };
    const [waypoint = ""] = await mesh.waypointPods("l7", "waypoint");
    const ports: readonly TunnelledPort[] = [
      { ...server, port: port.http, protocol: "http", authority: `${server.proxyIp}:8080` },
      { ...server, port: port.lines, protocol: "tcp", authority: `${server.proxyIp}:9000` },
      {
        ...server,
        port: port.impostor,
        protocol: "tcp",
        authority: `${server.proxyIp}:9000`,
        expected: spiffe("l4/server1"),
      },
      {
        port: port.shop,
        protocol: "http",
        authority: `${await mesh.clusterIp("l7/shop")}:80`,
        proxyIp: await mesh.podIp(`l7/${waypoint}`),
        expected: spiffe("l7/waypoint"),
      },
    ];
    envoys.push(await startEnvoy(envoyConfig(authority.material("l4/client1"), ports)));
    const foreign = { ...server, port: port.foreign, protocol: "http", authority: `${server.proxyIp}:8080` } as const;
    envoys.push(await startEnvoy(envoyConfig(authority.material("spiffe://elsewhere/ns/l4/sa/client1"), [foreign])));
    for (const listening of [port.http, port.foreign])
      await eventually(
        async () => expect((await mesh.exec(client, ["curl", "-s", `127.0.0.1:${listening}`])).exitCode).not.toBe(7),
        {
          timeoutMs: 30_000,
        },
      );
  });
  afterAll(async () => {
    for (const envoy of envoys) envoy.kill();
    await mesh?.[Symbol.asyncDispose]();
  });

  async function startEnvoy(config: string): Promise<RunningProgram> {
    const argv = [path, "--config-yaml", config, "--concurrency", "1", "--disable-hot-restart", "--log-level", "warn"];
    return await mesh.mesh.start("client", argv, { namespace: "outside", timeoutMs: 300_000 });
  }

  const policy = (account: string): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: callers, namespace: l4 }
spec:
  selector: { matchLabels: { app: server2 } }
  rules: [{ from: [{ source: { principals: [cluster.local/ns/l4/sa/${account}] } }] }]
`;

  it("is delivered by our ztunnel, from its own address", async () => {
    const answer = await mesh.curl(client, `http://127.0.0.1:${port.http}/`);
    expect(seenBy(answer)).toMatchObject({ pod: "server2", caller: await mesh.podIp(client) });
  });

  it("shares one session for many calls at once, and gets many bytes whole", async () => {
    const size = 24_000_000;
    const url = `http://127.0.0.1:${port.http}`;
    const { stdout } = await mesh.exec(client, ["curl", "-sS", "-Z", "--parallel-max", "40", `${url}/[1-40]`]);
    expect(stdout.split("\n").filter(Boolean)).toHaveLength(40);
    const digest = async (from: "outside/client" | "l4/server2", origin: string): Promise<string> =>
      (await mesh.exec(from, ["sh", "-c", `curl -sS -m 20 ${origin}/bytes/${size} | sha256sum`])).stdout;
    expect(await digest(client, url)).toBe(await digest("l4/server2", "http://127.0.0.1:8080"));
  });

  it("may end its half of a connection before the other; our ztunnel tells the identity of its certificate", async () => {
    const [told] = await mesh.runApp<{ answer: string }>(client, "half-close", ["127.0.0.1", String(port.lines)]);
    expect(told?.answer).toMatch(/^\w+ last words\n$/);
    const parties = { "src.identity": spiffe("l4/client1"), "dst.identity": spiffe("l4/server2") };
    await mesh.findAccess({ ...parties, direction: "inbound" }, "node2");
  });

  it("is refused by our ztunnel's policy, and served again when that changes", async () => {
    await mesh.apply(policy("nobody"));
    await eventually(async () => expect((await mesh.curl(client, `http://127.0.0.1:${port.http}/`)).status).toBe(503));
    await mesh.apply(policy("client1"));
    await eventually(async () => expect((await mesh.curl(client, `http://127.0.0.1:${port.http}/`)).status).toBe(200));
    await mesh.delete(policy("client1"));
  });

  it("is refused with a certificate of another trust domain", async () => {
    expect((await mesh.curl(client, `http://127.0.0.1:${port.foreign}/`)).status).toBe(503);
  });

  it("does not take our ztunnel for another workload's", async () => {
    const held = await mesh.hold(client, "127.0.0.1", port.impostor);
    await held.end();
  });

  it("is routed and authorised by our waypoint", async () => {
    const url = `http://127.0.0.1:${port.shop}`;
    expect(seenBy(await mesh.curl(client, `${url}/`)).pod).toBe("v1");
    const routed = seenBy(await mesh.curl(client, `${url}/v2/item`));
    expect(routed).toMatchObject({ pod: "v2" });
    expect(routed.headers["x-routed"]).toBe("waypoint");
    expect(await mesh.curl(client, url, { method: "POST" })).toMatchObject({
      status: 403,
      body: "RBAC: access denied",
    });
  });

  it("finds our ztunnel again after it was killed", async () => {
    await mesh.local.kill("ztunnel/node2", { namespace: "istio-system" });
    await eventually(async () => expect((await mesh.curl(client, `http://127.0.0.1:${port.http}/`)).status).toBe(200), {
      timeoutMs: 30_000,
    });
  });
});
