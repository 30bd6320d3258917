import type { KubernetesObject } from "../collection/kubernetes-object.ts";

/** Sorts the oldest first, then by `namespace/name`. Objects without a creation time come last: they are the newest. */
export function byAge(a: KubernetesObject, b: KubernetesObject): number {
  const difference = ageKey(a) < ageKey(b) ? -1 : ageKey(a) > ageKey(b) ? 1 : 0;
  if (difference !== 0) return difference;
  return nameKey(a) < nameKey(b) ? -1 : 1;
}

/** RFC 3339 in UTC with seconds, as Kubernetes writes it, sorts as text. */
function ageKey(object: KubernetesObject): string {
  return object.metadata.creationTimestamp ?? "~";
}

function nameKey(object: KubernetesObject): string {
  return `${object.metadata.namespace ?? ""}/${object.metadata.name}`;
}
