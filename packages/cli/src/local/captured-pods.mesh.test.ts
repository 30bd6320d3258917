import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { type LocalMesh, startLocalMesh } from "./local-mesh.ts";
import type { Gateway, Pod } from "./object/kubernetes-object.ts";

const namespaceYaml = (labels: string) => `
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {${labels}}}
`;
const yaml = `${namespaceYaml("istio.io/dataplane-mode: ambient")}---
apiVersion: v1
kind: ServiceAccount
metadata: {name: client, namespace: shop}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop}
spec:
  nodeName: node1
  serviceAccountName: client
  containers: [{name: main, command: [sleep, infinity]}]
---
apiVersion: v1
kind: Pod
metadata: {name: echo, namespace: shop, labels: {app: echo}}
spec:
  nodeName: node2
  containers:
    - name: main
      command: [node, -e, 'require("http").createServer((q,s)=>s.end(q.socket.remoteAddress)).listen(8080)']
      readinessProbe: {httpGet: {path: /, port: 8080}}
---
apiVersion: v1
kind: Service
metadata: {name: echo, namespace: shop}
spec: {selector: {app: echo}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: outsider}
spec: {nodeName: node1, containers: [{name: main, command: [sleep, infinity]}]}
`;
const waypoint = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: way, namespace: shop}
spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}
`;
const strict = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: shop}
spec: {mtls: {mode: STRICT}}
`;

describe("captured pods of a local mesh", () => {
  let mesh: LocalMesh;

  beforeAll(async () => {
    mesh = await startLocalMesh({ name: `captured-${process.pid}`, yaml, readyTimeoutMs: 90_000 });
  });
  afterAll(async () => {
    await mesh?.stop();
  });

  const call = async (pod: string, namespace: string) =>
    await mesh.exec(pod, ["curl", "-sS", "-m5", "http://echo.shop/"], { namespace });
  const pods = async (): Promise<ReadonlyMap<string, Pod>> =>
    new Map(((await mesh.get("pods")) as readonly Pod[]).map((pod) => [pod.metadata.name, pod]));
  const captured = async (name: string) =>
    (await pods()).get(name)?.metadata.annotations?.["ambient.istio.io/redirection"] === "enabled";

  it("are said to be captured, and others are not", async () => {
    expect(await Promise.all(["client", "echo", "outsider", "ztunnel-node1"].map(captured))).toEqual([
      true,
      true,
      false,
      false,
    ]);
  });

  it("call each other with their identities, over nodes, seen from the caller's address", async () => {
    const { stdout, exitCode } = await call("client", "shop");
    const clientIp = (await pods()).get("client")?.status?.podIP;
    expect({ exitCode, stdout }).toEqual({ exitCode: 0, stdout: `::ffff:${clientIp}` });
    await vi.waitFor(async () => {
      const log = await mesh.logs("ztunnel/node2");
      expect(log).toMatch(/src\.identity="spiffe:\/\/cluster\.local\/ns\/shop\/sa\/client".*direction="inbound"/);
    });
  });

  it("can be probed under STRICT, while plaintext from elsewhere is refused", async () => {
    expect((await call("outsider", "default")).exitCode).toBe(0);
    await mesh.apply(strict);
    await vi.waitFor(async () => expect((await call("outsider", "default")).exitCode).not.toBe(0), 5000);
    expect((await call("client", "shop")).exitCode).toBe(0);
    const ready = (await pods()).get("echo")?.status?.conditions?.find(({ type }) => type === "Ready");
    expect(ready?.status).toBe("True");
    await mesh.delete(strict);
  });

  it("are let go and taken again when the label of their namespace changes, and no call fails", async () => {
    const script = `
      const http = require("http"); let on = true;
      process.stdin.on("data", () => { on = false; });
      (async () => { while (on) await new Promise((done) => {
        const end = (word) => { console.log(word); done(); };
        const request = http.get({ host: "echo.shop", agent: false, timeout: 4000 }, (answer) => { answer.resume(); answer.on("end", () => end("ok")); });
        request.on("timeout", () => request.destroy(new Error("timeout")));
        request.on("error", (error) => end(error.message));
      }); process.exit(); })()`;
    const run = await mesh.start("client", ["node", "-e", script], { namespace: "shop" });
    const calls = () => run.stdout.split("\n").length - 1;
    const someCalls = async () => {
      const before = calls();
      await vi.waitFor(() => expect(calls()).toBeGreaterThan(before + 20), 10_000);
    };
    await someCalls();
    await mesh.apply(namespaceYaml(""));
    await vi.waitFor(async () => expect(await captured("echo")).toBe(false), 5000);
    await someCalls();
    await mesh.apply(namespaceYaml("istio.io/dataplane-mode: ambient"));
    await vi.waitFor(async () => expect(await captured("echo")).toBe(true), 5000);
    await someCalls();
    const { stdout } = await run.end("stop\n");
    expect(new Set(stdout.trim().split("\n"))).toEqual(new Set(["ok"]));
  });

  it("are served by a ztunnel that was killed and started again", async () => {
    const restarts = async () => (await pods()).get("ztunnel-node1")?.status?.containerStatuses?.[0]?.restartCount ?? 0;
    const before = await restarts();
    await mesh.kill("ztunnel-node1", { namespace: "istio-system" });
    await vi.waitFor(async () => expect(await restarts()).toBe(before + 1), 10_000);
    await mesh.whenReady(30_000);
    expect((await call("client", "shop")).exitCode).toBe(0);
  });

  it("go through the waypoint of a Gateway that is applied, until it is deleted", async () => {
    const programmed = async () => {
      const [gateway] = (await mesh.get("gateways", "shop")) as readonly Gateway[];
      const condition = gateway?.status?.conditions?.find(({ type }) => type === "Programmed");
      return { status: condition?.status, addresses: gateway?.status?.addresses?.length ?? 0 };
    };
    await mesh.apply(waypoint);
    expect((await programmed()).addresses).toBe(0);
    await mesh.whenReady(60_000);
    expect(await programmed()).toEqual({ status: "True", addresses: 2 });
    await vi.waitFor(async () => {
      expect((await call("client", "shop")).exitCode).toBe(0);
      expect(await mesh.logs("waypoint/way", "shop")).toMatch(/request complete.*sa\/client/);
    }, 10_000);
    await mesh.kill("waypoint/way", { namespace: "shop" });
    await vi.waitFor(async () => expect(await programmed()).toEqual({ status: "False", addresses: 2 }), 10_000);
    await mesh.whenReady(60_000);
    expect((await programmed()).status).toBe("True");
    await mesh.delete(waypoint);
    await mesh.whenReady(60_000);
    expect((await mesh.get("deployments", "shop")).length).toBe(0);
    await vi.waitFor(async () => expect((await call("client", "shop")).exitCode).toBe(0), 10_000);
  });
});
