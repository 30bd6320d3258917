import { systemClock } from "@hairpin/shared/process";
import { FakeApiServer } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { fakeApiOf } from "../testing/fake-api.ts";
import { uninstall } from "./uninstall.ts";
import { whenPodsGone } from "./when-pods-gone.ts";

const rootNamespace = "istio-system";
const node = (name: string, ready: string): object => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: { name },
  status: { conditions: [{ type: "Ready", status: ready }] },
});
const agentOn = (nodeName: string): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: { name: `agent-${nodeName}`, namespace: rootNamespace, labels: { app: "istio-cni-node" } },
  spec: { nodeName },
});

describe("uninstall", () => {
  let fake: FakeApiServer;
  let said: string[];
  let components: Parameters<typeof uninstall>[0];
  beforeEach(async () => {
    fake = await FakeApiServer.start();
    said = [];
    components = { api: fakeApiOf(fake), clock: systemClock, say: (line) => said.push(line) };
  });
  afterEach(async () => await fake[Symbol.asyncDispose]());

  const write = async (kind: string, namespace: string, name: string, fieldManager: string): Promise<unknown> =>
    await components.api.apply(
      { apiVersion: "v1", kind, metadata: { name, namespace }, data: { key: "" } },
      { fieldManager },
    );
  const deleted = (): readonly string[] => fake.requests.filter(({ verb }) => verb === "delete").map(({ url }) => url);

  test("takes the agents away before control, and what control made last", async () => {
    fake.put(
      { apiVersion: "apps/v1", kind: "DaemonSet", metadata: { name: "istio-cni-node", namespace: rootNamespace } },
      { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "istiod", namespace: rootNamespace } },
    );
    await write("ConfigMap", "shop", "istio-ca-root-cert", "hairpin-root-certificate");
    await write("Secret", rootNamespace, "istio-ca-secret", "hairpin-control");
    await uninstall(components, { rootNamespace });
    const order = deleted().map((url) => new URL(url, fake.address).pathname.split("/").at(-1));
    const wanted = ["istio-cni-node", "istiod", "istio-ca-root-cert", "istio-ca-secret"];
    expect(order.filter((name) => wanted.includes(name ?? ""))).toEqual(wanted);
    expect(fake.find("ConfigMap", "shop", "istio-ca-root-cert")).toBeUndefined();
  });

  test("leaves alone what somebody else made under the same names", async () => {
    await write("ConfigMap", "shop", "istio-ca-root-cert", "pilot-discovery");
    await write("Secret", rootNamespace, "istio-ca-secret", "pilot-discovery");
    await write("Secret", rootNamespace, "cacerts", "kubectl");
    await uninstall(components, { rootNamespace });
    expect(fake.find("ConfigMap", "shop", "istio-ca-root-cert")).toBeDefined();
    expect(fake.find("Secret", rootNamespace, "istio-ca-secret")).toBeDefined();
    expect(fake.find("Secret", rootNamespace, "cacerts")).toBeDefined();
  });

  test("takes waypoints away and can be run again", async () => {
    const labels = { "gateway.istio.io/managed": "istio.io-mesh-controller" };
    fake.put(
      { apiVersion: "apps/v1", kind: "Deployment", metadata: { name: "waypoint", namespace: "shop", labels } },
      { apiVersion: "v1", kind: "Service", metadata: { name: "waypoint", namespace: "shop", labels } },
      { apiVersion: "v1", kind: "Service", metadata: { name: "web", namespace: "shop" } },
    );
    await uninstall(components, { rootNamespace });
    await uninstall(components, { rootNamespace });
    expect(fake.find("Deployment", "shop", "waypoint")).toBeUndefined();
    expect(fake.find("Service", "shop", "waypoint")).toBeUndefined();
    expect(fake.find("Service", "shop", "web")).toBeDefined();
  });

  test("takes back what control said of the users' objects, and leaves what others said", async () => {
    const gateway = {
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "Gateway",
      metadata: { name: "waypoint", namespace: "shop" },
    };
    const say = async (type: string, fieldManager: string): Promise<unknown> => {
      const condition = { type, status: "True", reason: "R", message: "", lastTransitionTime: "2026-01-01T00:00:00Z" };
      const object = { ...gateway, status: { conditions: [condition] } };
      return await components.api.apply(object, { fieldManager, subresource: "status" });
    };
    fake.put({ ...gateway, spec: {} });
    await say("Programmed", "hairpin-deployer");
    await say("hairpin.mesh/Bound", "hairpin-control");
    await say("Scheduled", "somebody");
    await uninstall(components, { rootNamespace });
    const { status } = fake.find("Gateway", "shop", "waypoint") as { status?: { conditions?: { type: string }[] } };
    expect(status?.conditions?.map(({ type }) => type)).toEqual(["Scheduled"]);
  });

  test("does not wait for a node that is away, and an event there says what it left", async () => {
    fake.put(node("up", "True"), node("down", "Unknown"), agentOn("down"));
    await uninstall(components, { rootNamespace });
    expect(said).toContain("agents have left their nodes, but for down");
    const written = fake.requests.filter(({ verb, kind }) => verb === "create" && kind === "Event");
    expect(written).toHaveLength(1);
  });

  test("says which agent does not end on a node that is up", async () => {
    fake.put(node("up", "True"), agentOn("up"));
    const waiting = whenPodsGone(components, { namespace: rootNamespace, app: "istio-cni-node", timeoutMs: 0 });
    await expect(waiting).rejects.toThrow(/agent-up on up/);
  });
});
