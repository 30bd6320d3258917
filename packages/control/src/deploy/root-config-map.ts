import type { AppliedObject } from "./applied-object.ts";
import { rootCertConfigMap, rootCertKey } from "./proxy-pod.ts";

/** The root certificates as every namespace gets them (istiod's name, key and label). */
export function buildRootConfigMap(namespace: string, rootBundlePem: string): AppliedObject {
  return {
    apiVersion: "v1",
    kind: "ConfigMap",
    metadata: { name: rootCertConfigMap, namespace, labels: { "istio.io/config": "true" } },
    data: { [rootCertKey]: rootBundlePem },
  };
}
