import { configMapKind, namespaceKind } from "../object/kinds.ts";
import type { ConfigMap } from "../object/kubernetes-object.ts";
import { rootCertConfigMap, rootCertKey } from "../part/mesh-part-pod.ts";
import { create, type Planner, update } from "./planner.ts";

/** Every namespace has the root certificate as a ConfigMap, as istiod writes it. */
export function createRootCertificatePlanner(rootPem: () => string | undefined): Planner {
  return function planRootCertificates(view) {
    const pem = rootPem();
    if (pem === undefined) return [];
    return view.list(namespaceKind).map(({ metadata }) => {
      const current = view.find(configMapKind, metadata.name, rootCertConfigMap);
      const wanted: ConfigMap = {
        apiVersion: "v1",
        kind: "ConfigMap",
        metadata: { name: rootCertConfigMap, namespace: metadata.name, labels: { "istio.io/config": "true" } },
        data: { [rootCertKey]: pem },
      };
      const changed: ConfigMap = { ...current, ...wanted };
      return current === undefined ? create(wanted) : update(changed);
    });
  };
}
