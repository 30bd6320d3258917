// What a fresh mesh has before the first manifest.

import { clusterDnsIp } from "../fabric/address-plan.ts";
import type { Fabric } from "../fabric/fabric.ts";
import type { KubernetesObject } from "../object/kubernetes-object.ts";
import type { DaemonConfig } from "./daemon-config.ts";

export function initialObjects(config: DaemonConfig, fabric: Fabric): readonly KubernetesObject[] {
  const namespaces = [...new Set(["default", "kube-system", config.rootNamespace])];
  return [
    ...namespaces.map((name): KubernetesObject => ({
      apiVersion: "v1",
      kind: "Namespace",
      metadata: { name },
    })),
    ...fabric.nodes.map(({ name, addresses }): KubernetesObject => {
      const podCIDRs = addresses.map(({ podRange }) => `${podRange.ip}/${podRange.prefixLength}`);
      return {
        apiVersion: "v1",
        kind: "Node",
        metadata: { name, labels: { "kubernetes.io/hostname": name, "kubernetes.io/os": "linux" } },
        spec: { podCIDR: podCIDRs[0], podCIDRs },
        status: {
          conditions: [{ type: "Ready", status: "True", reason: "KubeletReady" }],
          addresses: [
            ...addresses.map(({ nodeIp }) => ({ type: "InternalIP", address: nodeIp })),
            { type: "Hostname", address: name },
          ],
        },
      };
    }),
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: "kube-dns", namespace: "kube-system" },
      spec: {
        clusterIP: clusterDnsIp(config.ranges[0] ?? { pods: "", services: "", nodes: "" }),
        clusterIPs: config.ranges.map((ranges) => clusterDnsIp(ranges)),
        ports: [
          { name: "dns", port: 53, protocol: "UDP" },
          { name: "dns-tcp", port: 53, protocol: "TCP" },
        ],
      },
    },
  ];
}
