import type { Cidr } from "./address.ts";

/** How one string of a policy matches. `presence` needs a non-empty value. */
export type StringMatch =
  | { readonly kind: "exact" | "prefix" | "suffix"; readonly value: string }
  | { readonly kind: "presence" };

export interface ServiceAccountMatch {
  readonly namespace: string;
  readonly serviceAccount: string;
}

/** Fields are AND-ed; values of a field OR-ed; a `not` field matches when none of its values does. All empty: no match. */
export interface PolicyMatch {
  readonly namespaces: readonly StringMatch[];
  readonly notNamespaces: readonly StringMatch[];
  readonly principals: readonly StringMatch[];
  readonly notPrincipals: readonly StringMatch[];
  readonly serviceAccounts: readonly ServiceAccountMatch[];
  readonly notServiceAccounts: readonly ServiceAccountMatch[];
  readonly sourceIps: readonly Cidr[];
  readonly notSourceIps: readonly Cidr[];
  readonly destinationIps: readonly Cidr[];
  readonly notDestinationIps: readonly Cidr[];
  readonly destinationPorts: readonly number[];
  readonly notDestinationPorts: readonly number[];
}

/** Clauses AND-ed; matches of a clause OR-ed. No clause: matches everything. A clause without matches: true. */
export interface PolicyRule {
  readonly clauses: readonly (readonly PolicyMatch[])[];
}

/** An L4 policy (istio.security.Authorization). Rules are OR-ed; without rules it never matches. */
export interface AuthorizationPolicy {
  readonly name: string;
  readonly namespace: string;
  readonly scope: "GLOBAL" | "NAMESPACE" | "WORKLOAD_SELECTOR";
  readonly action: "ALLOW" | "DENY";
  readonly rules: readonly PolicyRule[];
  readonly dryRun: boolean;
}

/** `namespace/name`. */
export function policyKey(policy: { readonly namespace: string; readonly name: string }): string {
  return `${policy.namespace}/${policy.name}`;
}
