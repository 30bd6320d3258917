// The table that `up` and `status` end with. Pure.

import type { KubernetesObject, Namespace, Pod } from "../local/object/kubernetes-object.ts";
import { captureOf, podState, readyContainers } from "./kind-columns.ts";
import { formatTable } from "./table.ts";

const useWaypoint = "istio.io/use-waypoint";
const forServiceAccount = "istio.io/for-service-account";
const waypointFor = "istio.io/waypoint-for";

/** All pods with address, node, capture and the waypoint that covers them. */
export function formatMeshTable(objects: readonly KubernetesObject[]): string {
  const pods = objects.filter((object): object is Pod => object.kind === "Pod");
  const rows = pods
    .map((pod) => [
      pod.metadata.namespace ?? "",
      pod.metadata.name,
      readyContainers(pod),
      podState(pod),
      pod.status?.podIP ?? "",
      pod.spec?.nodeName ?? "",
      captureOf(pod),
      captureOf(pod) === "yes" ? (waypointOf(pod, objects) ?? "") : "",
    ])
    .sort((a, b) => (a.slice(0, 2).join("/") < b.slice(0, 2).join("/") ? -1 : 1));
  return formatTable(["NAMESPACE", "POD", "READY", "STATUS", "IP", "NODE", "CAPTURED", "WAYPOINT"], rows);
}

/** The waypoint that the labels of a captured pod and its namespace ask for (the order of docs: pod, service account, namespace). */
function waypointOf(pod: Pod, objects: readonly KubernetesObject[]): string | undefined {
  const namespace = pod.metadata.namespace ?? "";
  const own = pod.metadata.labels?.[useWaypoint];
  if (own !== undefined) return own === "none" ? undefined : own;
  const gateways = objects.filter(
    ({ kind, metadata, spec }) =>
      kind === "Gateway" &&
      metadata.namespace === namespace &&
      (spec as { gatewayClassName?: string } | undefined)?.gatewayClassName === "istio-waypoint",
  );
  const account = pod.spec?.serviceAccountName ?? "default";
  const ofAccount = gateways.find(({ metadata }) => metadata.annotations?.[forServiceAccount] === account);
  if (ofAccount !== undefined) return ofAccount.metadata.name;
  const home = objects.find(
    (object): object is Namespace => object.kind === "Namespace" && object.metadata.name === namespace,
  );
  const shared = home?.metadata.labels?.[useWaypoint];
  if (shared !== undefined) return shared === "none" ? undefined : shared;
  return gateways.find(
    ({ metadata }) =>
      metadata.annotations?.[forServiceAccount] === undefined && metadata.labels?.[waypointFor] === undefined,
  )?.metadata.name;
}
