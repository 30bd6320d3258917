// The mesh's own parts as Kubernetes objects: control (istiod's role) on the first node, ztunnel on every node. Pure.

import type { DaemonConfig } from "../daemon/daemon-config.ts";
import { type AddressRanges, controlIp } from "../fabric/address-plan.ts";
import type { DaemonSet, Deployment, KubernetesObject, PodTemplate } from "../object/kubernetes-object.ts";
import { partCommand, partEnvironment, partMounts, partReadiness, partVolumes } from "./mesh-part-pod.ts";

/** Names that other parts look for. */
export const controlName = "istiod";
export const ztunnelName = "ztunnel";
/** Where control and ztunnel find what the daemon mounts for them (part-runtime.ts). */
export const controlFolder = "/run/hairpin/control";
export const storeSocketPath = "/run/hairpin/store.sock";
export const zdsFolder = "/run/ztunnel";
export const tokenKeyFile = "token-key.pub.pem";

/** Never captured, whatever the namespace says. */
const partLabels = { "istio.io/dataplane-mode": "none" };

export function meshObjects(config: DaemonConfig): readonly KubernetesObject[] {
  return [...controlObjects(config), ...ztunnelObjects(config), waypointClass];
}

const waypointClass: KubernetesObject = {
  apiVersion: "gateway.networking.k8s.io/v1",
  kind: "GatewayClass",
  metadata: { name: "istio-waypoint" },
  spec: { controllerName: "hairpin.mesh/waypoint-controller" },
};

function controlObjects(config: DaemonConfig): readonly KubernetesObject[] {
  const labels = { app: controlName, istio: "pilot", ...partLabels };
  const template: PodTemplate = {
    metadata: { labels },
    spec: {
      nodeName: "node1",
      serviceAccountName: controlName,
      terminationGracePeriodSeconds: 5,
      containers: [
        {
          name: "discovery",
          command: partCommand("control"),
          env: [
            { name: "HAIRPIN_SOURCE", value: `store:${storeSocketPath}` },
            { name: "TRUST_DOMAIN", value: config.trustDomain },
            { name: "ROOT_NAMESPACE", value: config.rootNamespace },
            { name: "CLUSTER_ID", value: config.clusterId },
            { name: "CLUSTER_DOMAIN", value: config.clusterDomain },
            { name: "CA_DIR", value: controlFolder },
            { name: "TOKEN_KEY", value: `${controlFolder}/${tokenKeyFile}` },
            { name: "CA_TRUSTED_NODE_ACCOUNTS", value: `${config.rootNamespace}/${ztunnelName}` },
            { name: "LOG_FORMAT", value: "plain" },
            { name: "LOG_LEVEL", value: config.logLevel },
          ],
          ports: [{ name: "https-dns", containerPort: 15_012 }],
          readinessProbe: partReadiness("/ready", 8080),
        },
      ],
    },
  };
  const namespace = config.rootNamespace;
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: controlName, namespace } },
    {
      apiVersion: "apps/v1",
      kind: "Deployment",
      metadata: { name: controlName, namespace, labels },
      spec: { replicas: 1, selector: { matchLabels: { app: controlName } }, template },
    } satisfies Deployment,
    {
      apiVersion: "v1",
      kind: "Service",
      metadata: { name: controlName, namespace, labels },
      spec: {
        clusterIP: controlAddress(config),
        selector: { app: controlName },
        ports: [
          { name: "https-dns", port: 15_012 },
          { name: "http-monitoring", port: 15_014 },
        ],
      },
    },
  ];
}

function ztunnelObjects(config: DaemonConfig): readonly KubernetesObject[] {
  const labels = { app: ztunnelName, ...partLabels };
  const namespace = config.rootNamespace;
  const template: PodTemplate = {
    metadata: { labels },
    spec: {
      serviceAccountName: ztunnelName,
      terminationGracePeriodSeconds: 30,
      containers: [
        {
          name: "istio-proxy",
          command: partCommand("ztunnel"),
          env: [
            ...partEnvironment(config, controlAddress(config)),
            { name: "INPOD_UDS", value: `${zdsFolder}/ztunnel.sock` },
          ],
          ports: [{ name: "ztunnel-stats", containerPort: 15_020 }],
          readinessProbe: partReadiness("/healthz/ready", 15_021),
          volumeMounts: partMounts,
        },
      ],
      volumes: partVolumes,
    },
  };
  return [
    { apiVersion: "v1", kind: "ServiceAccount", metadata: { name: ztunnelName, namespace } },
    {
      apiVersion: "apps/v1",
      kind: "DaemonSet",
      metadata: { name: ztunnelName, namespace, labels },
      spec: { selector: { matchLabels: { app: ztunnelName } }, template },
    } satisfies DaemonSet,
  ];
}

/** The address by which proxies reach control. */
export function controlAddress({ ranges }: { readonly ranges: readonly AddressRanges[] }): string {
  const [first] = ranges;
  if (first === undefined) throw new Error("A mesh needs address ranges");
  return controlIp(first);
}
