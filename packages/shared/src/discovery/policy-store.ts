import { type AuthorizationPolicy, policyKey, type Workload } from "../model/index.ts";
import type { EffectivePolicies } from "./mesh-lookup.ts";
import type { UnreadablePolicy } from "./mesh-update.ts";

/**
 * L4 policies by key and by scope. An update that cannot be read leaves the last good version in force; a policy that never
 * was readable is remembered as such, and refuses the workloads it may concern: fail closed, where ztunnel skips it.
 */
export class PolicyStore {
  readonly #byKey = new Map<string, AuthorizationPolicy>();
  readonly #unreadable = new Map<string, UnreadablePolicy>();
  /** Keys of GLOBAL policies under "", of NAMESPACE policies under their namespace; each list sorted. */
  readonly #scoped = new Map<string, string[]>();
  readonly #rootNamespace: string;
  /** Of {@link PolicyStore.policiesFor}, since the last change of any policy: each connection asks twice. */
  #effective = new WeakMap<Workload, EffectivePolicies>();

  constructor(rootNamespace: string) {
    this.#rootNamespace = rootNamespace;
  }

  set(policy: AuthorizationPolicy): void {
    const key = policyKey(policy);
    this.delete(key);
    this.#byKey.set(key, policy);
    const scope = scopeKey(policy);
    if (scope !== undefined) this.#scoped.set(scope, [...(this.#scoped.get(scope) ?? []), key].sort());
  }

  /** Returns whether anything was known of it. */
  delete(key: string): boolean {
    this.#forgetEffective();
    const wasUnreadable = this.#unreadable.delete(key);
    const before = this.#byKey.get(key);
    if (before === undefined) return wasUnreadable;
    this.#byKey.delete(key);
    const scope = scopeKey(before);
    if (scope === undefined) return true;
    const left = (this.#scoped.get(scope) ?? []).filter((other) => other !== key);
    if (left.length === 0) this.#scoped.delete(scope);
    else this.#scoped.set(scope, left);
    return true;
  }

  /** Remembers a policy that cannot be read, unless a good version is held. Returns whether decisions may have changed. */
  setUnreadable(policy: UnreadablePolicy): boolean {
    if (this.#byKey.has(policy.key)) return false;
    this.#unreadable.set(policy.key, policy);
    this.#forgetEffective();
    return true;
  }

  getUnreadable(key: string): UnreadablePolicy | undefined {
    return this.#unreadable.get(key);
  }

  unreadable(): readonly UnreadablePolicy[] {
    return [...this.#unreadable.values()];
  }

  get(key: string): AuthorizationPolicy | undefined {
    return this.#byKey.get(key);
  }

  values(): Iterable<AuthorizationPolicy> {
    return this.#byKey.values();
  }

  /** The first time: O(policies of the mesh scope, of the workload's namespace, and those it lists). A workload that changes is another object. */
  policiesFor(workload: Workload): EffectivePolicies {
    let effective = this.#effective.get(workload);
    if (effective === undefined) {
      effective = this.#findPoliciesFor(workload);
      this.#effective.set(workload, effective);
    }
    return effective;
  }

  #forgetEffective(): void {
    this.#effective = new WeakMap();
  }

  #findPoliciesFor(workload: Workload): EffectivePolicies {
    const listed = [...new Set(workload.authorizationPolicies)].sort();
    const scoped = [...(this.#scoped.get("") ?? []), ...(this.#scoped.get(workload.namespace) ?? [])];
    const keys = new Set([...scoped, ...listed]);
    const policies = [...keys].flatMap((key) => this.#byKey.get(key) ?? []);
    const unreadable = new Map<string, string>();
    for (const [key, policy] of this.#unreadable)
      if (keys.has(key) || this.#mayConcern(policy, workload)) unreadable.set(key, policy.reason);
    const missing = new Set([...listed.filter((key) => !this.#byKey.has(key)), ...unreadable.keys()]);
    return { policies, missing: [...missing], unreadable };
  }

  /** A policy without a readable scope may be its namespace's, or, from the root namespace, the whole mesh's. */
  #mayConcern({ key, scope }: UnreadablePolicy, workload: Workload): boolean {
    const namespace = key.slice(0, key.indexOf("/"));
    switch (scope) {
      case "GLOBAL":
        return true;
      case "NAMESPACE":
        return namespace === workload.namespace;
      case "WORKLOAD_SELECTOR":
        return false;
      case undefined:
        return namespace === workload.namespace || namespace === this.#rootNamespace;
      default:
        throw new Error(`Unknown policy scope ${JSON.stringify(scope satisfies never)}`);
    }
  }
}

function scopeKey(policy: AuthorizationPolicy): string | undefined {
  if (policy.scope === "GLOBAL") return "";
  return policy.scope === "NAMESPACE" ? policy.namespace : undefined;
}
