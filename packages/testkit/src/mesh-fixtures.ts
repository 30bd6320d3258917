/** Model values for tests: complete, with the fields that matter given by the caller. */
import type { AuthorizationPolicy, PolicyMatch, Service, Workload } from "@hairpin/shared/model";

/** A healthy HBONE pod `web-1` in namespace `ns`, service account `web`, at 10.0.0.1. */
export function aWorkload(fields: Partial<Workload> = {}): Workload {
  return {
    uid: "Kubernetes//Pod/ns/web-1",
    name: "web-1",
    namespace: "ns",
    addresses: ["10.0.0.1"],
    hostname: "",
    network: "",
    tunnelProtocol: "HBONE",
    trustDomain: "cluster.local",
    serviceAccount: "web",
    waypoint: undefined,
    networkGateway: undefined,
    node: "node-1",
    canonicalName: "web",
    canonicalRevision: "latest",
    workloadType: "POD",
    workloadName: "web",
    nativeTunnel: false,
    applicationTunnel: undefined,
    services: new Map(),
    authorizationPolicies: [],
    healthy: true,
    clusterId: "Kubernetes",
    locality: { region: "", zone: "", subzone: "" },
    hostNetwork: false,
    capacity: 1,
    enforcement: undefined,
    waypointBinding: undefined,
    ...fields,
  };
}

/** A Kubernetes Service `web` in namespace `ns` with port 80 → 8080. */
export function aService(fields: Partial<Service> = {}): Service {
  return {
    name: "web",
    namespace: "ns",
    hostname: "web.ns.svc.cluster.local",
    vips: [{ network: "", ip: "10.96.0.1" }],
    cidrVips: [],
    ports: [{ servicePort: 80, targetPort: 8080, appProtocol: "UNKNOWN" }],
    subjectAltNames: [],
    waypoint: undefined,
    weightedWaypoints: [],
    loadBalancing: { mode: "STANDARD", routingPreferences: [], allowUnhealthy: false },
    ipFamilies: "IPV4_ONLY",
    canonical: true,
    visibility: "PUBLIC",
    waypointBinding: undefined,
    ...fields,
  };
}

/** A DENY policy `policy` of namespace `ns` for the whole namespace that matches nothing. */
export function aPolicy(fields: Partial<AuthorizationPolicy> = {}): AuthorizationPolicy {
  return { name: "policy", namespace: "ns", scope: "NAMESPACE", action: "DENY", rules: [], dryRun: false, ...fields };
}

/** A match with only the given fields set. */
export function aMatch(fields: Partial<PolicyMatch> = {}): PolicyMatch {
  return {
    namespaces: [],
    notNamespaces: [],
    principals: [],
    notPrincipals: [],
    serviceAccounts: [],
    notServiceAccounts: [],
    sourceIps: [],
    notSourceIps: [],
    destinationIps: [],
    notDestinationIps: [],
    destinationPorts: [],
    notDestinationPorts: [],
    ...fields,
  };
}
