import type { LabelIndex } from "../../collection/label-match.ts";
import type { ConvertedPolicy } from "./authorization-policy.ts";

/**
 * Which workloads of one namespace each selecting policy applies to. `policies`: those of the namespace and of the root namespace.
 * Returns the policies by workload, in the order given. Cost: proportional to the matches.
 */
export function selectPolicies<T>(
  policies: readonly ConvertedPolicy[],
  workloads: LabelIndex<T>,
): ReadonlyMap<T, readonly ConvertedPolicy[]> {
  const selected = new Map<T, ConvertedPolicy[]>();
  for (const policy of policies) {
    if (policy.selector === undefined || policy.message === undefined) continue;
    for (const workload of workloads.find(policy.selector)) {
      const held = selected.get(workload);
      if (held === undefined) selected.set(workload, [policy]);
      else held.push(policy);
    }
  }
  return selected;
}
