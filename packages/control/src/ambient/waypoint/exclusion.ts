import type { KubernetesObject } from "../../collection/kubernetes-object.ts";
import { label } from "../../collection/label-match.ts";
import type { MeshConfig } from "../mesh-config.ts";
import type { PodRecord } from "../pod.ts";
import { gatewayNameLabel, managedLabel } from "./waypoint-record.ts";

/** Names that the mesh's own pods carry in `app`, whatever chart installed them. */
const meshApps: ReadonlySet<string> = new Set(["ztunnel", "istiod", "istio-cni-node", "hairpin-control", "hairpin"]);

/** Pods and Services of any Gateway: a waypoint before them would be a loop. */
export function belongsToGateway(object: KubernetesObject): boolean {
  return label(object, gatewayNameLabel) !== undefined || label(object, managedLabel) !== undefined;
}

/** Pods that no waypoint ever covers: gateways, the mesh's own, host-network pods. */
export function isNeverCovered(record: PodRecord, config: MeshConfig): boolean {
  if (record.hostNetwork || belongsToGateway(record.pod)) return true;
  if (record.namespace !== config.rootNamespace) return false;
  const agent = config.trustedNodeAccounts.some(
    (account) => account.namespace === record.namespace && account.serviceAccount === record.serviceAccount,
  );
  return agent || meshApps.has(label(record.pod, "app") ?? "");
}
