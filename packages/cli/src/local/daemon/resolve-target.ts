// What a user names after `exec` and `logs`: a pod, or something that stands for one.

import { deploymentKind, gatewayKind, podKind, replicaSetKind } from "../object/kinds.ts";
import type { KubernetesObject, Pod } from "../object/kubernetes-object.ts";
import type { StoreView } from "../store/object-store.ts";
import { isOwnedBy, isReady } from "../controller/plan-deployments.ts";

/**
 * The pod that is meant by `POD`, `deploy/NAME`, `ztunnel/NODE`, `waypoint/NAME` or `control`; a ready one first. Throws with
 * what there is instead.
 */
export function resolveTarget(view: StoreView, namespace: string, target: string, rootNamespace: string): Pod {
  const candidates = candidatesOf(view, namespace, target, rootNamespace);
  const best = candidates.find((pod) => isReady(pod)) ?? candidates[0];
  if (best !== undefined) return best;
  const names = view.list(podKind, namespace).map(({ metadata }) => metadata.name);
  const hint = names.length === 0 ? "it has no pods" : `its pods: ${names.slice(0, 20).join(", ")}`;
  throw new Error(`There is no ${target} in namespace ${namespace} (${hint})`);
}

function candidatesOf(view: StoreView, namespace: string, target: string, rootNamespace: string): readonly Pod[] {
  const [kind = "", name] = target.split("/");
  if (name === undefined) {
    if (target === "control") return podsOf(view, rootNamespace, view.find(deploymentKind, rootNamespace, "istiod"));
    const pod = view.find(podKind, namespace, target);
    return pod === undefined ? [] : [pod];
  }
  switch (kind) {
    case "pod":
    case "pods":
    case "po": {
      const pod = view.find(podKind, namespace, name);
      return pod === undefined ? [] : [pod];
    }
    case "ztunnel":
      return view
        .list(podKind, rootNamespace)
        .filter((pod) => pod.metadata.name.startsWith("ztunnel-") && pod.spec?.nodeName === name);
    case "waypoint":
      return view.find(gatewayKind, namespace, name) === undefined
        ? []
        : podsOf(view, namespace, view.find(deploymentKind, namespace, name));
    case "deploy":
    case "deployment":
    case "deployments":
      return podsOf(view, namespace, view.find(deploymentKind, namespace, name));
    default:
      return [];
  }
}

function podsOf(view: StoreView, namespace: string, deployment: KubernetesObject | undefined): readonly Pod[] {
  if (deployment === undefined) return [];
  const sets = view.list(replicaSetKind, namespace).filter((set) => isOwnedBy(set, deployment));
  return view.list(podKind, namespace).filter((pod) => sets.some((set) => isOwnedBy(pod, set)));
}
