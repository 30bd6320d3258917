import { buildRootConfigMap } from "@hairpin/control/deploy";
import { configMapKind, namespaceKind } from "../object/kinds.ts";
import type { ConfigMap } from "../object/kubernetes-object.ts";
import { create, type Planner, update } from "./planner.ts";

/** Every namespace has the root certificate as a ConfigMap, as istiod writes it. */
export function createRootCertificatePlanner(rootPem: () => string | undefined): Planner {
  return function planRootCertificates(view) {
    const pem = rootPem();
    if (pem === undefined) return [];
    return view.list(namespaceKind).map(({ metadata }) => {
      const wanted = buildRootConfigMap(metadata.name, pem);
      const current = view.find(configMapKind, metadata.name, wanted.metadata.name);
      const changed: ConfigMap = { ...current, ...wanted };
      return current === undefined ? create(wanted) : update(changed);
    });
  };
}
