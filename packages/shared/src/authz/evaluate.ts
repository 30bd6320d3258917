import { type AuthorizationPolicy, policyKey } from "../model/index.ts";
import { type ConnectionFacts, MatchInput, matchRule } from "./match-rule.ts";

/** What a policy in dry run would have matched. It never changes the decision. */
export interface DryRunResult {
  /** `namespace/name`. */
  readonly policy: string;
  readonly action: "ALLOW" | "DENY";
  readonly matched: boolean;
}

/** The outcome of the L4 policies for one connection. */
export interface Decision {
  readonly allowed: boolean;
  /** Constant phrases, ztunnel's for refusals: `explicitly denied by: ns/name`, `allow policies exist, but none allowed`. */
  readonly reason: string;
  /** The policy that decided, `namespace/name`. Absent when none did. */
  readonly policy?: string;
  /** Index, from 0, of the rule of `policy` that matched. */
  readonly rule?: number;
  /** ALLOW policies that were asked and did not match, when that is why it was refused. */
  readonly unmatchedAllow?: readonly string[];
  /** True when refused only because `policy` is listed and not held (or not readable): the same question may be answered otherwise later. */
  readonly policyMissing?: true;
  readonly dryRun: readonly DryRunResult[];
}

const nothingApplies = "no allow policy applies";

/**
 * Decides a connection by the policies in scope (ztunnel.md §5): a matching DENY refuses; without any ALLOW it is allowed;
 * else some ALLOW must match. Dry-run policies are reported and count for nothing, also not as "an ALLOW exists".
 * Pure; the first match in the given order names the policy.
 */
export function evaluate(policies: readonly AuthorizationPolicy[], facts: ConnectionFacts): Decision {
  const input = new MatchInput(facts);
  const dryRun = policies.filter((policy) => policy.dryRun).map((policy) => dryRunResult(policy, input));
  const enforced = policies.filter((policy) => !policy.dryRun);
  const denied = firstMatch(enforced, "DENY", input);
  if (denied) return { allowed: false, reason: `explicitly denied by: ${denied.policy}`, ...denied, dryRun };
  const allows = enforced.filter((policy) => policy.action === "ALLOW");
  if (allows.length === 0) return { allowed: true, reason: nothingApplies, dryRun };
  const allowed = firstMatch(allows, "ALLOW", input);
  if (allowed) return { allowed: true, reason: `allowed by: ${allowed.policy}`, ...allowed, dryRun };
  const reason = "allow policies exist, but none allowed";
  return { allowed: false, reason, unmatchedAllow: allows.map(policyKey), dryRun };
}

/** The refusal when a policy that the destination lists is not held: fail closed, unlike ztunnel, which skips it. */
export function refuseMissingPolicy(policy: string, reason = `policy ${policy} not received`): Decision {
  return { allowed: false, reason, policy, policyMissing: true, dryRun: [] };
}

function firstMatch(
  policies: readonly AuthorizationPolicy[],
  action: AuthorizationPolicy["action"],
  input: MatchInput,
): { readonly policy: string; readonly rule: number } | undefined {
  for (const policy of policies) {
    const rule = policy.action === action ? matchingRule(policy, input) : -1;
    if (rule >= 0) return { policy: policyKey(policy), rule };
  }
  return undefined;
}

function dryRunResult(policy: AuthorizationPolicy, input: MatchInput): DryRunResult {
  return { policy: policyKey(policy), action: policy.action, matched: matchingRule(policy, input) >= 0 };
}

function matchingRule(policy: AuthorizationPolicy, input: MatchInput): number {
  return policy.rules.findIndex((rule) => matchRule(rule, input));
}
