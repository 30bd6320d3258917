// What `get` shows of each kind. Pure.

import type {
  Condition,
  Deployment,
  Gateway,
  KubernetesObject,
  Node,
  Pod,
  Service,
} from "../local/object/kubernetes-object.ts";
import { hasTrueCondition } from "../local/object/kubernetes-object.ts";

export interface Column {
  readonly name: string;
  readonly cell: (object: KubernetesObject) => string;
  /** Only with `-o wide`. */
  readonly wide?: boolean;
}

const redirectionAnnotation = "ambient.istio.io/redirection";

/** Columns between NAME and AGE. */
export function columnsOf(kind: string): readonly Column[] {
  return columnsByKind[kind] ?? [{ name: "STATUS", cell: conditionSummary }];
}

const columnsByKind: Readonly<Record<string, readonly Column[]>> = {
  Pod: [
    { name: "READY", cell: (object) => readyContainers(object as Pod) },
    { name: "STATUS", cell: (object) => podState(object as Pod) },
    { name: "RESTARTS", cell: (object) => String(restarts(object as Pod)) },
    { name: "IP", cell: (object) => (object as Pod).status?.podIP ?? "<none>", wide: true },
    { name: "NODE", cell: (object) => (object as Pod).spec?.nodeName ?? "<none>", wide: true },
    { name: "CAPTURE", cell: (object) => captureOf(object as Pod), wide: true },
  ],
  Service: [
    { name: "TYPE", cell: (object) => (object as Service).spec?.type ?? "ClusterIP" },
    { name: "CLUSTER-IP", cell: (object) => (object as Service).spec?.clusterIP ?? "<none>" },
    { name: "PORT(S)", cell: (object) => servicePorts(object as Service) },
    { name: "SELECTOR", cell: (object) => labelText((object as Service).spec?.selector), wide: true },
  ],
  Deployment: [
    {
      name: "READY",
      cell: (object) => {
        const { spec, status } = object as Deployment;
        return `${status?.readyReplicas ?? 0}/${spec?.replicas ?? 1}`;
      },
    },
    { name: "UP-TO-DATE", cell: (object) => String((object as Deployment).status?.updatedReplicas ?? 0) },
    { name: "AVAILABLE", cell: (object) => String((object as Deployment).status?.availableReplicas ?? 0) },
  ],
  Namespace: [
    { name: "STATUS", cell: () => "Active" },
    { name: "DATAPLANE-MODE", cell: (object) => object.metadata.labels?.["istio.io/dataplane-mode"] ?? "" },
  ],
  Node: [
    { name: "STATUS", cell: () => "Ready" },
    { name: "INTERNAL-IP", cell: (object) => (object as Node).status?.addresses?.[0]?.address ?? "" },
    { name: "POD-CIDR", cell: (object) => (object as Node).spec?.podCIDR ?? "" },
  ],
  Gateway: [
    { name: "CLASS", cell: (object) => (object as Gateway).spec?.gatewayClassName ?? "" },
    { name: "ADDRESS", cell: (object) => (object as Gateway).status?.addresses?.[0]?.value ?? "" },
    {
      name: "PROGRAMMED",
      cell: (object) => String(hasTrueCondition((object as Gateway).status?.conditions, "Programmed")),
    },
  ],
  ServiceAccount: [],
  ConfigMap: [{ name: "DATA", cell: (object) => String(Object.keys((object as { data?: object }).data ?? {}).length) }],
  EndpointSlice: [
    { name: "ADDRESSTYPE", cell: (object) => (object as { addressType?: string }).addressType ?? "" },
    { name: "ENDPOINTS", cell: endpointText },
  ],
  AuthorizationPolicy: [
    { name: "ACTION", cell: (object) => (object.spec as { action?: string } | undefined)?.action ?? "ALLOW" },
    { name: "STATUS", cell: conditionSummary },
  ],
};

/** What kubectl shows as a pod's STATUS: the state of the container that is worst, else the phase. */
export function podState(pod: Pod): string {
  if (pod.metadata.deletionTimestamp !== undefined) return "Terminating";
  const statuses = [...(pod.status?.initContainerStatuses ?? []), ...(pod.status?.containerStatuses ?? [])];
  const waiting = statuses.map(({ state }) => state.waiting?.reason).find((reason) => reason !== undefined);
  if (waiting !== undefined) return waiting;
  const failed = statuses.find(({ state }) => (state.terminated?.exitCode ?? 0) !== 0);
  return failed?.state.terminated?.reason ?? pod.status?.phase ?? "Pending";
}

export function readyContainers(pod: Pod): string {
  const ready = (pod.status?.containerStatuses ?? []).filter((status) => status.ready).length;
  return `${ready}/${pod.spec?.containers.length ?? 0}`;
}

/** Does the mesh capture the pod's traffic? */
export function captureOf(pod: Pod): string {
  return pod.metadata.annotations?.[redirectionAnnotation] === "enabled" ? "yes" : "no";
}

function restarts(pod: Pod): number {
  return (pod.status?.containerStatuses ?? []).reduce((sum, { restartCount }) => sum + restartCount, 0);
}

function servicePorts(service: Service): string {
  return (service.spec?.ports ?? []).map(({ port, protocol = "TCP" }) => `${port}/${protocol}`).join(",");
}

function labelText(labels: Readonly<Record<string, string>> | undefined): string {
  const pairs = Object.entries(labels ?? {}).map(([key, value]) => `${key}=${value}`);
  return pairs.length === 0 ? "<none>" : pairs.join(",");
}

function endpointText(object: KubernetesObject): string {
  const { endpoints = [] } = object as { endpoints?: readonly { addresses: readonly string[] }[] };
  return endpoints.flatMap(({ addresses }) => addresses).join(",") || "<none>";
}

/** `Accepted`, or the conditions that are not True with their reasons; parents of routes included. */
function conditionSummary(object: KubernetesObject): string {
  const status = object.status as
    | { conditions?: readonly Condition[]; parents?: readonly { conditions?: readonly Condition[] }[] }
    | undefined;
  const conditions = [
    ...(status?.conditions ?? []),
    ...(status?.parents ?? []).flatMap((parent) => parent.conditions ?? []),
  ];
  const bad = conditions.filter((condition) => condition.status === "False");
  if (bad.length > 0) return bad.map(({ type, reason }) => `${type}=False (${reason ?? "?"})`).join(", ");
  return [...new Set(conditions.map(({ type }) => type))].join(",");
}
