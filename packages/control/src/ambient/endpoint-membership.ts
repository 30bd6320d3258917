import type { PortMapping } from "@hairpin/shared/model";
import type { EndpointSlice, Pod, WorkloadEntry } from "../collection/kubernetes-object.ts";
import { type LabelIndex, label } from "../collection/label-match.ts";
import type { Memo } from "../collection/memo.ts";
import type { NamespaceObjects } from "../collection/namespace-objects.ts";
import type { PodRecord } from "./pod.ts";
import type { ServicePortRecord, ServiceRecord } from "./service-record.ts";

export const serviceNameLabel = "kubernetes.io/service-name";

/** By service key: the ports on which one workload serves it. */
export type ServicePorts = ReadonlyMap<string, readonly PortMapping[]>;

/** A service that a workload serves, by its selector or by an EndpointSlice that points at the pod. */
export interface Claim {
  readonly service: ServiceRecord;
  readonly slice: EndpointSlice | undefined;
}

/** What selectors of a namespace select from. */
export interface NamespaceWorkloads {
  readonly pods: LabelIndex<PodRecord>;
  readonly entries: LabelIndex<WorkloadEntry>;
}

/** Who serves what in one namespace. The same claim is the same object while its service and slice are. */
export interface Claims {
  readonly ofPod: ReadonlyMap<PodRecord, readonly Claim[]>;
  readonly ofWorkloadEntry: ReadonlyMap<WorkloadEntry, readonly Claim[]>;
}

/**
 * Pods and WorkloadEntries of every service of a namespace: by selector, or for services without one by the EndpointSlices that
 * point at pods. Cost: proportional to the matches, not to services times pods.
 */
export function findClaims(
  objects: NamespaceObjects,
  services: readonly ServiceRecord[],
  workloads: NamespaceWorkloads,
  memo: Memo<ServiceRecord | EndpointSlice, Claim>,
): Claims {
  const { pods, entries } = workloads;
  const ofPod = new Map<PodRecord, Claim[]>();
  const ofWorkloadEntry = new Map<WorkloadEntry, Claim[]>();
  const slices = Map.groupBy(objects.list("EndpointSlice"), (slice) => label(slice, serviceNameLabel) ?? "");
  const podByName = new Map<string, PodRecord>();
  const needsNames = services.some(({ selector, source }) => selector === undefined && source.kind === "Service");
  if (needsNames) for (const record of pods.all) podByName.set(record.name, record);

  for (const service of services) {
    if (service.selector !== undefined) {
      const claim = memo.get(service, [], () => ({ service, slice: undefined }));
      for (const record of pods.find(service.selector)) append(ofPod, record, claim);
      for (const entry of entries.find(service.selector)) append(ofWorkloadEntry, entry, claim);
    } else if (service.source.kind === "Service") {
      for (const slice of slices.get(service.name) ?? []) {
        const claim = memo.get(slice, [service], () => ({ service, slice }));
        for (const record of podsOfSlice(slice, podByName)) {
          // A dual-stack service has a slice per family, each with the same pods.
          if (ofPod.get(record)?.some((held) => held.service === service) !== true) append(ofPod, record, claim);
        }
      }
    }
  }
  return { ofPod, ofWorkloadEntry };
}

/** What claims come to for one pod. */
export function podPorts(claims: readonly Claim[], pod: Pod): ServicePorts {
  return new Map(
    claims.map(({ service, slice }) => [
      service.key,
      slice === undefined ? selectedPorts(service, pod) : slicePorts(service, slice),
    ]),
  );
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

function selectedPorts(service: ServiceRecord, pod: Pod): PortMapping[] {
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

/** `pods`: of the slice's namespace, by name. */
function podsOfSlice(slice: EndpointSlice, pods: ReadonlyMap<string, PodRecord>): PodRecord[] {
  if (slice.addressType === "FQDN") return [];
  const namespace = slice.metadata.namespace ?? "";
  return (slice.endpoints ?? []).flatMap(({ targetRef }) => {
    // A pod's Services name waypoints that may reach it and policies that it is under: only its own namespace has that say.
    if (targetRef?.kind !== "Pod" || (targetRef.namespace ?? namespace) !== namespace) return [];
    const record = pods.get(targetRef.name ?? "");
    const stale = targetRef.uid !== undefined && targetRef.uid !== record?.pod.metadata.uid;
    return record === undefined || stale ? [] : [record];
  });
}

function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const held = map.get(key);
  if (held === undefined) map.set(key, [value]);
  else held.push(value);
}
