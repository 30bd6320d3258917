import { daemonSetKind, nodeKind, podKind } from "../object/kinds.ts";
import type { Pod } from "../object/kubernetes-object.ts";
import { create, type Planner, update } from "./planner.ts";
import { isOwnedBy, isReady, podFromTemplate } from "./plan-deployments.ts";

/** One pod of every DaemonSet on every node, named `<set>-<node>`. */
export const planDaemonSets: Planner = (view) =>
  view.list(daemonSetKind).flatMap((set) => {
    const owned = view.list(podKind, set.metadata.namespace).filter((pod) => isOwnedBy(pod, set));
    const nodes = view.list(nodeKind).map(({ metadata }) => metadata.name);
    const missing = nodes.filter((node) => !owned.some((pod) => pod.spec?.nodeName === node));
    const pods = missing.map((node): Pod => {
      const pod = podFromTemplate(set, `${set.metadata.name}-${node}`);
      return { ...pod, spec: { containers: [], ...pod.spec, nodeName: node } };
    });
    const status = { desiredNumberScheduled: nodes.length, numberReady: owned.filter((pod) => isReady(pod)).length };
    return [...pods.map((pod) => create(pod)), update({ ...set, status })];
  });
