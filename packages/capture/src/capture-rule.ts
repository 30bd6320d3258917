// Which pods are captured: the labels of Istio's ambient mode. Pure; the agent, the CNI plugin and the local mesh decide by it.

/** What the decision needs of a pod. */
export interface CaptureCandidate {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
  readonly hostNetwork: boolean;
}

export interface CaptureRuleOptions {
  /** Namespaces whose pods are never captured. Istio's default: {@link defaultExcludedNamespaces}. */
  readonly excludedNamespaces: readonly string[];
  /** Where the mesh's own parts run. */
  readonly meshNamespace: string;
}

export interface CaptureDecision {
  readonly captured: boolean;
  /** For logs and answers to the runtime. */
  readonly reason: string;
}

export const defaultExcludedNamespaces: readonly string[] = ["kube-system"];

const modeLabel = "istio.io/dataplane-mode";
const sidecarAnnotation = "sidecar.istio.io/status";
const managedLabel = "gateway.istio.io/managed";
/** Values of {@link managedLabel} on pods that end HBONE themselves: waypoints and east-west gateways. */
const meshControllers: readonly string[] = [
  "istio.io-mesh-controller",
  "istio.io-eastwest-controller",
  "istio.io-agentgateway-waypoint-controller",
];
/** Label `app` of the mesh's own parts, as Istio's charts name them. */
const meshParts: readonly string[] = ["istiod", "ztunnel", "istio-cni-node"];

/**
 * A pod's own label beats its namespace's. Never captured, whatever the labels say: pods on the host network, of excluded
 * namespaces, with a sidecar, and the mesh's own.
 */
export function decideCapture(
  pod: CaptureCandidate,
  namespaceLabels: Readonly<Record<string, string>>,
  { excludedNamespaces, meshNamespace }: CaptureRuleOptions,
): CaptureDecision {
  const { namespace, labels, annotations } = pod;
  if (pod.hostNetwork) return spared("the pod is on the host network");
  if (excludedNamespaces.includes(namespace)) return spared(`namespace ${namespace} is excluded`);
  if (annotations[sidecarAnnotation] !== undefined) return spared("the pod has a sidecar");
  const isMeshPart = namespace === meshNamespace && meshParts.includes(labels["app"] ?? "");
  if (isMeshPart || meshControllers.includes(labels[managedLabel] ?? ""))
    return spared("the pod is a part of the mesh");
  const own = labels[modeLabel];
  if (own === "ambient") return { captured: true, reason: `label ${modeLabel} of the pod` };
  if (own === "none") return spared(`label ${modeLabel} of the pod is none`);
  if (namespaceLabels[modeLabel] === "ambient")
    return { captured: true, reason: `label ${modeLabel} of namespace ${namespace}` };
  return spared(`neither the pod nor namespace ${namespace} has label ${modeLabel}: ambient`);
}

function spared(reason: string): CaptureDecision {
  return { captured: false, reason };
}
