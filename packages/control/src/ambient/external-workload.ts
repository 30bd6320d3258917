// Workloads that are no pods: WorkloadEntries, inline endpoints of ServiceEntries, endpoints of EndpointSlices.

import { create } from "@bufbuild/protobuf";
import { istioWorkload } from "@hairpin/shared/api";
import { ipBytes, tryParseIp } from "@hairpin/shared/model";
import type { EndpointSlice, ServiceEntry, WorkloadEntry, WorkloadEntrySpec } from "../collection/kubernetes-object.ts";
import { type ServicePorts, entryPorts, labelsOfEntry, slicePorts } from "./endpoint-membership.ts";
import type { MeshConfig } from "./mesh-config.ts";
import { hasImplicitEndpoints } from "./service-entry.ts";
import type { ServiceRecord } from "./service-record.ts";
import { type Binding, boundWaypoint } from "./waypoint/binding.ts";
import { bindingMessage, extensionsOf, gatewayAddressInit } from "./waypoint/enforcement.ts";
import { commonFields, servicesInit } from "./workload-message.ts";
import { namesFromLabels } from "./workload-name.ts";

const { NetworkMode, TunnelProtocol, WorkloadStatus, WorkloadType } = istioWorkload;

function workloadEntryUid(entry: WorkloadEntry, config: MeshConfig): string {
  const { namespace = "", name } = entry.metadata;
  return `${config.clusterId}/networking.istio.io/WorkloadEntry/${namespace}/${name}`;
}

/** A machine outside the cluster. Its health is not known; it counts as healthy. */
export function buildWorkloadEntryMessage(
  entry: WorkloadEntry,
  context: {
    readonly config: MeshConfig;
    readonly services: ServicePorts | undefined;
    readonly policies: readonly string[];
    readonly binding: Binding;
    readonly permissive: boolean;
  },
): istioWorkload.Workload {
  const waypoint = boundWaypoint(context.binding);
  return create(istioWorkload.WorkloadSchema, {
    ...commonFields(context.config),
    ...endpointFields(entry.spec ?? {}, labelsOfEntry(entry), entry.metadata.name),
    uid: workloadEntryUid(entry, context.config),
    name: entry.metadata.name,
    namespace: entry.metadata.namespace ?? "",
    services: servicesInit(context.services),
    authorizationPolicies: [...context.policies],
    ...(waypoint === undefined ? {} : { waypoint: gatewayAddressInit(waypoint.address) }),
    extensions: extensionsOf(undefined, bindingMessage(context.binding, context.permissive)),
  });
}

/** Inline endpoints, or for DNS entries without any the hosts themselves. `services` are the records of this entry. */
export function buildServiceEntryWorkloads(
  entry: ServiceEntry,
  services: readonly ServiceRecord[],
  config: MeshConfig,
): istioWorkload.Workload[] {
  // Every host is owned by another object: this entry serves nothing.
  if (services.length === 0) return [];
  const build = (endpoint: WorkloadEntrySpec, served: readonly ServiceRecord[]): istioWorkload.Workload => {
    const namespace = entry.metadata.namespace ?? "";
    const labels = { ...entry.metadata.labels, ...endpoint.labels };
    const ports = new Map(served.map((service) => [service.key, entryPorts(service, { spec: endpoint })]));
    return create(istioWorkload.WorkloadSchema, {
      ...commonFields(config),
      ...endpointFields(endpoint, labels, entry.metadata.name),
      uid: `${config.clusterId}/networking.istio.io/ServiceEntry/${namespace}/${entry.metadata.name}/${endpoint.address ?? ""}`,
      name: entry.metadata.name,
      namespace,
      services: servicesInit(ports),
    });
  };
  if (hasImplicitEndpoints(entry)) return services.map((service) => build({ address: service.hostname }, [service]));
  return (entry.spec?.endpoints ?? []).map((endpoint) => build(endpoint, services));
}

/** Endpoints that are no pods, such as the API server behind the `kubernetes` Service. One workload per endpoint. */
export function buildSliceWorkloads(
  slice: EndpointSlice,
  service: ServiceRecord,
  config: MeshConfig,
): istioWorkload.Workload[] {
  const namespace = slice.metadata.namespace ?? "";
  return (slice.endpoints ?? []).flatMap((endpoint) => {
    const ip = tryParseIp(endpoint.addresses?.[0] ?? "");
    if (ip === undefined || endpoint.targetRef?.kind === "Pod") return [];
    return [
      create(istioWorkload.WorkloadSchema, {
        ...commonFields(config),
        trustDomain: "",
        uid: `${config.clusterId}/discovery.k8s.io/EndpointSlice/${namespace}/${slice.metadata.name}/${ip}`,
        name: slice.metadata.name,
        namespace,
        addresses: [ipBytes(ip)],
        services: servicesInit(new Map([[service.key, slicePorts(service, slice)]])),
        status: endpoint.conditions?.ready === false ? WorkloadStatus.UNHEALTHY : WorkloadStatus.HEALTHY,
        networkMode: NetworkMode.HOST_NETWORK,
      }),
    ];
  });
}

/** What WorkloadEntries and inline endpoints have in common. */
type EndpointFields = Pick<
  istioWorkload.Workload,
  | "addresses"
  | "hostname"
  | "serviceAccount"
  | "tunnelProtocol"
  | "nativeTunnel"
  | "canonicalName"
  | "canonicalRevision"
  | "workloadName"
  | "workloadType"
  | "status"
> & { network?: string; locality?: istioWorkload.Locality; capacity?: number };

function endpointFields(
  spec: WorkloadEntrySpec,
  labels: Readonly<Record<string, string>>,
  name: string,
): EndpointFields {
  const ip = tryParseIp(spec.address ?? "");
  const native = (labels["networking.istio.io/tunnel"] ?? "").split(",").includes("http");
  const [region = "", zone = "", subzone = ""] = (spec.locality ?? "").split("/");
  return {
    addresses: ip === undefined ? [] : [ipBytes(ip)],
    hostname: ip === undefined ? (spec.address ?? "") : "",
    ...(spec.network === undefined ? {} : { network: spec.network }),
    serviceAccount: spec.serviceAccount ?? "",
    tunnelProtocol: native ? TunnelProtocol.HBONE : TunnelProtocol.NONE,
    nativeTunnel: native,
    ...namesFromLabels(labels, name),
    workloadType: WorkloadType.POD,
    status: WorkloadStatus.HEALTHY,
    ...(region === "" ? {} : { locality: create(istioWorkload.LocalitySchema, { region, zone, subzone }) }),
    ...((spec.weight ?? 0) > 0 ? { capacity: spec.weight ?? 1 } : {}),
  };
}
