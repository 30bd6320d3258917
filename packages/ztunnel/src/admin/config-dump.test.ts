import { describe, expect, it } from "vitest";
import { readConfig } from "../config.ts";
import { meshOf } from "../testing/mesh.ts";
import { configDump } from "./config-dump.ts";

const mesh = meshOf(`
workloads:
- { uid: Kubernetes//Pod/handson/curl-deny, name: curl-deny, namespace: handson, trustDomain: cluster.local, serviceAccount: curl-deny,
    node: onebox-worker, workloadIps: ["10.244.1.22"], protocol: HBONE, workloadName: curl-deny, workloadType: pod, canonicalName: curl-deny,
    canonicalRevision: latest, clusterId: Kubernetes, authorizationPolicies: [istio-system/istio_converted_static_strict], services: {} }
`);

const info = { name: "curl-deny", namespace: "handson", serviceAccount: "curl-deny" };
const connection = {
  src: "10.244.1.22:53410",
  originalDst: "10.96.16.170:8080",
  actualDst: "10.244.0.21:15008",
  protocol: "HBONE",
};

const dump = configDump({
  mesh,
  certificates: [],
  config: readConfig({ AUTH_TOKEN: "sesame" }),
  pods: new Map([
    ["a8bb2ed4", { state: "Up", info }],
    ["b1", { state: "Pending", info }],
  ]),
  connections: new Map([["a8bb2ed4", { inbound: [], outbound: [connection] }]]),
  version: "0.1.0",
  tlsEngine: { name: "libssl", reason: "it was asked for, and works" },
});

describe("configDump", () => {
  it("has the sections that istioctl reads, and no others", () => {
    expect(Object.keys(dump).toSorted()).toEqual([
      "certificates",
      "config",
      "policies",
      "services",
      "stagedServices",
      "staticConfig",
      "version",
      "workloadState",
      "workloads",
    ]);
    expect(Object.keys(dump["version"] as object)).toEqual([
      "version",
      "gitRevision",
      "rustVersion",
      "buildProfile",
      "buildStatus",
      "istioVersion",
      "cryptoProvider",
      "tlsEngine",
    ]);
  });

  it("shows a workload as ztunnel does", () => {
    expect(dump["workloads"]).toEqual([
      {
        authorizationPolicies: ["istio-system/istio_converted_static_strict"],
        canonicalName: "curl-deny",
        canonicalRevision: "latest",
        capacity: 1,
        clusterId: "Kubernetes",
        name: "curl-deny",
        namespace: "handson",
        networkMode: "Standard",
        node: "onebox-worker",
        protocol: "HBONE",
        serviceAccount: "curl-deny",
        status: "Healthy",
        trustDomain: "cluster.local",
        uid: "Kubernetes//Pod/handson/curl-deny",
        workloadIps: ["10.244.1.22"],
        workloadName: "curl-deny",
        workloadType: "pod",
      },
    ]);
  });

  it("shows pods with their connections", () => {
    expect(dump["workloadState"]).toEqual({
      a8bb2ed4: { state: "Up", connections: { inbound: [], outbound: [connection] }, info },
      b1: { state: "Pending", connections: { inbound: [], outbound: [] }, info },
    });
  });

  it("holds no secret", () => {
    expect(JSON.stringify(dump)).not.toContain("sesame");
  });
});
