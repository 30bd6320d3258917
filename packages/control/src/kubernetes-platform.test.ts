import { FakeApiServer, eventually } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import type { Condition } from "./collection/kubernetes-object.ts";
import { aDenyPolicy, aNamespace, aPod, aServiceObject } from "./testing/objects.ts";
import { TestControl } from "./testing/test-control.ts";

const ztunnel = aPod("ztunnel-a", { namespace: "istio-system", serviceAccount: "ztunnel", captured: false });
const web = aPod("web", { serviceAccount: "web", ip: "10.0.0.2" });
const webUid = "Kubernetes//Pod/shop/web";

describe("control in a cluster", () => {
  let fake: FakeApiServer;
  beforeEach(async () => {
    fake = await FakeApiServer.start();
    fake.put(aNamespace("shop"), aNamespace("istio-system"), ztunnel, web, aServiceObject("web", "10.96.0.1"));
  });
  afterEach(async () => {
    await fake[Symbol.asyncDispose]();
  });
  const holder = (): string =>
    (fake.find("Lease", "istio-system", "hairpin-control-leader")?.["spec"] as { holderIdentity?: string } | undefined)
      ?.holderIdentity ?? "";
  const conditionsOf = (kind: string, namespace: string, name: string): string[] => {
    const status = fake.find(kind, namespace, name)?.["status"] as { conditions?: readonly Condition[] } | undefined;
    return (status?.conditions ?? []).map(({ type, status: value }) => `${type}=${value}`);
  };

  test("serves what the API server has, and follows it", async () => {
    await using control = await TestControl.startInCluster(fake, "a");
    await using agent = await control.connect(ztunnel);
    await eventually(() => {
      expect([...agent.held.addresses.keys()].sort()).toEqual([
        "Kubernetes//Pod/istio-system/ztunnel-a",
        webUid,
        "shop/web.shop.svc.cluster.local",
      ]);
    });
    fake.put(aDenyPolicy("deny", "web"));
    await eventually(() => expect([...agent.held.authorizations.keys()]).toEqual(["shop/deny"]));
    await eventually(() =>
      expect(conditionsOf("AuthorizationPolicy", "shop", "deny")).toEqual(["ZtunnelAccepted=True"]),
    );
    // Deleted while nobody looks.
    fake.fail({ verb: "watch" }, { status: 500 }, 3);
    fake.dropWatches();
    fake.remove("AuthorizationPolicy", "shop", "deny");
    fake.compact();
    await eventually(() => expect(agent.held.authorizations.size).toBe(0), { timeoutMs: 20_000 });
  }, 40_000);

  test("makes the waypoints' GatewayClass, says that it handles it, and leaves another controller's alone", async () => {
    await using control = await TestControl.startInCluster(fake, "a");
    await eventually(() => expect(conditionsOf("GatewayClass", "", "istio-waypoint")).toEqual(["Accepted=True"]));
    expect(fake.find("GatewayClass", "", "istio-waypoint")?.["spec"]).toEqual({
      controllerName: "hairpin.mesh/waypoint-controller",
    });
    fake.remove("GatewayClass", "", "istio-waypoint");
    fake.put({
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "GatewayClass",
      metadata: { name: "istio-waypoint" },
      spec: { controllerName: "istio.io/mesh-controller" },
    });
    fake.put(aDenyPolicy("later", "web"));
    // Conditions of the later policy are written after those of the class would have been.
    await eventually(() =>
      expect(conditionsOf("AuthorizationPolicy", "shop", "later")).toEqual(["ZtunnelAccepted=True"]),
    );
    expect(conditionsOf("GatewayClass", "", "istio-waypoint")).toEqual([]);
    expect(control.running.ports.secureXds).toBeGreaterThan(0);
  });

  test("of two replicas both serve and one writes; the other goes on when it stops", async () => {
    const first = await TestControl.startInCluster(fake, "a");
    await eventually(() => expect(holder()).toMatch(/^a_/));
    await using second = await TestControl.startInCluster(fake, "b");
    // One CA for both.
    expect(second.running.rootBundlePem).toBe(first.running.rootBundlePem);
    for (const control of [first, second]) {
      const agent = await control.connect(ztunnel);
      await eventually(() => expect(agent.held.addresses.has(webUid)).toBe(true));
      await agent[Symbol.asyncDispose]();
    }
    fake.put(aDenyPolicy("deny", "web"));
    await eventually(() =>
      expect(conditionsOf("AuthorizationPolicy", "shop", "deny")).toEqual(["ZtunnelAccepted=True"]),
    );
    const statusWrites = (): number =>
      fake.requests.filter(({ url }) => url.includes("authorizationpolicies/deny/status")).length;
    expect(statusWrites()).toBe(1);
    await first[Symbol.asyncDispose]();
    expect(holder()).toBe("");
    fake.put(aDenyPolicy("next", "web"));
    await eventually(
      () => expect(conditionsOf("AuthorizationPolicy", "shop", "next")).toEqual(["ZtunnelAccepted=True"]),
      { timeoutMs: 20_000 },
    );
    expect(holder()).toMatch(/^b_/);
    expect(statusWrites()).toBe(1);
  }, 60_000);
});
