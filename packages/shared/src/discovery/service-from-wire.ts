import { istioWorkload } from "../api/index.ts";
import type { LoadBalancing, NetworkAddress, Service, ServicePort } from "../model/index.ts";
import { bindingFromWire } from "./extension-from-wire.ts";
import {
  enumName,
  requireText,
  WireError,
  wireCidr,
  wireGatewayAddress,
  wirePort,
  wireTargetPort,
} from "./wire-values.ts";

const { AppProtocol, IPFamilies, Visibility } = istioWorkload;
const {
  LoadBalancing_Mode: Mode,
  LoadBalancing_Scope: Scope,
  LoadBalancing_HealthPolicy: HealthPolicy,
} = istioWorkload;

const appProtocols = {
  [AppProtocol.UNKNOWN]: "UNKNOWN",
  [AppProtocol.HTTP11]: "HTTP11",
  [AppProtocol.HTTP2]: "HTTP2",
  [AppProtocol.GRPC]: "GRPC",
  [AppProtocol.TCP]: "TCP",
  [AppProtocol.TLS]: "TLS",
} as const;

const ipFamilies = {
  [IPFamilies.AUTOMATIC]: "AUTOMATIC",
  [IPFamilies.IPV4_ONLY]: "IPV4_ONLY",
  [IPFamilies.IPV6_ONLY]: "IPV6_ONLY",
  [IPFamilies.DUAL]: "DUAL",
} as const;

const visibilities = { [Visibility.PUBLIC]: "PUBLIC", [Visibility.NAMESPACE]: "NAMESPACE" } as const;

const modes = {
  [Mode.UNSPECIFIED_MODE]: "STANDARD",
  [Mode.STRICT]: "STRICT",
  [Mode.FAILOVER]: "FAILOVER",
  [Mode.PASSTHROUGH]: "PASSTHROUGH",
} as const;

const healthPolicies = { [HealthPolicy.ONLY_HEALTHY]: "ONLY_HEALTHY", [HealthPolicy.ALLOW_ALL]: "ALLOW_ALL" } as const;

/** UNSPECIFIED_SCOPE is refused: it would rank endpoints by nothing. */
const scopes = {
  [Scope.REGION]: "REGION",
  [Scope.ZONE]: "ZONE",
  [Scope.SUBZONE]: "SUBZONE",
  [Scope.NODE]: "NODE",
  [Scope.CLUSTER]: "CLUSTER",
  [Scope.NETWORK]: "NETWORK",
} as const;

/** Reads a Service. Throws {@link WireError} with the path of the first field that is wrong. */
export function serviceFromWire(wire: istioWorkload.Service): Service {
  const { vips, cidrVips } = addressesOf(wire.addresses);
  return {
    name: wire.name,
    namespace: requireText(wire.namespace, "namespace"),
    hostname: requireText(wire.hostname, "hostname"),
    vips,
    cidrVips,
    ports: wire.ports.map(portFromWire),
    subjectAltNames: wire.subjectAltNames,
    waypoint: wireGatewayAddress(wire.waypoint, "waypoint"),
    weightedWaypoints: wire.weightedWaypoints.map(weightedWaypoint),
    loadBalancing: loadBalancingFromWire(wire.loadBalancing),
    ipFamilies: enumName(ipFamilies, wire.ipFamilies, "ipFamilies"),
    canonical: wire.canonical,
    visibility: enumName(visibilities, wire.visibility, "visibility"),
    waypointBinding: bindingFromWire(wire.extensions),
  };
}

/** An address whose prefix is its full length is a single address. */
function addressesOf(wire: readonly istioWorkload.NetworkAddress[]): Pick<Service, "vips" | "cidrVips"> {
  const vips: NetworkAddress[] = [];
  const cidrVips: Service["cidrVips"][number][] = [];
  for (const [i, { network, address, length }] of wire.entries()) {
    const full = address.length * 8;
    const cidr = wireCidr(address, length ?? full, `addresses[${i}]`);
    if (length === undefined || length === full) vips.push({ network, ip: cidr.ip });
    else cidrVips.push({ network, cidr });
  }
  return { vips, cidrVips };
}

function portFromWire(wire: istioWorkload.Port, i: number): ServicePort {
  return {
    servicePort: wirePort(wire.servicePort, `ports[${i}].servicePort`),
    targetPort: wireTargetPort(wire.targetPort, `ports[${i}].targetPort`),
    appProtocol: enumName(appProtocols, wire.appProtocol, `ports[${i}].appProtocol`),
  };
}

function weightedWaypoint(wire: istioWorkload.WeightedWaypoint, i: number): Service["weightedWaypoints"][number] {
  const destination = wireGatewayAddress(wire.destination, `weightedWaypoints[${i}].destination`);
  if (destination === undefined) throw new WireError(`weightedWaypoints[${i}]`, "names no destination");
  return { destination, weight: wire.weight };
}

function loadBalancingFromWire(wire: istioWorkload.LoadBalancing | undefined): LoadBalancing {
  if (wire === undefined) return { mode: "STANDARD", routingPreferences: [], allowUnhealthy: false };
  return {
    mode: enumName(modes, wire.mode, "loadBalancing.mode"),
    routingPreferences: wire.routingPreference.map((scope, i) =>
      enumName(scopes, scope, `loadBalancing.routingPreference[${i}]`),
    ),
    allowUnhealthy: enumName(healthPolicies, wire.healthPolicy, "loadBalancing.healthPolicy") === "ALLOW_ALL",
  };
}
