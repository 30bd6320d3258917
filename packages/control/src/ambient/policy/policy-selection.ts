import type { KubernetesObject } from "../../collection/kubernetes-object.ts";
import { LabelIndex } from "../../collection/label-match.ts";
import type { ConvertedPolicy } from "./authorization-policy.ts";

interface Selectable {
  readonly namespace: string;
  readonly labels: KubernetesObject["metadata"]["labels"];
  /** Key of the result. */
  readonly uid: string;
}

/**
 * Which workloads each selecting policy applies to: those of its namespace, or of all for the root namespace. Returns the
 * policies by workload uid, in the order given. Cost: proportional to the matches.
 */
export function selectPolicies(
  policies: readonly ConvertedPolicy[],
  workloads: readonly Selectable[],
  rootNamespace: string,
): ReadonlyMap<string, readonly ConvertedPolicy[]> {
  const everywhere = new LabelIndex(workloads, (workload) => workload.labels);
  const byNamespace = new Map(
    [...Map.groupBy(workloads, (workload) => workload.namespace)].map(([namespace, group]) => [
      namespace,
      new LabelIndex(group, (workload) => workload.labels),
    ]),
  );
  const selected = new Map<string, ConvertedPolicy[]>();
  for (const policy of policies) {
    if (policy.selector === undefined || policy.message === undefined) continue;
    const namespace = policy.policy.metadata.namespace ?? "";
    const index = namespace === rootNamespace ? everywhere : byNamespace.get(namespace);
    for (const { uid } of index?.find(policy.selector) ?? []) {
      const held = selected.get(uid);
      if (held === undefined) selected.set(uid, [policy]);
      else held.push(policy);
    }
  }
  return selected;
}
