// What the targets of a scenario (`POD`, `deploy/NAME`, `ztunnel/NODE`, `waypoint/NAME`, `control`) are in a cluster.

import type { KubernetesObject } from "@hairpin/cli";
import { nodeOf } from "./cluster-manifests.ts";
import { rootNamespace } from "./installation.ts";
import type { Kubectl } from "./kubectl.ts";

interface Selection {
  readonly namespace: string;
  /** Words for `kubectl get pods`. */
  readonly words: readonly string[];
}

/** `nodes` are those that `node1` and `node2` stand for. */
function selectionOf(target: string, namespace: string, nodes: readonly string[]): Selection {
  const [kind, name = ""] = target.split("/");
  if (kind === "control") return { namespace: rootNamespace, words: ["-l", "app=istiod"] };
  if (kind === "ztunnel")
    return {
      namespace: rootNamespace,
      words: ["-l", "app=ztunnel", "--field-selector", `spec.nodeName=${nodeOf(name, nodes)}`],
    };
  if (kind === "waypoint") return { namespace, words: ["-l", `gateway.networking.k8s.io/gateway-name=${name}`] };
  return { namespace, words: ["--field-selector", `metadata.name=${target}`] };
}

/** The pods of a target that are not ending. Rejects when there is none. */
export async function findPods(
  kubectl: Kubectl,
  target: string,
  place: { readonly namespace: string; readonly nodes: readonly string[] },
): Promise<readonly [KubernetesObject, ...KubernetesObject[]]> {
  const { namespace, words } = selectionOf(target, place.namespace, place.nodes);
  const pods = await kubectl.list(["pods", "-n", namespace, ...words]);
  const [first, ...others] = pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
  if (first === undefined) throw new Error(`There is no pod in ${namespace} for ${target}`);
  return [first, ...others];
}

/** What kubectl calls one pod of a target. Pods and Deployments are not looked up: kubectl does that itself. */
export async function findName(
  kubectl: Kubectl,
  target: string,
  place: { readonly namespace: string; readonly nodes: readonly string[] },
): Promise<{ readonly namespace: string; readonly name: string }> {
  const [kind = ""] = target.split("/");
  if (!["control", "ztunnel", "waypoint"].includes(kind)) return { namespace: place.namespace, name: target };
  const [{ metadata }] = await findPods(kubectl, target, place);
  return { namespace: metadata.namespace ?? "", name: metadata.name };
}
