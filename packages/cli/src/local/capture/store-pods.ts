// The local mesh's objects as capture sees them: its agent reads and writes the store where a cluster's has the API server.

import {
  type CapturePods,
  decideCapture,
  defaultExcludedNamespaces,
  type NodePod,
  nodePodOf,
  redirectionAnnotation,
} from "@hairpin/capture";
import { namespaceKind, podKind } from "../object/kinds.ts";
import type { Pod } from "../object/kubernetes-object.ts";
import type { ObjectStore } from "../store/object-store.ts";

/** A pod that is being deleted is no longer looked at: its end is told by the kubelet. */
export function storePods(store: ObjectStore, meshNamespace: string): CapturePods {
  const rule = { excludedNamespaces: defaultExcludedNamespaces, meshNamespace };
  const findObject = ({ uid, namespace, name }: Pick<NodePod, "uid" | "namespace" | "name">): Pod | undefined => {
    const pod = store.find(podKind, namespace, name);
    return pod?.metadata.uid === uid && pod.metadata.deletionTimestamp === undefined ? pod : undefined;
  };
  return {
    find(pod) {
      const object = findObject(pod);
      return object === undefined ? undefined : nodePodOf(object);
    },
    isWanted(pod) {
      const namespace = store.find(namespaceKind, undefined, pod.namespace);
      return decideCapture(pod, namespace?.metadata.labels ?? {}, rule).captured;
    },
    async annotate(pod, value) {
      const object = findObject(pod);
      if (object === undefined) return;
      const { [redirectionAnnotation]: _former, ...others } = object.metadata.annotations ?? {};
      const annotations = value === undefined ? others : { ...others, [redirectionAnnotation]: value };
      store.update({ ...object, metadata: { ...object.metadata, annotations } });
    },
  };
}
