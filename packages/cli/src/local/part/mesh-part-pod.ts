// What the pods of the mesh's own parts have in common.

import type { EnvVar, Probe, Volume, VolumeMount } from "../object/kubernetes-object.ts";
import type { ContainerMount } from "../kubelet/container-script.ts";
import type { DaemonConfig } from "../daemon/daemon-config.ts";

/** Where a pod sees this project's files. */
export const programPath = "/run/hairpin/program";
const tokenPath = "/run/secrets/tokens";
const rootPath = "/run/secrets/istio";
/** The ConfigMap with the root certificate; every namespace has one. Istio's name. */
export const rootCertConfigMap = "istio-ca-root-cert";
export const rootCertKey = "root-cert.pem";
const tokenAudience = "istio-ca";
/** Parts keep small heaps: a mesh is some twenty processes on a laptop. In MiB. */
const heapMib = { control: 256, ztunnel: 192, waypoint: 192 } as const;

export type MeshPart = keyof typeof heapMib;

/** The project's root, from which the parts are started. */
export const projectRoot: string = new URL("../../../../..", import.meta.url).pathname.replace(/\/$/, "");

/** The command of a part: its main file, run by the project's own Node. */
export function partCommand(part: MeshPart): readonly string[] {
  return [
    "node",
    "--disable-warning=ExperimentalWarning",
    `--max-old-space-size=${heapMib[part]}`,
    `${programPath}/packages/${part}/src/main.ts`,
  ];
}

/** Every pod sees the project there, wherever it lies: its parts, and programs of examples and tests, are started from it. */
export const programMount: ContainerMount = { source: projectRoot, target: programPath, readOnly: true };

/** Volumes by which a part proves who it is and knows the root certificate. */
export const credentialVolumes: readonly Volume[] = [
  {
    name: "istio-token",
    projected: {
      sources: [{ serviceAccountToken: { path: "istio-token", audience: tokenAudience, expirationSeconds: 3600 } }],
    },
  },
  { name: "istiod-ca-cert", configMap: { name: rootCertConfigMap } },
];
export const credentialMounts: readonly VolumeMount[] = [
  { name: "istio-token", mountPath: tokenPath },
  { name: "istiod-ca-cert", mountPath: rootPath },
];

function fromField(name: string, fieldPath: string): EnvVar {
  return { name, valueFrom: { fieldRef: { fieldPath } } };
}

/** The environment that ztunnel and waypoints share (Istio's names). */
export function proxyEnvironment(config: DaemonConfig, controlIp: string): readonly EnvVar[] {
  const control = `https://${controlIp.includes(":") ? `[${controlIp}]` : controlIp}:15012`;
  const controlName = `istiod.${config.rootNamespace}.svc`;
  return [
    { name: "XDS_ADDRESS", value: control },
    { name: "CA_ADDRESS", value: control },
    { name: "ALT_XDS_HOSTNAME", value: controlName },
    { name: "ALT_CA_HOSTNAME", value: controlName },
    { name: "XDS_ROOT_CA", value: `${rootPath}/${rootCertKey}` },
    { name: "CA_ROOT_CA", value: `${rootPath}/${rootCertKey}` },
    { name: "AUTH_TOKEN", value: `${tokenPath}/istio-token` },
    { name: "CLUSTER_ID", value: config.clusterId },
    { name: "CLUSTER_DOMAIN", value: config.clusterDomain },
    { name: "TRUST_DOMAIN", value: config.trustDomain },
    { name: "NETWORK", value: "" },
    { name: "IPV6_ENABLED", value: String(config.ranges.length > 1) },
    { name: "LOG_FORMAT", value: "plain" },
    { name: "LOG_LEVEL", value: config.logLevel },
    { name: "TERMINATION_GRACE_PERIOD_SECONDS", value: "30" },
    fromField("NODE_NAME", "spec.nodeName"),
    fromField("POD_NAME", "metadata.name"),
    fromField("POD_NAMESPACE", "metadata.namespace"),
    fromField("SERVICE_ACCOUNT", "spec.serviceAccountName"),
    fromField("INSTANCE_IP", "status.podIP"),
  ];
}

/** A part is ready as long as it says so. */
export function partReadiness(path: string, port: number): Probe {
  return { httpGet: { path, port }, periodSeconds: 2, failureThreshold: 2 };
}
