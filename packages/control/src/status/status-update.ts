import type { Condition, KubernetesObject } from "../collection/kubernetes-object.ts";

/** A condition as control decides it; the time of its last change is the store's affair. */
export type ConditionInit = Omit<Condition, "lastTransitionTime" | "observedGeneration">;

/** Every condition (and, for routes, `status.parents`) that control says of one object. */
export interface StatusUpdate {
  readonly object: KubernetesObject;
  readonly conditions: readonly ConditionInit[];
  /** Other fields of status. */
  readonly merge?: Readonly<Record<string, unknown>>;
}

export function condition(type: string, holds: boolean, reason: string, message: string): ConditionInit {
  return { type, status: holds ? "True" : "False", reason, message };
}

/** At most `limit` names, then how many more: conditions are bounded by the API server. */
export function listNames(names: readonly string[], limit = 5): string {
  const shown = names.slice(0, limit).join(", ");
  return names.length > limit ? `${shown} and ${names.length - limit} more` : shown;
}
