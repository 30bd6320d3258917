// Which pods are captured: the labels of Istio's ambient mode. Pure.

import { namespaceKind } from "../object/kinds.ts";
import type { Pod } from "../object/kubernetes-object.ts";
import type { StoreView } from "../store/object-store.ts";

const modeLabel = "istio.io/dataplane-mode";
const sidecarAnnotation = "sidecar.istio.io/status";
/** Namespaces that Istio's default installation leaves alone. */
const excludedNamespaces: ReadonlySet<string> = new Set(["kube-system"]);

/** A pod's own label beats its namespace's; pods on the host network and pods with a sidecar are never captured. */
export function isCaptureWanted(pod: Pod, view: StoreView): boolean {
  const { labels, annotations, namespace = "default" } = pod.metadata;
  if (pod.spec?.hostNetwork === true || annotations?.[sidecarAnnotation] !== undefined) return false;
  if (excludedNamespaces.has(namespace)) return false;
  const own = labels?.[modeLabel];
  if (own === "ambient") return true;
  if (own === "none") return false;
  return view.find(namespaceKind, undefined, namespace)?.metadata.labels?.[modeLabel] === "ambient";
}
