import { kinds, namespaceKind } from "../object/kinds.ts";
import type { StoreView } from "../store/object-store.ts";
import type { KubernetesObject } from "../object/kubernetes-object.ts";
import { type Planner, remove } from "./planner.ts";

/** Objects whose owner or namespace is gone. */
export const planGarbage: Planner = (view) => {
  const all = kinds.flatMap((kind) => view.list(kind));
  const uids = new Set(all.map(({ metadata }) => metadata.uid));
  return all
    .filter((object) => object.metadata.deletionTimestamp === undefined)
    .filter((object) => isOrphan(object, uids) || isHomeless(object, view))
    .map((object) => remove(object));
};

function isOrphan({ metadata }: KubernetesObject, uids: ReadonlySet<string | undefined>): boolean {
  const owners = metadata.ownerReferences ?? [];
  return owners.length > 0 && owners.every(({ uid }) => !uids.has(uid));
}

function isHomeless({ metadata }: KubernetesObject, view: StoreView): boolean {
  return metadata.namespace !== undefined && view.find(namespaceKind, undefined, metadata.namespace) === undefined;
}
