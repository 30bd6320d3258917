import { describe, expect, it } from "vitest";
import type { DaemonConfig } from "../daemon/daemon-config.ts";
import { defaultIpv4Ranges } from "../fabric/address-plan.ts";
import { deploymentKind, gatewayKind, podKind, serviceAccountKind, serviceKind } from "../object/kinds.ts";
import type { Gateway } from "../object/kubernetes-object.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { object, shopStore } from "../testing/objects.ts";
import { settle } from "../testing/settle.ts";
import { planDeployments, planReplicaSets } from "./plan-deployments.ts";
import { planGarbage } from "./plan-garbage.ts";
import { createServicePlanner } from "./plan-services.ts";
import { createWaypointPlanner } from "./plan-waypoints.ts";

const config: DaemonConfig = {
  name: "test",
  stateDirectory: "/nowhere",
  nodeCount: 2,
  ranges: [defaultIpv4Ranges],
  trustDomain: "cluster.local",
  rootNamespace: "istio-system",
  clusterDomain: "cluster.local",
  clusterId: "Kubernetes",
  writableHost: false,
  meshParts: true,
  logLevel: "info",
};
const planners = [
  createWaypointPlanner({ config, user: 1337 }),
  planDeployments,
  planReplicaSets,
  createServicePlanner([defaultIpv4Ranges]),
  planGarbage,
];

function gateway(metadata: Record<string, unknown> = {}, spec: Record<string, unknown> = {}) {
  const listeners = [{ name: "mesh", port: 15_008, protocol: "HBONE" }];
  return object("gateway.networking.k8s.io/v1", "Gateway", "way", {
    metadata,
    spec: { gatewayClassName: "istio-waypoint", listeners, ...spec },
  });
}

function setReady(store: ObjectStore, isReady: boolean): void {
  for (const pod of store.list(podKind))
    store.update({ ...pod, status: { conditions: [{ type: "Ready", status: isReady ? "True" : "False" }] } });
}

function programmed(store: ObjectStore): string {
  const status = (store.list(gatewayKind)[0] as Gateway).status;
  const condition = status?.conditions?.find(({ type }) => type === "Programmed");
  return `${condition?.status} ${condition?.reason} ${(status?.addresses ?? []).map(({ value }) => value).join(",")}`.trim();
}

describe("waypoint Gateways", () => {
  it("get a service account, a Deployment and a Service with Istio's labels and ports", async () => {
    const store = shopStore();
    store.create(gateway({ labels: { team: "blue", "gateway.networking.k8s.io/x": "dropped" } }));
    await settle(store, planners);
    const labels = {
      team: "blue",
      "gateway.networking.k8s.io/gateway-name": "way",
      "gateway.networking.k8s.io/gateway-class-name": "istio-waypoint",
      "gateway.istio.io/managed": "istio.io-mesh-controller",
    };
    expect(store.find(serviceAccountKind, "shop", "way")?.metadata.labels).toEqual(labels);
    expect(store.find(deploymentKind, "shop", "way")?.metadata.labels).toEqual(labels);
    const service = store.find(serviceKind, "shop", "way");
    expect(service?.spec?.selector).toEqual({ "gateway.networking.k8s.io/gateway-name": "way" });
    expect(service?.spec?.ports?.map(({ name, port, appProtocol }) => [name, port, appProtocol])).toEqual([
      ["status-port", 15_021, "tcp"],
      ["mesh", 15_008, "hbone"],
    ]);
    const [pod] = store.list(podKind, "shop");
    expect(pod?.metadata.labels).toMatchObject({ ...labels, "istio.io/dataplane-mode": "none" });
    expect(pod?.spec?.serviceAccountName).toBe("way");
  });

  it("are Programmed only while a replica is ready, and keep their addresses", async () => {
    const store = shopStore();
    store.create(gateway());
    await settle(store, planners);
    expect(programmed(store)).toBe("False AddressNotAssigned");
    setReady(store, true);
    await settle(store, planners);
    expect(programmed(store)).toBe("True Programmed 10.96.0.16,way.shop.svc.cluster.local");
    setReady(store, false);
    await settle(store, planners);
    expect(programmed(store)).toBe("False NoReadyReplica 10.96.0.16,way.shop.svc.cluster.local");
  });

  it("run as the service account that an annotation names, without leaving the other behind", async () => {
    const store = shopStore();
    store.create(gateway());
    await settle(store, planners);
    const current = store.list(gatewayKind)[0]!;
    store.update({
      ...current,
      metadata: { ...current.metadata, annotations: { "gateway.istio.io/service-account": "other" } },
    });
    await settle(store, planners);
    expect(store.list(serviceAccountKind, "shop").map(({ metadata }) => metadata.name)).toEqual(["other"]);
  });

  it("do not take over an object that somebody else made, and say so", async () => {
    const store = shopStore();
    store.create(object("v1", "Service", "way", { spec: { clusterIP: "10.96.0.99" } }));
    store.create(gateway());
    await settle(store, planners);
    expect(store.find(serviceKind, "shop", "way")?.spec?.selector).toBeUndefined();
    const message = (store.list(gatewayKind)[0] as Gateway).status?.conditions?.[0]?.message;
    expect(message).toBe("Service way exists and is not managed by a Gateway; rename one of them");
    setReady(store, true);
    await settle(store, planners);
    expect(programmed(store)).toBe("False Invalid");
  });

  it("of another class, or deployed by hand, are left alone", async () => {
    const store = shopStore();
    store.create(gateway({ name: "a" }, { gatewayClassName: "istio" }));
    store.create(gateway({ name: "b" }, { addresses: [{ type: "Hostname", value: "x.example" }] }));
    await settle(store, planners);
    expect(store.list(deploymentKind)).toEqual([]);
  });

  it("take everything along when they are deleted", async () => {
    const store = shopStore();
    store.create(gateway());
    await settle(store, planners);
    store.remove(store.list(gatewayKind)[0]!);
    await settle(store, planners);
    expect([...store.list(deploymentKind), ...store.list(serviceKind), ...store.list(serviceAccountKind)]).toEqual([]);
  });
});
