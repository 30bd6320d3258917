import { type IpAddress, parseIp } from "@hairpin/shared/model";
import type { KubernetesObject, Pod } from "../collection/kubernetes-object.ts";
import { annotation, label } from "../collection/label-match.ts";
import type { MeshConfig } from "./mesh-config.ts";

/** Written by the CNI agent once the pod's traffic is captured: this, not the label, makes callers use HBONE. */
const redirectionAnnotation = "ambient.istio.io/redirection";
const tunnelLabel = "networking.istio.io/tunnel";

/** A pod that the mesh knows: it has an address and has not ended. */
export interface PodRecord {
  readonly pod: Pod;
  readonly name: string;
  readonly namespace: string;
  readonly uid: string;
  readonly serviceAccount: string;
  readonly node: string;
  readonly addresses: readonly IpAddress[];
  readonly healthy: boolean;
  readonly hostNetwork: boolean;
  /** Its inbound traffic passes ztunnel. */
  readonly captured: boolean;
  /** It terminates HBONE itself. */
  readonly nativeTunnel: boolean;
}

/** Undefined for pods without address and pods that ended. Pending pods with an address count. Throws on a bad IP. */
export function buildPodRecord(pod: Pod, config: MeshConfig): PodRecord | undefined {
  const phase = pod.status?.phase;
  if (phase === "Succeeded" || phase === "Failed") return undefined;
  const addresses = (pod.status?.podIPs ?? []).map(({ ip }) => parseIp(ip));
  if (addresses.length === 0 && pod.status?.podIP) addresses.push(parseIp(pod.status.podIP));
  if (addresses.length === 0) return undefined;
  const namespace = pod.metadata.namespace ?? "";
  const ready = pod.status?.conditions?.some(({ type, status }) => type === "Ready" && status === "True") ?? false;
  return {
    pod,
    name: pod.metadata.name,
    namespace,
    uid: `${config.clusterId}//Pod/${namespace}/${pod.metadata.name}`,
    serviceAccount: accountOf(pod),
    node: pod.spec?.nodeName ?? "",
    addresses,
    healthy: ready && pod.metadata.deletionTimestamp === undefined,
    hostNetwork: pod.spec?.hostNetwork === true,
    captured: annotation(pod, redirectionAnnotation) === "enabled",
    nativeTunnel: speaksTunnel(pod),
  };
}

export function accountOf(pod: Pod): string {
  const name = pod.spec?.serviceAccountName;
  return name === undefined || name === "" ? "default" : name;
}

/** `networking.istio.io/tunnel: http` (a comma list). */
function speaksTunnel(object: KubernetesObject): boolean {
  return (label(object, tunnelLabel) ?? "").split(",").includes("http");
}
