import { type MessageInitShape, create } from "@bufbuild/protobuf";
import { istioWorkload } from "@hairpin/shared/api";
import { ipBytes } from "@hairpin/shared/model";
import { type MeshConfig, hbonePort } from "./mesh-config.ts";
import type { ServiceRecord } from "./service-record.ts";
import { type Binding, boundWaypoint } from "./waypoint/binding.ts";
import { bindingMessage, extensionsOf, gatewayAddressInit } from "./waypoint/enforcement.ts";

/** The WDS form of a service. `permissive`: its namespace does not enforce waypoints. */
export function buildServiceMessage(
  service: ServiceRecord,
  context: {
    readonly config: MeshConfig;
    readonly binding: Binding;
    readonly permissive: boolean;
    readonly canonical: boolean;
  },
): istioWorkload.Service {
  const { config, binding, permissive } = context;
  const waypoint = waypointAddress(binding, permissive, config);
  const loadBalancing = loadBalancingInit(service);
  return create(istioWorkload.ServiceSchema, {
    name: service.name,
    namespace: service.namespace,
    hostname: service.hostname,
    addresses: service.addresses.map(({ ip, prefixLength }) => ({
      network: config.network,
      address: ipBytes(ip),
      ...(prefixLength === undefined ? {} : { length: prefixLength }),
    })),
    ports: service.ports.map((port) => ({
      servicePort: port.port,
      // A named port is resolved per workload.
      targetPort: typeof port.targetPort === "number" ? port.targetPort : 0,
      appProtocol: istioWorkload.AppProtocol[port.appProtocol],
    })),
    subjectAltNames: [...service.subjectAltNames],
    ...(waypoint === undefined ? {} : { waypoint }),
    ...(loadBalancing === undefined ? {} : { loadBalancing }),
    ipFamilies: ipFamilies(service.ipFamilies),
    extensions: extensionsOf(undefined, bindingMessage(binding, permissive)),
    canonical: context.canonical,
  });
}

/**
 * A refused binding still names its waypoint: a ztunnel that does not know our extension then finds nobody there and
 * refuses as well.
 */
function waypointAddress(
  binding: Binding,
  permissive: boolean,
  config: MeshConfig,
): ReturnType<typeof gatewayAddressInit> | undefined {
  const { resolution } = binding;
  const bound = boundWaypoint(binding);
  if (bound !== undefined) return gatewayAddressInit(bound.address);
  if (resolution.kind !== "refused" || permissive) return undefined;
  if (resolution.waypoint !== undefined) return gatewayAddressInit(resolution.waypoint.address);
  const [namespace = "", name = ""] = resolution.waypointKey.split("/");
  const hostname = `${name}.${namespace}.svc.${config.clusterDomain}`;
  return gatewayAddressInit({
    destination: { kind: "hostname", hostname: { namespace, hostname } },
    hboneMtlsPort: hbonePort,
  });
}

function loadBalancingInit(
  service: ServiceRecord,
): MessageInitShape<typeof istioWorkload.LoadBalancingSchema> | undefined {
  const { mode, routingPreferences, allowUnhealthy } = service.loadBalancing;
  if (mode === "STANDARD" && !allowUnhealthy) return undefined;
  const { LoadBalancing_HealthPolicy, LoadBalancing_Mode, LoadBalancing_Scope } = istioWorkload;
  return {
    mode: mode === "STANDARD" ? LoadBalancing_Mode.UNSPECIFIED_MODE : LoadBalancing_Mode[mode],
    routingPreference: routingPreferences.map((scope) => LoadBalancing_Scope[scope]),
    healthPolicy: allowUnhealthy ? LoadBalancing_HealthPolicy.ALLOW_ALL : LoadBalancing_HealthPolicy.ONLY_HEALTHY,
  };
}

function ipFamilies(families: readonly string[]): istioWorkload.IPFamilies {
  const { IPFamilies } = istioWorkload;
  if (families.length > 1) return IPFamilies.DUAL;
  if (families[0] === "IPv4") return IPFamilies.IPV4_ONLY;
  return families[0] === "IPv6" ? IPFamilies.IPV6_ONLY : IPFamilies.AUTOMATIC;
}
