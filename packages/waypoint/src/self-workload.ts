import type { MeshLookup } from "@hairpin/shared/discovery";
import type { Workload } from "@hairpin/shared/model";
import type { WaypointSettings } from "./config.ts";

/** This waypoint as a workload: the one the control plane knows, or what we know ourselves until it does. */
export function selfWorkload(settings: WaypointSettings, mesh: MeshLookup): Workload {
  const { pod, trustDomain, network, nodeName, clusterId, gatewayName } = settings;
  const known = mesh.findWorkloadByPod({ ...pod });
  if (known) return known;
  return {
    uid: `${clusterId}//Pod/${pod.namespace}/${pod.name}`,
    name: pod.name,
    namespace: pod.namespace,
    serviceAccount: pod.serviceAccount,
    trustDomain,
    network,
    node: nodeName,
    clusterId,
    addresses: settings.instanceIp === "" ? [] : [settings.instanceIp],
    hostname: "",
    tunnelProtocol: "NONE",
    waypoint: undefined,
    waypointBinding: undefined,
    networkGateway: undefined,
    canonicalName: gatewayName,
    canonicalRevision: "latest",
    workloadType: "POD",
    workloadName: gatewayName,
    nativeTunnel: false,
    applicationTunnel: undefined,
    services: new Map(),
    authorizationPolicies: [],
    healthy: true,
    locality: { region: "", zone: "", subzone: "" },
    hostNetwork: false,
    capacity: 1,
    enforcement: undefined,
  };
}
