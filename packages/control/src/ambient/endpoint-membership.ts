import type { PortMapping } from "@hairpin/shared/model";
import type { EndpointSlice, Pod, WorkloadEntry } from "../collection/kubernetes-object.ts";
import { LabelIndex, label } from "../collection/label-match.ts";
import type { Snapshot } from "../collection/snapshot.ts";
import type { PodRecord } from "./pod.ts";
import type { ServicePortRecord, ServiceRecord } from "./service-record.ts";

export const serviceNameLabel = "kubernetes.io/service-name";

/** By service key: the ports on which one workload serves it. */
export type ServicePorts = ReadonlyMap<string, readonly PortMapping[]>;

/** Who serves what. */
export interface Membership {
  /** By pod `namespace/name`. */
  readonly ofPod: ReadonlyMap<string, ServicePorts>;
  /** By WorkloadEntry `namespace/name`. */
  readonly ofWorkloadEntry: ReadonlyMap<string, ServicePorts>;
  /** By service key. */
  readonly podsOfService: ReadonlyMap<string, readonly PodRecord[]>;
}

/**
 * Pods and WorkloadEntries of every service: by selector, or for services without one by the EndpointSlices that point
 * at pods. Cost: proportional to the matches, not to services times pods.
 */
export function buildMembership(
  snapshot: Snapshot,
  services: readonly ServiceRecord[],
  pods: readonly PodRecord[],
): Membership {
  const ofPod = new Map<string, Map<string, readonly PortMapping[]>>();
  const ofWorkloadEntry = new Map<string, Map<string, readonly PortMapping[]>>();
  const podsOfService = new Map<string, PodRecord[]>();
  const podIndexes = indexByNamespace(
    pods,
    (record) => record.namespace,
    (record) => record.pod.metadata.labels,
  );
  const entryIndexes = indexByNamespace(
    snapshot.list("WorkloadEntry"),
    (entry) => entry.metadata.namespace ?? "",
    labelsOfEntry,
  );
  const slices = Map.groupBy(
    snapshot.list("EndpointSlice"),
    (slice) => `${slice.metadata.namespace ?? ""}/${label(slice, serviceNameLabel) ?? ""}`,
  );
  const podByKey = new Map(pods.map((record) => [`${record.namespace}/${record.name}`, record]));

  const addPod = (service: ServiceRecord, record: PodRecord, ports: readonly PortMapping[]): void => {
    const podKey = `${record.namespace}/${record.name}`;
    // A dual-stack service has a slice per family, each with the same pods.
    if (ofPod.get(podKey)?.has(service.key) === true) return;
    put(ofPod, podKey, service.key, ports);
    const held = podsOfService.get(service.key);
    if (held === undefined) podsOfService.set(service.key, [record]);
    else held.push(record);
  };
  for (const service of services) {
    if (service.selector !== undefined) {
      for (const record of podIndexes.get(service.namespace)?.find(service.selector) ?? [])
        addPod(service, record, podPorts(service, record.pod));
      for (const entry of entryIndexes.get(service.namespace)?.find(service.selector) ?? [])
        put(ofWorkloadEntry, `${service.namespace}/${entry.metadata.name}`, service.key, entryPorts(service, entry));
    } else if (service.source.kind === "Service") {
      for (const slice of slices.get(`${service.namespace}/${service.name}`) ?? [])
        for (const record of podsOfSlice(slice, podByKey)) addPod(service, record, slicePorts(service, slice));
    }
  }
  return { ofPod, ofWorkloadEntry, podsOfService };
}

/** Service ports joined to a slice's ports by name; TCP only. */
export function slicePorts(service: ServiceRecord, slice: EndpointSlice): PortMapping[] {
  return service.ports.flatMap((port) => {
    const found = (slice.ports ?? []).find(
      (candidate) => (candidate.name ?? "") === port.name && (candidate.protocol ?? "TCP") === "TCP",
    );
    return found?.port === undefined ? [] : [{ servicePort: port.port, targetPort: found.port }];
  });
}

function podPorts(service: ServiceRecord, pod: Pod): PortMapping[] {
  return service.ports.flatMap((port) => {
    const targetPort = podPort(service, port, pod);
    return targetPort === undefined ? [] : [{ servicePort: port.port, targetPort }];
  });
}

/** Undefined: the pod has no container port of that name, so it does not serve this service port. */
function podPort(service: ServiceRecord, port: ServicePortRecord, pod: Pod): number | undefined {
  if (service.source.kind === "ServiceEntry") return containerPort(pod, port.name) ?? Number(port.targetPort);
  return typeof port.targetPort === "number" ? port.targetPort : containerPort(pod, port.targetPort);
}

/** A named TCP port of the containers, then of init containers that keep running (native sidecars). */
function containerPort(pod: Pod, name: string): number | undefined {
  const sidecars = (pod.spec?.initContainers ?? []).filter((container) => container.restartPolicy === "Always");
  return [...(pod.spec?.containers ?? []), ...sidecars]
    .flatMap((container) => container.ports ?? [])
    .find((port) => port.name === name && (port.protocol ?? "TCP") === "TCP")?.containerPort;
}

export function entryPorts(
  service: ServiceRecord,
  entry: { readonly spec?: { readonly ports?: Readonly<Record<string, number>> } },
): PortMapping[] {
  const overrides = entry.spec?.ports ?? {};
  return service.ports.flatMap((port) => {
    const override =
      typeof port.targetPort === "string" && service.source.kind === "Service"
        ? overrides[port.targetPort]
        : (overrides[port.name] ?? port.targetPort);
    return typeof override === "number" ? [{ servicePort: port.port, targetPort: override }] : [];
  });
}

/** Labels of a WorkloadEntry: its metadata's, over them those of its spec. */
export function labelsOfEntry(entry: WorkloadEntry): Readonly<Record<string, string>> {
  return { ...entry.metadata.labels, ...entry.spec?.labels };
}

function podsOfSlice(slice: EndpointSlice, pods: ReadonlyMap<string, PodRecord>): PodRecord[] {
  if (slice.addressType === "FQDN") return [];
  const namespace = slice.metadata.namespace ?? "";
  return (slice.endpoints ?? []).flatMap(({ targetRef }) => {
    // A pod's Services name waypoints that may reach it and policies that it is under: only its own namespace has that say.
    if (targetRef?.kind !== "Pod" || (targetRef.namespace ?? namespace) !== namespace) return [];
    const record = pods.get(`${namespace}/${targetRef.name ?? ""}`);
    const stale = targetRef.uid !== undefined && targetRef.uid !== record?.pod.metadata.uid;
    return record === undefined || stale ? [] : [record];
  });
}

function indexByNamespace<T>(
  items: readonly T[],
  namespaceOf: (item: T) => string,
  labelsOf: (item: T) => Readonly<Record<string, string>> | undefined,
): ReadonlyMap<string, LabelIndex<T>> {
  return new Map([...Map.groupBy(items, namespaceOf)].map(([key, group]) => [key, new LabelIndex(group, labelsOf)]));
}

function put<T>(map: Map<string, Map<string, T>>, outer: string, inner: string, value: T): void {
  const held = map.get(outer);
  if (held === undefined) map.set(outer, new Map([[inner, value]]));
  else held.set(inner, value);
}
