import { describe, expect, test } from "vitest";
import type { Pod } from "../collection/kubernetes-object.ts";
import { trimObject } from "./trim.ts";

/** As a kubelet and a Deployment make it; `filler` stands for what is never read. */
function aFullPod(index: number): Pod {
  const name = `web-7d4b9c6f5-${index}`;
  const filler = { requests: { cpu: "100m", memory: "128Mi" }, limits: { memory: "256Mi" } };
  const environment = Array.from({ length: 12 }, (_, at) => ({ name: `SETTING_${at}`, value: `value-${index}-${at}` }));
  const managed = Array.from({ length: 40 }, (_, at) => [`f:field-${at}`, { ".": {}, "f:value": {} }]);
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      generateName: "web-7d4b9c6f5-",
      namespace: "shop",
      uid: `uid-${index}`,
      resourceVersion: String(index),
      generation: 1,
      creationTimestamp: "2026-01-01T00:00:00Z",
      labels: { app: "web", "pod-template-hash": "7d4b9c6f5" },
      annotations: {
        "ambient.istio.io/redirection": "enabled",
        "kubectl.kubernetes.io/last-applied-configuration": JSON.stringify(environment),
        "cni.example.org/state": "x".repeat(400),
      },
      ownerReferences: [
        { apiVersion: "apps/v1", kind: "ReplicaSet", name: "web-7d4b9c6f5", uid: "rs", controller: true },
      ],
      managedFields: [{ manager: "kubelet", fieldsV1: Object.fromEntries(managed) as unknown }],
    },
    spec: {
      nodeName: "node-a",
      serviceAccountName: "web",
      volumes: [{ name: "token", projected: { sources: environment } }],
      containers: [
        {
          name: "web",
          image: "web:1",
          env: environment,
          resources: filler,
          ports: [{ name: "http", containerPort: 8080 }],
        },
        { name: "helper", image: "helper:1", env: environment, resources: filler },
      ],
      initContainers: [
        { name: "migrate", image: "web:1", env: environment },
        { name: "sidecar", restartPolicy: "Always", ports: [{ name: "admin", containerPort: 9000 }] },
      ],
    },
    status: {
      phase: "Running",
      podIP: "10.0.0.1",
      podIPs: [{ ip: "10.0.0.1" }],
      conditions: [
        { type: "Ready", status: "True", lastTransitionTime: "2026-01-01T00:00:00Z" },
        { type: "ContainersReady", status: "True" },
        { type: "hairpin.mesh/WaypointBound", status: "False", reason: "R", message: "m" },
      ],
      containerStatuses: environment,
    },
  } as unknown as Pod;
}

describe("trimObject", () => {
  test("keeps of a Pod what the mesh derives from it, and its own conditions whole", () => {
    expect(trimObject("Pod", aFullPod(7))).toEqual({
      apiVersion: "v1",
      kind: "Pod",
      metadata: {
        name: "web-7d4b9c6f5-7",
        generateName: "web-7d4b9c6f5-",
        namespace: "shop",
        uid: "uid-7",
        resourceVersion: "7",
        generation: 1,
        creationTimestamp: "2026-01-01T00:00:00Z",
        labels: { app: "web", "pod-template-hash": "7d4b9c6f5" },
        annotations: { "ambient.istio.io/redirection": "enabled" },
        ownerReferences: [{ kind: "ReplicaSet", name: "web-7d4b9c6f5", controller: true }],
      },
      spec: {
        nodeName: "node-a",
        serviceAccountName: "web",
        containers: [{ ports: [{ name: "http", containerPort: 8080 }] }],
        initContainers: [{ restartPolicy: "Always", ports: [{ name: "admin", containerPort: 9000 }] }],
      },
      status: {
        phase: "Running",
        podIP: "10.0.0.1",
        podIPs: [{ ip: "10.0.0.1" }],
        conditions: [
          { type: "Ready", status: "True" },
          { type: "hairpin.mesh/WaypointBound", status: "False", reason: "R", message: "m" },
        ],
      },
    });
  });

  test("a Pod comes down to less than a fifth", () => {
    const whole = JSON.stringify(aFullPod(1)).length;
    expect(JSON.stringify(trimObject("Pod", aFullPod(1))).length).toBeLessThan(whole / 5);
  });

  test("keeps an EndpointSlice's endpoints without zones and hints", () => {
    const slice = {
      apiVersion: "discovery.k8s.io/v1",
      kind: "EndpointSlice",
      metadata: {
        name: "web-abc",
        namespace: "shop",
        labels: { "kubernetes.io/service-name": "web" },
        managedFields: [],
      },
      addressType: "IPv4",
      ports: [{ name: "http", port: 8080, protocol: "TCP" }],
      endpoints: [
        {
          addresses: ["10.0.0.1"],
          conditions: { ready: true, serving: true, terminating: false },
          targetRef: { kind: "Pod", name: "web", namespace: "shop", uid: "u" },
          zone: "eu-1a",
          hints: { forZones: [{ name: "eu-1a" }] },
        },
      ],
    };
    expect(trimObject("EndpointSlice", slice)).toEqual({
      ...slice,
      metadata: { name: "web-abc", namespace: "shop", labels: { "kubernetes.io/service-name": "web" } },
      endpoints: [
        {
          addresses: ["10.0.0.1"],
          conditions: { ready: true },
          targetRef: { kind: "Pod", name: "web", namespace: "shop", uid: "u" },
        },
      ],
    });
  });

  test("leaves a user's own object whole but for bookkeeping", () => {
    const gateway = {
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "Gateway",
      metadata: { name: "w", namespace: "shop", annotations: { "example.org/note": "for its pods" } },
      spec: { gatewayClassName: "istio-waypoint", infrastructure: { labels: { team: "a" } } },
      status: { addresses: [{ value: "10.0.0.1" }] },
    };
    const annotations = { ...gateway.metadata.annotations, "kubectl.kubernetes.io/last-applied-configuration": "{}" };
    const written = { ...gateway, metadata: { ...gateway.metadata, annotations, managedFields: [{}] } };
    expect(trimObject("Gateway", written)).toEqual(gateway);
  });
});
