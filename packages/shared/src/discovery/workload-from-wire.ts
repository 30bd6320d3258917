import { istioWorkload } from "../api/index.ts";
import type { IpAddress, PortMapping, Workload } from "../model/index.ts";
import { bindingFromWire, enforcementFromWire } from "./extension-from-wire.ts";
import {
  enumName,
  requireText,
  WireError,
  wireGatewayAddress,
  wireIp,
  wirePort,
  wirePortMappings,
  wireServiceKey,
} from "./wire-values.ts";

/** What the wire leaves out. */
export interface WireDefaults {
  /** For an empty trust domain. istiod leaves the default one out. */
  readonly trustDomain: string;
  /** For an empty cluster id. */
  readonly clusterId: string;
}

export const defaultWireDefaults: WireDefaults = { trustDomain: "cluster.local", clusterId: "Kubernetes" };

const { WorkloadType, WorkloadStatus, NetworkMode, TunnelProtocol, ApplicationTunnel_Protocol } = istioWorkload;

const workloadTypes = {
  [WorkloadType.DEPLOYMENT]: "DEPLOYMENT",
  [WorkloadType.CRONJOB]: "CRONJOB",
  [WorkloadType.POD]: "POD",
  [WorkloadType.JOB]: "JOB",
} as const;

const statuses = { [WorkloadStatus.HEALTHY]: "HEALTHY", [WorkloadStatus.UNHEALTHY]: "UNHEALTHY" } as const;

const networkModes = { [NetworkMode.STANDARD]: "STANDARD", [NetworkMode.HOST_NETWORK]: "HOST_NETWORK" } as const;

const tunnelProtocols = {
  [TunnelProtocol.NONE]: "NONE",
  [TunnelProtocol.HBONE]: "HBONE",
  [TunnelProtocol.LEGACY_ISTIO_MTLS]: "LEGACY_ISTIO_MTLS",
} as const;

const applicationProtocols = {
  [ApplicationTunnel_Protocol.NONE]: "NONE",
  [ApplicationTunnel_Protocol.PROXY]: "PROXY",
} as const;

/** Reads a Workload. Throws {@link WireError} with the path of the first field that is wrong. */
export function workloadFromWire(wire: istioWorkload.Workload, defaults: WireDefaults = defaultWireDefaults): Workload {
  return {
    uid: requireText(wire.uid, "uid"),
    name: wire.name,
    namespace: wire.namespace,
    addresses: wire.addresses.map((bytes, i): IpAddress => wireIp(bytes, `addresses[${i}]`)),
    hostname: wire.hostname,
    network: wire.network,
    tunnelProtocol: tunnelProtocol(wire.tunnelProtocol),
    trustDomain: wire.trustDomain === "" ? defaults.trustDomain : wire.trustDomain,
    serviceAccount: wire.serviceAccount === "" ? "default" : wire.serviceAccount,
    waypoint: wireGatewayAddress(wire.waypoint, "waypoint"),
    networkGateway: wireGatewayAddress(wire.networkGateway, "networkGateway"),
    node: wire.node,
    canonicalName: wire.canonicalName,
    canonicalRevision: wire.canonicalRevision,
    workloadType: enumName(workloadTypes, wire.workloadType, "workloadType"),
    workloadName: wire.workloadName,
    nativeTunnel: wire.nativeTunnel,
    applicationTunnel: applicationTunnel(wire.applicationTunnel),
    services: servicesOf(wire),
    authorizationPolicies: wire.authorizationPolicies.map((key, i) => requireText(key, `authorizationPolicies[${i}]`)),
    healthy: enumName(statuses, wire.status, "status") === "HEALTHY",
    clusterId: wire.clusterId === "" ? defaults.clusterId : wire.clusterId,
    locality: {
      region: wire.locality?.region ?? "",
      zone: wire.locality?.zone ?? "",
      subzone: wire.locality?.subzone ?? "",
    },
    hostNetwork: enumName(networkModes, wire.networkMode, "networkMode") === "HOST_NETWORK",
    capacity: wire.capacity ?? 1,
    enforcement: enforcementFromWire(wire.extensions),
    waypointBinding: bindingFromWire(wire.extensions),
  };
}

function tunnelProtocol(value: number): Workload["tunnelProtocol"] {
  const name = enumName(tunnelProtocols, value, "tunnelProtocol");
  if (name === "LEGACY_ISTIO_MTLS") throw new WireError("tunnelProtocol", "LEGACY_ISTIO_MTLS is not supported");
  return name;
}

function applicationTunnel(wire: istioWorkload.ApplicationTunnel | undefined): Workload["applicationTunnel"] {
  if (wire === undefined) return undefined;
  const protocol = enumName(applicationProtocols, wire.protocol, "applicationTunnel.protocol");
  return { protocol, port: wire.port === 0 ? 0 : wirePort(wire.port, "applicationTunnel.port") };
}

function servicesOf(wire: istioWorkload.Workload): ReadonlyMap<string, readonly PortMapping[]> {
  const services = new Map<string, readonly PortMapping[]>();
  for (const [key, list] of Object.entries(wire.services)) {
    const path = `services[${JSON.stringify(key)}]`;
    services.set(wireServiceKey(key, path), wirePortMappings(list.ports, path));
  }
  return services;
}
