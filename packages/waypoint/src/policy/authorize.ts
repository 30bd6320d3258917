import type { CompiledPolicy } from "./compile-policy.ts";
import type { RequestFacts } from "./request-facts.ts";

/** The outcome of the policies of a waypoint for one request or connection. */
export interface L7Decision {
  readonly allowed: boolean;
  readonly reason: string;
  /** The policy that decided, `namespace/name`; those that could have allowed and did not, joined by commas; undefined when there is none. */
  readonly policy: string | undefined;
  /** Index of its rule that matched. */
  readonly rule: number | undefined;
  /** Policies in dry run that would have matched. */
  readonly dryRun: readonly string[];
}

/** Policies that apply together, sorted by what they do: made once when they arrive, asked per request. */
export class PolicySet {
  /** CUSTOM first, then DENY: the first that matches refuses. */
  readonly #refusing: readonly CompiledPolicy[];
  readonly #allowing: readonly CompiledPolicy[];
  readonly #dryRun: readonly CompiledPolicy[];

  constructor(policies: readonly CompiledPolicy[]) {
    const enforced = policies.filter(({ dryRun }) => !dryRun);
    const ofAction = (wanted: CompiledPolicy["action"]): CompiledPolicy[] =>
      enforced.filter(({ action }) => action === wanted);
    this.#refusing = [...ofAction("CUSTOM"), ...ofAction("DENY")];
    this.#allowing = ofAction("ALLOW");
    this.#dryRun = policies.filter(({ dryRun }) => dryRun);
  }

  /**
   * Decides (istio-ambient.md §4.5): CUSTOM, then DENY, then ALLOW; AUDIT decides nothing. CUSTOM names an external
   * authorizer, which this version does not have: what it matches is refused.
   */
  decide(facts: RequestFacts): L7Decision {
    const dryRun = this.#matchDryRun(facts);
    for (const policy of this.#refusing) {
      const rule = policy.match(facts);
      if (rule < 0) continue;
      const reason =
        policy.action === "DENY" ? `explicitly denied by: ${policy.key}` : `no external authorizer for: ${policy.key}`;
      return { allowed: false, reason, policy: policy.key, rule, dryRun };
    }
    if (this.#allowing.length === 0)
      return { allowed: true, reason: "no allow policy applies", policy: undefined, rule: undefined, dryRun };
    for (const policy of this.#allowing) {
      const rule = policy.match(facts);
      if (rule >= 0) return { allowed: true, reason: `allowed by: ${policy.key}`, policy: policy.key, rule, dryRun };
    }
    return {
      allowed: false,
      reason: "allow policies exist, but none allowed",
      policy: this.#allowing.map(({ key }) => key).join(","),
      rule: undefined,
      dryRun,
    };
  }

  #matchDryRun(facts: RequestFacts): readonly string[] {
    if (this.#dryRun.length === 0) return none;
    return this.#dryRun.filter((policy) => policy.match(facts) >= 0).map(({ key }) => key);
  }
}

const none: readonly string[] = [];

/** Decides by several sets, each of which must allow: a pod-addressed call passes the policies of every Service of the pod. */
export function authorizeAll(sets: readonly PolicySet[], facts: RequestFacts): L7Decision {
  const [only] = sets;
  if (only && sets.length === 1) return only.decide(facts);
  const decisions = sets.map((set) => set.decide(facts));
  const dryRun = [...new Set(decisions.flatMap((decision) => decision.dryRun))];
  const deciding = decisions.find(({ allowed }) => !allowed) ?? decisions.at(-1);
  // No set at all: nobody said what holds here.
  if (!deciding)
    return { allowed: false, reason: "no policies received", policy: undefined, rule: undefined, dryRun: [] };
  return { ...deciding, dryRun };
}
