import { evaluate, type ConnectionFacts } from "@hairpin/shared/authz";
import type { MeshLookup } from "@hairpin/shared/discovery";
import type { AuthorizationPolicy, Workload } from "@hairpin/shared/model";

/** Why an endpoint's own L4 policies refuse a caller. */
export interface EndpointRefusal {
  readonly reason: string;
  readonly policy: string | undefined;
  readonly rule: number | undefined;
}

interface Denies {
  readonly policies: readonly AuthorizationPolicy[];
  /** A policy that should decide and is not held. */
  readonly missing: string | undefined;
}

/**
 * The L4 DENY policies of endpoints, asked about the original caller: behind a waypoint the destination's ztunnel sees the
 * waypoint instead, so that they would never match there. ALLOW policies are that ztunnel's. What applies to a workload is
 * found once, and again after policies changed.
 */
export class EndpointDenies {
  readonly #mesh: MeshLookup;
  #byWorkload = new WeakMap<Workload, Denies>();

  constructor(mesh: MeshLookup) {
    this.#mesh = mesh;
    // A workload that changed is another value; policies are looked up by name.
    mesh.onChange(({ policies }) => {
      if (policies.size > 0) this.#byWorkload = new WeakMap();
    });
  }

  /** Undefined: no objection. */
  refusalOf(workload: Workload, facts: ConnectionFacts): EndpointRefusal | undefined {
    const { policies, missing } = this.#deniesOf(workload);
    if (missing !== undefined) return { reason: `policy ${missing} not received`, policy: missing, rule: undefined };
    if (policies.length === 0) return undefined;
    const decision = evaluate(policies, facts);
    return decision.allowed ? undefined : { reason: decision.reason, policy: decision.policy, rule: decision.rule };
  }

  #deniesOf(workload: Workload): Denies {
    let found = this.#byWorkload.get(workload);
    if (!found) {
      const { policies, missing } = this.#mesh.policiesFor(workload);
      found = { policies: policies.filter(({ action }) => action === "DENY"), missing: missing[0] };
      this.#byWorkload.set(workload, found);
    }
    return found;
  }
}
