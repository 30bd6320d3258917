import { describe, expect, it } from "vitest";
import { defaultIpv4Ranges, defaultIpv6Ranges } from "../fabric/address-plan.ts";
import {
  deploymentKind,
  endpointSliceKind,
  namespaceKind,
  podKind,
  replicaSetKind,
  serviceAccountKind,
  serviceKind,
} from "../object/kinds.ts";
import type { Pod } from "../object/kubernetes-object.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { object, pod, shopStore } from "../testing/objects.ts";
import { settle } from "../testing/settle.ts";
import { planDaemonSets } from "./plan-daemon-sets.ts";
import { planDeployments, planReplicaSets } from "./plan-deployments.ts";
import { planEndpointSlices } from "./plan-endpoint-slices.ts";
import { planGarbage } from "./plan-garbage.ts";
import { planNamespaces } from "./plan-namespaces.ts";
import { planSchedule } from "./plan-schedule.ts";
import { planServiceAccounts } from "./plan-service-accounts.ts";
import { createServicePlanner } from "./plan-services.ts";

const workloads = [planDeployments, planReplicaSets, planDaemonSets, planSchedule, planGarbage];

function deployment(replicas: number, word = "true", strategy?: string) {
  return object("apps/v1", "Deployment", "web", {
    spec: {
      replicas,
      selector: { matchLabels: { app: "web" } },
      ...(strategy === undefined ? {} : { strategy: { type: strategy } }),
      template: { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "main", command: [word] }] } },
    },
  });
}

function makeReady(store: ObjectStore, pods: readonly Pod[]): void {
  for (const one of pods)
    store.update({ ...one, status: { phase: "Running", conditions: [{ type: "Ready", status: "True" }] } });
}

describe("Deployments", () => {
  it("make pods that are named after their ReplicaSet and spread over the nodes", async () => {
    const store = shopStore();
    store.create(deployment(4));
    await settle(store, workloads);
    const [set] = store.list(replicaSetKind);
    const pods = store.list(podKind);
    expect(pods).toHaveLength(4);
    for (const one of pods) {
      expect(one.metadata.name).toMatch(new RegExp(`^${set?.metadata.name}-[a-z0-9]{5}$`));
      expect(one.metadata.generateName).toBe(`${set?.metadata.name}-`);
      expect(one.metadata.ownerReferences?.[0]).toMatchObject({
        kind: "ReplicaSet",
        name: set?.metadata.name,
        controller: true,
      });
      expect(one.metadata.labels?.["pod-template-hash"]).toBe(set?.metadata.name.replace("web-", ""));
    }
    expect(pods.map((one) => one.spec?.nodeName ?? "").toSorted((a, b) => a.localeCompare(b))).toEqual([
      "node1",
      "node1",
      "node2",
      "node2",
    ]);
  });

  it("keep old pods of a changed template until new ones are ready", async () => {
    const store = shopStore();
    store.create(deployment(2));
    await settle(store, workloads);
    makeReady(store, store.list(podKind));
    const old = store.list(podKind).map((one) => one.metadata.name);
    store.update({ ...store.list(deploymentKind)[0]!, spec: deployment(2, "false").spec });
    await settle(store, workloads);
    const fresh = store.list(podKind).filter((one) => !old.includes(one.metadata.name));
    expect(fresh).toHaveLength(2);
    expect(deleted(store)).toEqual([]);
    makeReady(store, fresh.slice(0, 1));
    await settle(store, workloads);
    expect(deleted(store)).toHaveLength(1);
    makeReady(store, fresh);
    await settle(store, workloads);
    expect(deleted(store).sort()).toEqual(old.sort());
  });

  it("with strategy Recreate end all old pods before a new one starts", async () => {
    const store = shopStore();
    store.create(deployment(1, "true", "Recreate"));
    await settle(store, workloads);
    const [old] = store.list(podKind);
    store.update({ ...store.list(deploymentKind)[0]!, spec: deployment(1, "false", "Recreate").spec });
    await settle(store, workloads);
    expect(store.list(podKind).map((one) => one.metadata.name)).toEqual([old?.metadata.name]);
    store.remove(store.list(podKind)[0]!);
    await settle(store, workloads);
    expect(store.list(podKind)).toHaveLength(1);
    expect(store.list(podKind)[0]?.spec?.containers[0]?.command).toEqual(["false"]);
  });

  it("take their ReplicaSets and pods along when they are deleted", async () => {
    const store = shopStore();
    store.create(deployment(1));
    await settle(store, workloads);
    store.remove(store.list(deploymentKind)[0]!);
    await settle(store, workloads);
    expect(store.list(replicaSetKind)).toEqual([]);
    expect(deleted(store)).toHaveLength(1);
  });

  function deleted(store: ObjectStore): string[] {
    return store
      .list(podKind)
      .filter((one) => one.metadata.deletionTimestamp !== undefined)
      .map((one) => one.metadata.name);
  }
});

describe("the scheduler", () => {
  it("honours nodeName", async () => {
    const store = shopStore();
    for (const name of ["a", "b", "c"]) store.create(pod({ name, spec: { nodeName: "node2" } }));
    store.create(pod({ name: "d" }));
    await settle(store, [planSchedule]);
    expect(store.list(podKind).map((one) => one.spec?.nodeName)).toEqual(["node2", "node2", "node2", "node1"]);
  });
});

describe("DaemonSets", () => {
  it("have one pod on every node", async () => {
    const store = shopStore();
    store.create(object("apps/v1", "DaemonSet", "agent", { spec: { template: { spec: { containers: [] } } } }));
    await settle(store, workloads);
    const places = store.list(podKind).map((one) => `${one.metadata.name} on ${one.spec?.nodeName}`);
    expect(places).toEqual(["agent-node1 on node1", "agent-node2 on node2"]);
  });
});

describe("garbage", () => {
  it("is everything in a namespace that is gone, and nothing else", async () => {
    const store = shopStore();
    store.create(object("v1", "Service", "here"));
    store.create(object("v1", "Service", "gone", { metadata: { namespace: "nowhere" } }));
    await settle(store, [planGarbage]);
    expect(store.list(serviceKind).map(({ metadata }) => metadata.name)).toEqual(["here"]);
  });
});

describe("ServiceAccounts", () => {
  it("called default are in every namespace", async () => {
    const store = shopStore();
    await settle(store, [planServiceAccounts]);
    expect(store.list(serviceAccountKind).map(({ metadata }) => metadata.namespace)).toEqual(["shop", "istio-system"]);
  });
});

describe("Services", () => {
  it("get an address of each family they ask for, keep the one they name, and none when headless", async () => {
    const store = shopStore();
    store.create(object("v1", "Service", "asked", { spec: { clusterIP: "10.96.0.16" } }));
    store.create(object("v1", "Service", "free", { spec: {} }));
    store.create(object("v1", "Service", "dual", { spec: { ipFamilyPolicy: "PreferDualStack" } }));
    store.create(object("v1", "Service", "headless", { spec: { clusterIP: "None" } }));
    await settle(store, [createServicePlanner([defaultIpv4Ranges, defaultIpv6Ranges])]);
    const ips = store.list(serviceKind).map(({ spec }) => spec?.clusterIPs);
    expect(ips).toEqual([["10.96.0.16"], ["10.96.0.17"], ["10.96.0.18", "fd00:10:96::10"], ["None"]]);
  });
});

describe("EndpointSlices", () => {
  const service = object("v1", "Service", "cart", {
    spec: { selector: { app: "cart" }, ports: [{ name: "http", port: 80, targetPort: "web" }] },
  });
  const withPort = (number: number) => ({
    containers: [{ name: "main", command: ["true"], ports: [{ name: "web", containerPort: number }] }],
  });

  it("list pods by readiness, with the number of a named port", async () => {
    const store = shopStore();
    store.create(service);
    store.create(pod({ name: "a", ip: "10.0.0.1", labels: { app: "cart" }, spec: withPort(8080) }));
    store.create(pod({ name: "b", ip: "10.0.0.2", labels: { app: "cart" }, ready: false, spec: withPort(8080) }));
    store.create(pod({ name: "other", ip: "10.0.0.3", labels: { app: "other" } }));
    store.create(pod({ name: "no-address-yet", labels: { app: "cart" }, spec: withPort(8080) }));
    await settle(store, [planEndpointSlices]);
    const [slice, ...others] = store.list(endpointSliceKind);
    expect(others).toEqual([]);
    expect(slice?.ports).toEqual([{ name: "http", port: 8080, protocol: "TCP" }]);
    expect(slice?.endpoints?.map(({ addresses, conditions }) => [addresses[0], conditions?.ready])).toEqual([
      ["10.0.0.1", true],
      ["10.0.0.2", false],
    ]);
    expect(slice?.endpoints?.[0]?.targetRef).toMatchObject({ kind: "Pod", name: "a", namespace: "shop" });
  });

  it("are several where pods give one port name different numbers", async () => {
    const store = shopStore();
    store.create(service);
    store.create(pod({ name: "a", ip: "10.0.0.1", labels: { app: "cart" }, spec: withPort(8080) }));
    store.create(pod({ name: "b", ip: "10.0.0.2", labels: { app: "cart" }, spec: withPort(9090) }));
    await settle(store, [planEndpointSlices]);
    expect(
      store
        .list(endpointSliceKind)
        .map((slice) => slice.ports?.[0]?.port ?? 0)
        .sort((a, b) => a - b),
    ).toEqual([8080, 9090]);
  });

  it("of Services without a selector are the user's own", async () => {
    const store = shopStore();
    store.create(object("v1", "Service", "external", { spec: { ports: [{ port: 80 }] } }));
    const own = object("discovery.k8s.io/v1", "EndpointSlice", "external-1", {
      metadata: { labels: { "kubernetes.io/service-name": "external" } },
      endpoints: [{ addresses: ["10.9.9.9"] }],
    });
    store.create(own);
    await settle(store, [planEndpointSlices, planGarbage]);
    expect(store.list(endpointSliceKind).map(({ endpoints }) => endpoints)).toEqual([[{ addresses: ["10.9.9.9"] }]]);
  });
});

describe("Namespaces", () => {
  it("carry their name as a label and keep others", async () => {
    const store = shopStore();
    const shop = store.find(namespaceKind, undefined, "shop")!;
    store.update({ ...shop, metadata: { ...shop.metadata, labels: { team: "blue" } } });
    await settle(store, [planNamespaces]);
    const found = store.find(namespaceKind, undefined, "shop");
    expect(found?.metadata.labels).toEqual({ team: "blue", "kubernetes.io/metadata.name": "shop" });
    expect(found?.status).toEqual({ phase: "Active" });
  });
});
