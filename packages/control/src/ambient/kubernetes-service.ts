import { type LoadBalancing, type RoutingScope, parseIp, serviceHostname } from "@hairpin/shared/model";
import type { KubernetesService, Namespace } from "../collection/kubernetes-object.ts";
import { annotation } from "../collection/label-match.ts";
import { appProtocolOf } from "./app-protocol.ts";
import type { MeshConfig } from "./mesh-config.ts";
import { type ServicePortRecord, type ServiceRecord, plainLoadBalancing } from "./service-record.ts";

const distributionAnnotation = "networking.istio.io/traffic-distribution";
const sameZone: readonly RoutingScope[] = ["NETWORK", "REGION", "ZONE"];
const sameNode: readonly RoutingScope[] = [...sameZone, "SUBZONE", "NODE"];

/** A Service as the mesh sees it; undefined for ExternalName, which is only a DNS alias. Throws on a bad address. */
export function buildServiceRecord(
  service: KubernetesService,
  namespace: Namespace | undefined,
  config: MeshConfig,
): ServiceRecord | undefined {
  const spec = service.spec ?? {};
  if (spec.type === "ExternalName") return undefined;
  const { name } = service.metadata;
  const serviceNamespace = service.metadata.namespace ?? "";
  const hostname = serviceHostname(name, serviceNamespace, config.clusterDomain);
  const clusterIps = spec.clusterIPs ?? (spec.clusterIP === undefined ? [] : [spec.clusterIP]);
  const selector = spec.selector ?? {};
  return {
    source: { kind: "Service", object: service },
    name,
    namespace: serviceNamespace,
    hostname,
    key: `${serviceNamespace}/${hostname}`,
    addresses: clusterIps.filter((ip) => ip !== "None" && ip !== "").map((ip) => ({ ip: parseIp(ip) })),
    ports: portsOf(service),
    // An empty selector selects nothing, unlike everywhere else in Kubernetes.
    selector: Object.keys(selector).length === 0 ? undefined : selector,
    loadBalancing: loadBalancingOf(service, namespace),
    ipFamilies: spec.ipFamilies ?? [],
    subjectAltNames: [],
  };
}

function portsOf(service: KubernetesService): ServicePortRecord[] {
  return (service.spec?.ports ?? [])
    .filter((port) => port.protocol === undefined || port.protocol === "TCP")
    .map((port) => ({
      name: port.name ?? "",
      port: port.port,
      targetPort: port.targetPort ?? port.port,
      appProtocol: appProtocolOf(port),
    }));
}

/** `internalTrafficPolicy: Local` is strict; a traffic distribution is a preference (Service > its annotation > Namespace's). */
function loadBalancingOf(service: KubernetesService, namespace: Namespace | undefined): LoadBalancing {
  const allowUnhealthy = service.spec?.publishNotReadyAddresses === true;
  if (service.spec?.internalTrafficPolicy === "Local")
    return { mode: "STRICT", routingPreferences: ["NODE"], allowUnhealthy };
  const distribution =
    service.spec?.trafficDistribution ??
    annotation(service, distributionAnnotation) ??
    (namespace === undefined ? undefined : annotation(namespace, distributionAnnotation));
  switch (distribution?.toLowerCase()) {
    case "preferclose":
    case "prefersamezone":
      return { mode: "FAILOVER", routingPreferences: sameZone, allowUnhealthy };
    case "prefersamenode":
      return { mode: "FAILOVER", routingPreferences: sameNode, allowUnhealthy };
    default:
      return { ...plainLoadBalancing, allowUnhealthy };
  }
}
