import type { KubernetesObject } from "@hairpin/shared/kubernetes";

/** An object with what the API server notes about who wrote it. */
export interface WrittenObject extends KubernetesObject {
  readonly metadata: KubernetesObject["metadata"] & {
    readonly managedFields?: readonly { readonly manager?: string; readonly subresource?: string }[];
  };
}

/** Whether this field manager has written to the object, or to its status. */
export function isWrittenBy({ metadata }: WrittenObject, manager: string, subresource?: "status"): boolean {
  const entries = metadata.managedFields ?? [];
  return entries.some((entry) => entry.manager === manager && (entry.subresource || undefined) === subresource);
}
