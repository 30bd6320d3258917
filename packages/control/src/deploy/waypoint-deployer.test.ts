import { systemClock } from "@hairpin/shared/process";
import { noLogger } from "@hairpin/shared/telemetry";
import { FakeApiServer, eventually } from "@hairpin/testkit";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { ObjectCollection } from "../collection/object-collection.ts";
import { KubernetesSource } from "../kubernetes/kubernetes-source.ts";
import { createKubernetesStatusSink } from "../status/kubernetes-status-sink.ts";
import { fakeApiOf } from "../testing/fake-api.ts";
import { createClusterRuntime } from "./cluster-runtime.ts";
import { WaypointDeployer, statusManager } from "./waypoint-deployer.ts";

interface Shown {
  readonly metadata: { readonly uid: string; readonly labels?: Record<string, string>; readonly generation?: number };
  readonly spec?: Record<string, unknown>;
  readonly status?: {
    readonly addresses?: readonly { readonly value: string }[];
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason: string;
      readonly message: string;
    }[];
  };
}

const listeners = [{ name: "mesh", port: 15_008, protocol: "HBONE" }];
const gateway = (name = "way", metadata: object = {}, spec: object = {}): object => ({
  apiVersion: "gateway.networking.k8s.io/v1",
  kind: "Gateway",
  metadata: { name, namespace: "shop", ...metadata },
  spec: { gatewayClassName: "istio-waypoint", listeners, ...spec },
});
const configMap = (name: string, data: object, metadata: object = {}): object => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { name, namespace: "shop", ...metadata },
  data,
});
const replica = (isReady: boolean): object => ({
  apiVersion: "v1",
  kind: "Pod",
  metadata: {
    name: "way-1",
    namespace: "shop",
    labels: {
      "gateway.networking.k8s.io/gateway-name": "way",
      "gateway.istio.io/managed": "istio.io-mesh-controller",
    },
  },
  spec: { containers: [] },
  status: { conditions: [{ type: "Ready", status: isReady ? "True" : "False" }] },
});
/** What failed is tried again after a growing wait. */
const retried = { timeoutMs: 40_000 };
const ownKinds = ["ServiceAccount", "Service", "Deployment"] as const;

describe("WaypointDeployer", { timeout: 60_000 }, () => {
  let fake: FakeApiServer;
  let leadership: { leading: boolean; onChange: (listener: () => void) => () => void };
  let changeLeader: () => void;
  let parts: { stop(): Promise<void> }[];
  beforeEach(async () => {
    fake = await FakeApiServer.start();
    changeLeader = () => {};
    leadership = { leading: true, onChange: (listener) => ((changeLeader = listener), () => {}) };
    parts = [];
  });
  afterEach(async () => {
    for (const part of parts) await part.stop();
    await fake[Symbol.asyncDispose]();
  });

  const start = async (): Promise<void> => {
    const components = { api: fakeApiOf(fake), clock: systemClock, logger: noLogger };
    const objects = new ObjectCollection();
    const source = new KubernetesSource({ ...components, objects }, { name: "test" });
    const statuses = createKubernetesStatusSink(components, { fieldManager: statusManager });
    const deployer = new WaypointDeployer(
      { ...components, objects, leadership, statuses },
      {
        runtime: createClusterRuntime({
          image: "hairpin:1",
          imagePullPolicy: "",
          imagePullSecrets: [],
          proxy: {
            control: "istiod.istio-system.svc:15012",
            clusterId: "Kubernetes",
            clusterDomain: "cluster.local",
            trustDomain: "cluster.local",
            network: "",
            log: { level: "info", format: "plain" },
          },
        }),
        rootNamespace: "istio-system",
        clusterDomain: "cluster.local",
      },
    );
    parts.push(deployer, source);
    await source.start();
    await deployer.start();
  };
  const find = (kind: string, name = "way"): Shown | undefined => fake.find(kind, "shop", name) as Shown | undefined;
  const condition = (type = "Programmed", name = "way"): string | undefined => {
    const found = find("Gateway", name)?.status?.conditions?.find((held) => held.type === type);
    return found === undefined ? undefined : `${found.status} ${found.reason}: ${found.message}`;
  };
  const deployed = async (): Promise<void> => {
    fake.put(gateway());
    await start();
    await eventually(() => {
      for (const kind of ownKinds) expect(find(kind)).toBeDefined();
    });
  };
  /** As the cluster's allocator. */
  const giveClusterIp = (): void => {
    const service = find("Service") as Shown;
    fake.put({ ...service, spec: { ...service.spec, clusterIP: "10.96.0.9", clusterIPs: ["10.96.0.9"] } });
  };
  const container = (): Record<string, unknown> => {
    const template = find("Deployment")?.spec?.["template"] as { spec: { containers: Record<string, unknown>[] } };
    return template.spec.containers[0] ?? {};
  };
  const applies = (): number =>
    fake.requests.filter(({ verb, url }) => verb === "apply" && !url.includes("/status")).length;

  test("makes a Gateway's objects once, owned by it", async () => {
    await deployed();
    const uid = (find("Gateway") as Shown).metadata.uid;
    for (const kind of ownKinds)
      expect(find(kind)?.metadata).toMatchObject({ ownerReferences: [{ kind: "Gateway", name: "way", uid }] });
    await eventually(() => expect(condition()).toBe("False AddressNotAssigned: no replica of the waypoint is ready"));
    expect(applies()).toBe(3);
    expect(find("HorizontalPodAutoscaler")).toBeUndefined();
  });

  test("says Programmed and the addresses when a replica is ready, and only while one is", async () => {
    await deployed();
    giveClusterIp();
    fake.put(replica(true));
    await eventually(() => expect(condition()).toBe("True Programmed: 1 of 1 replicas are ready"));
    const addresses = (): unknown => find("Gateway")?.status?.addresses?.map(({ value }) => value);
    expect(addresses()).toEqual(["10.96.0.9", "way.shop.svc.cluster.local"]);
    fake.put(replica(false));
    await eventually(() => expect(condition()).toBe("False NoReadyReplica: no replica of the waypoint is ready"));
    expect(addresses()).toEqual(["10.96.0.9", "way.shop.svc.cluster.local"]);
  });

  test("mends what somebody changed or deleted, and leaves what others decide", async () => {
    await deployed();
    const deployment = find("Deployment") as Shown;
    const spec = structuredClone(deployment.spec) as Record<string, unknown> & {
      template: { spec: { containers: Record<string, unknown>[] } };
    };
    spec.template.spec.containers[0]!["image"] = "mine";
    fake.put({ ...deployment, spec: { ...spec, replicas: 3 } });
    await eventually(() => expect(container()["image"]).toBe("hairpin:1"));
    expect(find("Deployment")?.spec?.["replicas"]).toBe(3);
    fake.remove("Service", "shop", "way");
    await eventually(() => expect(find("Service")).toBeDefined());
  });

  test("writes nothing more when nothing is wrong: not for a status, nor for what an allocator adds", async () => {
    await deployed();
    giveClusterIp();
    const deployment = find("Deployment") as Shown;
    fake.put({ ...deployment, status: { readyReplicas: 1 } });
    fake.put(replica(true));
    await eventually(() => expect(condition()).toContain("True Programmed"));
    // The Service once more: what it says had changed. Then quiet, whatever happens elsewhere.
    await eventually(() => expect(applies()).toBeLessThanOrEqual(4));
    const before = applies();
    for (let index = 0; index < 5; index++) fake.put(configMap(`other-${index}`, {}), replica(index % 2 === 0));
    await eventually(() => expect(condition()).toContain("True Programmed"));
    expect(applies()).toBe(before);
  });

  test("deletes the objects of a Gateway that is not ours any more, and of one that has another name for them", async () => {
    await deployed();
    const metadata = { annotations: { "gateway.istio.io/name-override": "other" } };
    fake.put({ ...(find("Gateway") as object), metadata: { ...(find("Gateway") as Shown).metadata, ...metadata } });
    await eventually(() => {
      expect([find("Deployment", "other"), find("Service", "other")]).not.toContain(undefined);
      expect([find("Deployment"), find("Service")]).toEqual([undefined, undefined]);
    });
    const addresses = [{ type: "Hostname", value: "by.hand.example" }];
    fake.put({ ...(find("Gateway") as object), spec: { gatewayClassName: "istio-waypoint", listeners, addresses } });
    await eventually(() => {
      expect(find("Deployment", "other")).toBeUndefined();
      expect(find("Service", "other")).toBeUndefined();
      expect(find("ServiceAccount")).toBeUndefined();
    });
  });

  test("deletes what a deleted Gateway left behind when nothing says whose it was; the rest is the garbage collector's", async () => {
    await deployed();
    const service = find("Service") as { metadata: object };
    fake.put({ ...service, metadata: { ...service.metadata, ownerReferences: [] } });
    // Mended before the Gateway goes? Then it is the collector's as well: make it an orphan afterwards.
    await eventually(() => expect(find("Service")?.metadata).toHaveProperty("ownerReferences.length", 1));
    fake.remove("Gateway", "shop", "way");
    const orphan = find("Service") as { metadata: object };
    fake.put({ ...orphan, metadata: { ...orphan.metadata, ownerReferences: [] } });
    await eventually(() => expect(find("Service")).toBeUndefined());
    expect(find("Deployment")).toBeDefined();
  });

  test("leaves Gateways of other classes, and those deployed by hand, alone", async () => {
    fake.put(gateway("a", {}, { gatewayClassName: "istio" }));
    fake.put(gateway("b", {}, { addresses: [{ type: "Hostname", value: "x.example" }] }));
    fake.put(gateway());
    await start();
    await eventually(() => expect(find("Deployment")).toBeDefined());
    expect([find("Deployment", "a"), find("Deployment", "b")]).toEqual([undefined, undefined]);
    expect([condition("Programmed", "a"), condition("Programmed", "b")]).toEqual([undefined, undefined]);
  });

  test("does not take over an object that somebody else made, and says so", async () => {
    fake.put({
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "way", namespace: "shop" },
      spec: { clusterIP: "10.96.0.99" },
    });
    fake.put(gateway(), replica(true));
    await start();
    await eventually(() =>
      expect(condition()).toBe("False Invalid: Service way exists and is not managed by a Gateway; rename one of them"),
    );
    expect(find("Service")?.spec).toEqual({ clusterIP: "10.96.0.99" });
    fake.remove("Service", "shop", "way");
    await eventually(() => expect(condition()).toBe("True Programmed: 1 of 1 replicas are ready"), retried);
  });

  test("lays the class's default and then the Gateway's own overlay over its objects, and follows both", async () => {
    const labels = { "gateway.istio.io/defaults-for-class": "istio-waypoint" };
    fake.put(
      configMap(
        "defaults",
        { deployment: "spec: {replicas: 2, minReadySeconds: 5}" },
        { namespace: "istio-system", labels },
      ),
    );
    fake.put(
      configMap("params", { deployment: "spec: {replicas: 4}", podDisruptionBudget: "spec: {minAvailable: 1}" }),
    );
    const infrastructure = { parametersRef: { group: "", kind: "ConfigMap", name: "params" } };
    fake.put(gateway("way", {}, { infrastructure }));
    await start();
    await eventually(() => expect(find("Deployment")?.spec).toMatchObject({ replicas: 4, minReadySeconds: 5 }));
    await eventually(() => expect(find("PodDisruptionBudget")?.spec).toMatchObject({ minAvailable: 1 }));
    fake.put(configMap("params", { deployment: "spec: {replicas: 6}" }));
    await eventually(() => {
      expect(find("Deployment")?.spec).toMatchObject({ replicas: 6, minReadySeconds: 5 });
      expect(find("PodDisruptionBudget")).toBeUndefined();
    });
    fake.remove("ConfigMap", "istio-system", "defaults");
    await eventually(() => expect(find("Deployment")?.spec).not.toHaveProperty("minReadySeconds"));
  });

  test("leaves a running waypoint as it is when an overlay is missing or wrong, says so, and follows when it is mended", async () => {
    await deployed();
    giveClusterIp();
    fake.put(replica(true));
    const infrastructure = { parametersRef: { group: "", kind: "ConfigMap", name: "params" } };
    fake.put(gateway("way", {}, { infrastructure }));
    await eventually(() =>
      expect(condition("gateway.hairpin.mesh/Applied")).toBe(
        "False Invalid: ConfigMap shop/params, which parametersRef names, does not exist",
      ),
    );
    expect(condition()).toBe("True Programmed: 1 of 1 replicas are ready");
    fake.put(configMap("params", { deployment: "spec: [" }));
    await eventually(() => expect(condition("gateway.hairpin.mesh/Applied")).toContain("key deployment is not YAML"));
    fake.put(configMap("params", { deployment: "spec: {replicas: 2}" }));
    await eventually(() => expect(find("Deployment")?.spec).toMatchObject({ replicas: 2 }));
    await eventually(() => expect(condition("gateway.hairpin.mesh/Applied")).toBeUndefined());
  });

  test("says what the API server does not take, and tries again when it only did not answer", async () => {
    fake.fail({ verb: "apply", kind: "Deployment" }, { status: 422, reason: "Invalid" }, Infinity);
    fake.fail({ verb: "apply", kind: "Service" }, { status: 500 });
    fake.put(gateway());
    await start();
    await eventually(() => expect(condition("gateway.hairpin.mesh/Applied")).toContain("Deployment way: "), retried);
    fake.heal();
    await eventually(() => expect(find("Deployment")).toBeDefined(), retried);
    await eventually(() => expect(condition("gateway.hairpin.mesh/Applied")).toBeUndefined(), retried);
  });

  test("writes nothing while another replica leads, and everything when it leads itself", async () => {
    leadership.leading = false;
    fake.put(gateway());
    await start();
    fake.put(replica(true));
    await eventually(() => expect(fake.watchesOf("PodDisruptionBudget")).toBe(1));
    expect(applies()).toBe(0);
    leadership.leading = true;
    changeLeader();
    await eventually(() => expect(condition()).toContain("True Programmed"));
  });
});
