import { nodeKind, podKind } from "../object/kinds.ts";
import { type Planner, update } from "./planner.ts";

/** Pods without a node go to the node with the fewest of their namespace and kind, then the fewest pods, then the first. */
export const planSchedule: Planner = (view) => {
  const nodes = view.list(nodeKind).map(({ metadata }) => metadata.name);
  const pods = view.list(podKind);
  const placed = pods.filter((pod) => pod.spec?.nodeName !== undefined);
  const load = new Map(nodes.map((node) => [node, placed.filter((pod) => pod.spec?.nodeName === node)]));
  return pods.flatMap((pod) => {
    if (pod.spec === undefined || pod.spec.nodeName !== undefined || nodes.length === 0) return [];
    const owner = pod.metadata.ownerReferences?.[0]?.uid;
    const siblings = (node: string): number =>
      owner === undefined
        ? 0
        : (load.get(node) ?? []).filter((other) => other.metadata.ownerReferences?.[0]?.uid === owner).length;
    const total = (node: string): number => load.get(node)?.length ?? 0;
    const [best = ""] = [...nodes].sort((a, b) => siblings(a) - siblings(b) || total(a) - total(b));
    const scheduled = { ...pod, spec: { ...pod.spec, nodeName: best } };
    load.get(best)?.push(scheduled);
    return [update(scheduled)];
  });
};
