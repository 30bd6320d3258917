// What the pods of the mesh's own parts have in common.

import {
  type CredentialPaths,
  type EnvironmentVariable,
  credentialMounts,
  credentialVolumes,
  proxyEnvironment,
} from "@hairpin/control/deploy";
import type { Probe, Volume, VolumeMount } from "../object/kubernetes-object.ts";
import type { ContainerMount } from "../kubelet/container-script.ts";
import type { DaemonConfig } from "../daemon/daemon-config.ts";

/** Where a pod sees this project's files. */
export const programPath = "/run/hairpin/program";
const credentialPaths: CredentialPaths = { tokenFolder: "/run/secrets/tokens", rootFolder: "/run/secrets/istio" };
const tokenLifetimeSeconds = 3600;
const graceSeconds = 30;
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
export const partVolumes: readonly Volume[] = credentialVolumes(tokenLifetimeSeconds);
export const partMounts: readonly VolumeMount[] = credentialMounts(credentialPaths);

/** The environment that ztunnel and waypoints share: control is dialled by IP, since their pods have no mesh to ask for names. */
export function partEnvironment(config: DaemonConfig, controlIp: string): readonly EnvironmentVariable[] {
  const controlName = `istiod.${config.rootNamespace}.svc`;
  return [
    ...proxyEnvironment({
      control: `${controlIp.includes(":") ? `[${controlIp}]` : controlIp}:15012`,
      paths: credentialPaths,
      clusterId: config.clusterId,
      clusterDomain: config.clusterDomain,
      trustDomain: config.trustDomain,
      network: "",
      ipv6: config.ranges.length > 1,
      log: { level: config.logLevel, format: "plain" },
      graceSeconds,
    }),
    { name: "ALT_XDS_HOSTNAME", value: controlName },
    { name: "ALT_CA_HOSTNAME", value: controlName },
  ];
}

/** A part is ready as long as it says so. */
export function partReadiness(path: string, port: number): Probe {
  return { httpGet: { path, port }, periodSeconds: 2, failureThreshold: 2 };
}
