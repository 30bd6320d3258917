import { isDeepStrictEqual } from "node:util";
import type { Workload } from "../model/index.ts";
import type { MeshChange } from "./mesh-change.ts";

/** Collects what one update changes. */
export class ChangeRecorder {
  readonly #workloads = new Set<string>();
  readonly #removedWorkloads = new Set<string>();
  readonly #services = new Set<string>();
  readonly #policies = new Set<string>();
  readonly #inboundRules = new Set<string>();

  workload(before: Workload | undefined, after: Workload | undefined): void {
    const uid = after?.uid ?? before?.uid;
    if (uid === undefined) return;
    this.#workloads.add(uid);
    if (after === undefined) this.#removedWorkloads.add(uid);
    else this.#removedWorkloads.delete(uid);
    if (after !== undefined && inboundRulesDiffer(before, after)) this.#inboundRules.add(uid);
  }

  services(keys: Iterable<string>): void {
    for (const key of keys) this.#services.add(key);
  }

  policy(key: string): void {
    this.#policies.add(key);
  }

  /** Undefined when nothing changed. */
  take(): MeshChange | undefined {
    const sets = [this.#workloads, this.#services, this.#policies];
    if (sets.every((set) => set.size === 0)) return undefined;
    return {
      workloads: this.#workloads,
      removedWorkloads: this.#removedWorkloads,
      services: this.#services,
      policies: this.#policies,
      inboundRules: this.#inboundRules,
    };
  }
}

/** A workload that is new counts: connections may have been accepted for an earlier one of that uid. */
function inboundRulesDiffer(before: Workload | undefined, after: Workload): boolean {
  return (
    before === undefined ||
    before.namespace !== after.namespace ||
    !isDeepStrictEqual(before.authorizationPolicies, after.authorizationPolicies) ||
    !isDeepStrictEqual(before.enforcement, after.enforcement)
  );
}
