import { createHash } from "node:crypto";
import { familyOf } from "../fabric/address-plan.ts";
import { serviceNameLabel } from "../fabric/plan-service-rules.ts";
import { endpointSliceKind, podKind, serviceKind } from "../object/kinds.ts";
import {
  type ContainerPort,
  type Endpoint,
  type EndpointPort,
  type EndpointSlice,
  namespacedName,
  type Pod,
  type Service,
  type ServicePort,
} from "../object/kubernetes-object.ts";
import { matchSelector } from "../object/label-selector.ts";
import type { StoreView } from "../store/object-store.ts";
import { create, type Planner, remove, type StoreChange, update } from "./planner.ts";
import { controllerReference, isReady } from "./plan-deployments.ts";

const managedByLabel = "endpointslice.kubernetes.io/managed-by";
const managedBy = "endpointslice-controller.k8s.io";

/** EndpointSlices of Services with a selector, one for each family and set of ports. Slices of users stay untouched. */
export const planEndpointSlices: Planner = (view) => {
  const wanted = new Map<string, EndpointSlice>();
  for (const service of view.list(serviceKind))
    for (const slice of slicesOf(service, view)) wanted.set(namespacedName(slice), slice);
  const existing = view
    .list(endpointSliceKind)
    .filter((slice) => slice.metadata.labels?.[managedByLabel] === managedBy);
  const surplus = existing.filter((slice) => !wanted.has(namespacedName(slice))).map((slice) => remove(slice));
  const present = [...wanted.values()].map((slice): StoreChange => {
    const current = existing.find((candidate) => namespacedName(candidate) === namespacedName(slice));
    return current === undefined ? create(slice) : update({ ...current, ...slice });
  });
  return [...surplus, ...present];
};

function slicesOf(service: Service, view: StoreView): readonly EndpointSlice[] {
  const selector = service.spec?.selector;
  if (selector === undefined || Object.keys(selector).length === 0) return [];
  const pods = view
    .list(podKind, service.metadata.namespace)
    .filter((pod) => matchSelector(selector, pod.metadata.labels) && hasAddress(pod));
  const families = new Set((service.spec?.ipFamilies ?? ["IPv4"]).map((family) => (family === "IPv6" ? 6 : 4)));
  return [...families].flatMap((family) => {
    // Pods that give a named port different numbers need slices of their own.
    const byPorts = Map.groupBy(pods, (pod) => JSON.stringify(endpointPorts(service, pod)));
    const groups = byPorts.size === 0 ? [[JSON.stringify(numericPorts(service)), []] as const] : [...byPorts];
    return groups.map(([ports, members]) => sliceOf(service, family, JSON.parse(ports) as EndpointPort[], members));
  });
}

function sliceOf(service: Service, family: 4 | 6, ports: readonly EndpointPort[], pods: readonly Pod[]): EndpointSlice {
  const { name, namespace } = service.metadata;
  const hash = createHash("sha256").update(JSON.stringify(ports)).digest("hex").slice(0, 5);
  return {
    apiVersion: "discovery.k8s.io/v1",
    kind: "EndpointSlice",
    metadata: {
      name: `${name}-ipv${family}-${hash}`,
      ...(namespace === undefined ? {} : { namespace }),
      labels: { [serviceNameLabel]: name, [managedByLabel]: managedBy },
      ownerReferences: [controllerReference(service)],
    },
    addressType: `IPv${family}`,
    ports,
    endpoints: pods.flatMap((pod) => endpointOf(pod, family)),
  };
}

function endpointOf(pod: Pod, family: 4 | 6): readonly Endpoint[] {
  const ip = pod.status?.podIPs?.map((entry) => entry.ip).find((candidate) => familyOf(candidate) === family);
  if (ip === undefined) return [];
  const { name, namespace, uid } = pod.metadata;
  const terminating = pod.metadata.deletionTimestamp !== undefined;
  return [
    {
      addresses: [ip],
      conditions: { ready: isReady(pod), serving: isReady(pod), terminating },
      ...(pod.spec?.nodeName === undefined ? {} : { nodeName: pod.spec.nodeName }),
      targetRef: {
        kind: "Pod",
        name,
        ...(namespace === undefined ? {} : { namespace }),
        ...(uid === undefined ? {} : { uid }),
      },
    },
  ];
}

function endpointPorts(service: Service, pod: Pod): readonly EndpointPort[] {
  return (service.spec?.ports ?? []).flatMap((port) => {
    const number = targetPortNumber(port, pod);
    return number === undefined ? [] : [endpointPort(port, number)];
  });
}

function numericPorts(service: Service): readonly EndpointPort[] {
  return (service.spec?.ports ?? [])
    .filter((port) => typeof port.targetPort !== "string")
    .map((port) => endpointPort(port, Number(port.targetPort ?? port.port)));
}

function endpointPort({ name, protocol }: ServicePort, port: number): EndpointPort {
  return { ...(name === undefined ? {} : { name }), port, protocol: protocol ?? "TCP" };
}

function targetPortNumber({ targetPort, port, protocol }: ServicePort, pod: Pod): number | undefined {
  if (targetPort === undefined) return port;
  if (typeof targetPort === "number") return targetPort;
  if (/^\d+$/.test(targetPort)) return Number(targetPort);
  const restartable = (pod.spec?.initContainers ?? []).filter((container) => container.restartPolicy === "Always");
  const ports = [...(pod.spec?.containers ?? []), ...restartable].flatMap((container) => container.ports ?? []);
  const isMatch = (candidate: ContainerPort): boolean =>
    candidate.name === targetPort && (candidate.protocol ?? "TCP") === (protocol ?? "TCP");
  return ports.find((candidate) => isMatch(candidate))?.containerPort;
}

function hasAddress(pod: Pod): boolean {
  return pod.status?.podIP !== undefined && pod.status.phase !== "Succeeded" && pod.status.phase !== "Failed";
}
