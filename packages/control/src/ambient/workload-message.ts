import { type MessageInitShape, create } from "@bufbuild/protobuf";
import { istioWorkload } from "@hairpin/shared/api";
import { ipBytes } from "@hairpin/shared/model";
import type { Node } from "../collection/kubernetes-object.ts";
import { annotation, label } from "../collection/label-match.ts";
import type { ServicePorts } from "./endpoint-membership.ts";
import { type MeshConfig, defaultTrustDomain } from "./mesh-config.ts";
import type { PodRecord } from "./pod.ts";
import { type Binding, boundWaypoint } from "./waypoint/binding.ts";
import {
  type EnforcementPlan,
  bindingMessage,
  enforcementMessage,
  extensionsOf,
  gatewayAddressInit,
} from "./waypoint/enforcement.ts";
import type { WaypointRecord } from "./waypoint/waypoint-record.ts";
import { namesFromLabels, podWorkloadName } from "./workload-name.ts";

/** The WDS form of a pod. */
export function buildPodMessage(
  record: PodRecord,
  context: {
    readonly config: MeshConfig;
    readonly node: Node | undefined;
    readonly services: ServicePorts | undefined;
    /** Keys of the policies that select it. */
    readonly policies: readonly string[];
    readonly binding: Binding;
    readonly enforcement: EnforcementPlan;
    readonly permissive: boolean;
    /** The Gateway that this pod is a replica of. */
    readonly replicaOf: WaypointRecord | undefined;
  },
): istioWorkload.Workload {
  const { config, binding } = context;
  const { TunnelProtocol, NetworkMode, WorkloadStatus, WorkloadType } = istioWorkload;
  const waypoint = boundWaypoint(binding);
  const applicationTunnel = context.replicaOf === undefined ? undefined : applicationTunnelOf(context.replicaOf);
  return create(istioWorkload.WorkloadSchema, {
    ...commonFields(config),
    uid: record.uid,
    name: record.name,
    namespace: record.namespace,
    addresses: record.addresses.map(ipBytes),
    tunnelProtocol: record.captured || record.nativeTunnel ? TunnelProtocol.HBONE : TunnelProtocol.NONE,
    nativeTunnel: record.nativeTunnel && !record.captured,
    serviceAccount: record.serviceAccount,
    ...(waypoint === undefined ? {} : { waypoint: gatewayAddressInit(waypoint.address) }),
    node: record.node,
    ...namesFromLabels(record.pod.metadata.labels, podWorkloadName(record.pod)),
    workloadType: WorkloadType.POD,
    services: servicesInit(context.services),
    authorizationPolicies: [...context.policies],
    status: record.healthy ? WorkloadStatus.HEALTHY : WorkloadStatus.UNHEALTHY,
    ...(applicationTunnel === undefined ? {} : { applicationTunnel }),
    ...localityInit(context.node),
    networkMode: record.hostNetwork ? NetworkMode.HOST_NETWORK : NetworkMode.STANDARD,
    extensions: extensionsOf(enforcementMessage(context.enforcement), bindingMessage(binding, context.permissive)),
  });
}

/** Fields that every workload of this cluster has. */
export function commonFields(config: MeshConfig): {
  readonly network: string;
  readonly trustDomain: string;
  readonly clusterId: string;
} {
  return {
    network: config.network,
    // The default trust domain goes over the wire as "".
    trustDomain: config.trustDomain === defaultTrustDomain ? "" : config.trustDomain,
    clusterId: config.clusterId,
  };
}

/** Sorted by service, so that equal content has equal bytes. */
export function servicesInit(
  services: ServicePorts | undefined,
): Record<string, MessageInitShape<typeof istioWorkload.PortListSchema>> {
  const sorted = [...(services ?? [])].sort(([a], [b]) => (a < b ? -1 : 1));
  return Object.fromEntries(
    sorted.map(([key, ports]) => [
      key,
      { ports: ports.map(({ servicePort, targetPort }) => ({ servicePort, targetPort })) },
    ]),
  );
}

function localityInit(node: Node | undefined): { locality?: MessageInitShape<typeof istioWorkload.LocalitySchema> } {
  if (node === undefined) return {};
  const region = label(node, "topology.kubernetes.io/region") ?? "";
  const zone = label(node, "topology.kubernetes.io/zone") ?? "";
  const subzone = label(node, "topology.istio.io/subzone") ?? "";
  return region === "" && zone === "" && subzone === "" ? {} : { locality: { region, zone, subzone } };
}

/** `ambient.istio.io/waypoint-inbound-binding: PROXY/15088` on the Gateway: a waypoint that stands behind its pod's ztunnel. */
function applicationTunnelOf(
  waypoint: WaypointRecord,
): MessageInitShape<typeof istioWorkload.ApplicationTunnelSchema> | undefined {
  const text = annotation(waypoint.gateway, "ambient.istio.io/waypoint-inbound-binding");
  if (text === undefined) return undefined;
  const [protocol, port = "0"] = text.split("/");
  if (protocol !== "PROXY" && protocol !== "NONE") return undefined;
  return { protocol: istioWorkload.ApplicationTunnel_Protocol[protocol], port: Number(port) || 0 };
}
