import type { CompiledPolicy } from "./compile-policy.ts";
import type { RequestFacts } from "./request-facts.ts";

/** The outcome of the policies of a waypoint for one request or connection. */
export interface L7Decision {
  readonly allowed: boolean;
  readonly reason: string;
  /** The policy that decided, `namespace/name`; undefined when none did. */
  readonly policy: string | undefined;
  /** Index of its rule that matched. */
  readonly rule: number | undefined;
  /** Policies in dry run that would have matched. */
  readonly dryRun: readonly string[];
}

/**
 * Decides by policies that apply together (istio-ambient.md §4.5): CUSTOM, then DENY, then ALLOW; AUDIT decides nothing.
 * CUSTOM names an external authorizer, which this version does not have: what it matches is refused.
 */
export function authorize(policies: readonly CompiledPolicy[], facts: RequestFacts): L7Decision {
  const dryRun = policies.filter((policy) => policy.dryRun && policy.match(facts) >= 0).map(({ key }) => key);
  const enforced = policies.filter((policy) => !policy.dryRun);
  for (const action of ["CUSTOM", "DENY"] as const) {
    for (const policy of enforced) {
      const rule = policy.action === action ? policy.match(facts) : -1;
      if (rule < 0) continue;
      const reason =
        action === "DENY" ? `explicitly denied by: ${policy.key}` : `no external authorizer for: ${policy.key}`;
      return { allowed: false, reason, policy: policy.key, rule, dryRun };
    }
  }
  const allows = enforced.filter(({ action }) => action === "ALLOW");
  if (allows.length === 0)
    return { allowed: true, reason: "no allow policy applies", policy: undefined, rule: undefined, dryRun };
  for (const policy of allows) {
    const rule = policy.match(facts);
    if (rule >= 0) return { allowed: true, reason: `allowed by: ${policy.key}`, policy: policy.key, rule, dryRun };
  }
  return {
    allowed: false,
    reason: "allow policies exist, but none allowed",
    policy: undefined,
    rule: undefined,
    dryRun,
  };
}

/** Decides by several sets, each of which must allow: a pod-addressed call passes the policies of every Service of the pod. */
export function authorizeAll(sets: readonly (readonly CompiledPolicy[])[], facts: RequestFacts): L7Decision {
  const decisions = sets.map((policies) => authorize(policies, facts));
  const dryRun = [...new Set(decisions.flatMap((decision) => decision.dryRun))];
  const refused = decisions.find(({ allowed }) => !allowed);
  const last = refused ?? decisions.at(-1);
  return last
    ? { ...last, dryRun }
    : { allowed: true, reason: "no allow policy applies", policy: undefined, rule: undefined, dryRun };
}
