import type { KubernetesObject } from "../object/kubernetes-object.ts";
import type { StatusUpdate } from "../store/object-status.ts";
import type { StoreView } from "../store/object-store.ts";

/** What a controller wants done to the store. An update that changes nothing is harmless. */
export type StoreChange =
  | { readonly type: "create"; readonly object: KubernetesObject }
  | { readonly type: "update"; readonly object: KubernetesObject }
  | { readonly type: "delete"; readonly object: KubernetesObject }
  | { readonly type: "status"; readonly update: StatusUpdate };

/** Looks at everything and says what is missing, wrong or too much. Pure: called again after every change. */
export type Planner = (view: StoreView) => readonly StoreChange[];

export function create(object: KubernetesObject): StoreChange {
  return { type: "create", object };
}

export function update(object: KubernetesObject): StoreChange {
  return { type: "update", object };
}

export function remove(object: KubernetesObject): StoreChange {
  return { type: "delete", object };
}
