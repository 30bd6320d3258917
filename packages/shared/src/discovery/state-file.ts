/** ztunnel's local state file (LOCAL_XDS, LOCAL_XDS_PATH): YAML in camelCase; anything it does not know is an error with its path. */
import { parse } from "yaml";
import type {
  AuthorizationPolicy,
  GatewayAddress,
  LoadBalancing,
  PolicyMatch,
  Service,
  ServicePort,
  StringMatch,
  Workload,
} from "../model/index.ts";
import { parseCidr, parseIp } from "../model/index.ts";
import { StateFileError, YamlNode } from "./yaml-node.ts";

export { StateFileError } from "./yaml-node.ts";

export interface StateFile {
  readonly workloads: readonly Workload[];
  readonly services: readonly Service[];
  readonly policies: readonly AuthorizationPolicy[];
}

export const emptyStateFile: StateFile = { workloads: [], services: [], policies: [] };

const defaultHbonePort = 15008;

/** Reads a state file. Throws {@link StateFileError} with the path (`workloads[0].protocol`) and what is expected there. */
export function parseStateFile(text: string): StateFile {
  let value: unknown;
  try {
    value = parse(text, { maxAliasCount: 100 });
  } catch (cause) {
    throw new StateFileError("", `is not YAML: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  const root = new YamlNode(value ?? {}, "").fields(["workloads", "services", "policies"]);
  return {
    workloads: root.list("workloads").map(readWorkload),
    services: root.list("services").map(readService),
    policies: root.list("policies").map(readPolicy),
  };
}

function readWorkload(node: YamlNode): Workload {
  const fields = node.fields([
    "uid",
    "name",
    "namespace",
    "serviceAccount",
    "trustDomain",
    "node",
    "network",
    "hostname",
    "workloadIps",
    "protocol",
    "networkMode",
    "waypoint",
    "networkGateway",
    "applicationTunnel",
    "nativeTunnel",
    "authorizationPolicies",
    "status",
    "clusterId",
    "locality",
    "capacity",
    "workloadName",
    "workloadType",
    "canonicalName",
    "canonicalRevision",
    "services",
  ]);
  const locality = fields.optional("locality")?.fields(["region", "zone", "subzone"]);
  const tunnel = fields.optional("applicationTunnel")?.fields(["protocol", "port"]);
  return {
    uid: fields.required("uid").text(),
    name: fields.text("name"),
    namespace: fields.required("namespace").text(),
    addresses: fields
      .required("workloadIps")
      .list()
      .map((ip) => ip.convert(parseIp)),
    hostname: fields.text("hostname"),
    network: fields.text("network"),
    tunnelProtocol: fields.oneOf("protocol", { TCP: "NONE", HBONE: "HBONE" }, "TCP"),
    trustDomain: fields.text("trustDomain"),
    serviceAccount: fields.text("serviceAccount"),
    waypoint: readGateway(fields.optional("waypoint")),
    networkGateway: readGateway(fields.optional("networkGateway")),
    node: fields.text("node"),
    canonicalName: fields.text("canonicalName"),
    canonicalRevision: fields.text("canonicalRevision"),
    workloadType: fields.oneOf(
      "workloadType",
      { deployment: "DEPLOYMENT", cronjob: "CRONJOB", pod: "POD", job: "JOB" },
      "deployment",
    ),
    workloadName: fields.text("workloadName"),
    nativeTunnel: fields.flag("nativeTunnel"),
    applicationTunnel: tunnel && {
      protocol: tunnel.oneOf("protocol", { NONE: "NONE", PROXY: "PROXY" }, "NONE"),
      port: tunnel.optional("port")?.integer(0, 65535) ?? 0,
    },
    services: new Map(
      fields
        .required("services")
        .entries()
        .map(([key, ports]) => [serviceKey(key, ports), readPorts(ports)]),
    ),
    authorizationPolicies: fields.list("authorizationPolicies").map((key) => key.text()),
    healthy: fields.oneOf("status", { Healthy: true, Unhealthy: false }, "Healthy"),
    clusterId: fields.text("clusterId"),
    locality: {
      region: locality?.text("region") ?? "",
      zone: locality?.text("zone") ?? "",
      subzone: locality?.text("subzone") ?? "",
    },
    hostNetwork: fields.oneOf("networkMode", { Standard: false, HostNetwork: true }, "Standard"),
    capacity: fields.optional("capacity")?.integer(0, 0xffffffff) ?? 1,
    enforcement: undefined,
  };
}

function readService(node: YamlNode): Service {
  const fields = node.fields([
    "name",
    "namespace",
    "hostname",
    "vips",
    "cidrVips",
    "ports",
    "subjectAltNames",
    "waypoint",
    "weightedWaypoints",
    "loadBalancer",
    "ipFamilies",
    "canonical",
    "visibility",
  ]);
  return {
    name: fields.text("name"),
    namespace: fields.required("namespace").text(),
    hostname: fields.required("hostname").text(),
    vips: fields.list("vips").map((vip) => vip.convert(networkAndIp)),
    cidrVips: fields.list("cidrVips").map((entry) => {
      const vip = entry.fields(["network", "cidr"]);
      return { network: vip.text("network"), cidr: vip.required("cidr").convert(parseCidr) };
    }),
    ports: (fields.optional("ports") ? readPorts(fields.required("ports")) : []).map((port) => ({
      ...port,
      appProtocol: "UNKNOWN",
    })),
    subjectAltNames: fields.list("subjectAltNames").map((name) => name.text()),
    waypoint: readGateway(fields.optional("waypoint")),
    weightedWaypoints: fields.list("weightedWaypoints").map((entry) => {
      const weighted = entry.fields(["destination", "weight"]);
      return {
        destination: gatewayAt(weighted.required("destination")),
        weight: weighted.required("weight").integer(0, 0xffffffff),
      };
    }),
    loadBalancing: readLoadBalancing(fields.optional("loadBalancer")),
    ipFamilies: fields.optional("ipFamilies")
      ? fields.oneOf("ipFamilies", { IPv4: "IPV4_ONLY", IPv6: "IPV6_ONLY", Dual: "DUAL" }, "Dual")
      : "AUTOMATIC",
    canonical: fields.flag("canonical"),
    visibility: fields.oneOf("visibility", { Public: "PUBLIC", Namespace: "NAMESPACE" }, "Public"),
  };
}

function readPolicy(node: YamlNode): AuthorizationPolicy {
  const fields = node.fields(["name", "namespace", "scope", "action", "dryRun", "rules"]);
  return {
    name: fields.required("name").text(),
    namespace: fields.required("namespace").text(),
    scope: fields
      .required("scope")
      .oneOf({ Global: "GLOBAL", Namespace: "NAMESPACE", WorkloadSelector: "WORKLOAD_SELECTOR" }),
    action: fields.required("action").oneOf({ Allow: "ALLOW", Deny: "DENY" }),
    rules: fields.list("rules").map((rule) => ({ clauses: rule.list().map((clause) => clause.list().map(readMatch)) })),
    dryRun: fields.required("dryRun").flag(),
  };
}

function readMatch(node: YamlNode): PolicyMatch {
  const fields = node.fields([
    "namespaces",
    "notNamespaces",
    "principals",
    "notPrincipals",
    "serviceAccounts",
    "notServiceAccounts",
    "sourceIps",
    "notSourceIps",
    "destinationIps",
    "notDestinationIps",
    "destinationPorts",
    "notDestinationPorts",
  ]);
  const strings = (name: string): StringMatch[] => fields.list(name).map(readString);
  const cidrs = (name: string): PolicyMatch["sourceIps"] => fields.list(name).map((cidr) => cidr.convert(parseCidr));
  const ports = (name: string): number[] => fields.list(name).map((port) => port.integer(0, 65535));
  const accounts = (name: string): PolicyMatch["serviceAccounts"] =>
    fields.list(name).map((entry) => {
      const account = entry.fields(["namespace", "serviceAccount"]);
      return { namespace: account.text("namespace"), serviceAccount: account.text("serviceAccount") };
    });
  return {
    namespaces: strings("namespaces"),
    notNamespaces: strings("notNamespaces"),
    principals: strings("principals"),
    notPrincipals: strings("notPrincipals"),
    serviceAccounts: accounts("serviceAccounts"),
    notServiceAccounts: accounts("notServiceAccounts"),
    sourceIps: cidrs("sourceIps"),
    notSourceIps: cidrs("notSourceIps"),
    destinationIps: cidrs("destinationIps"),
    notDestinationIps: cidrs("notDestinationIps"),
    destinationPorts: ports("destinationPorts"),
    notDestinationPorts: ports("notDestinationPorts"),
  };
}

function readString(node: YamlNode): StringMatch {
  const fields = node.fields(Object.keys(stringKinds));
  const entries = Object.entries(stringKinds).flatMap(([name, kind]) => {
    const value = fields.optional(name);
    return value ? [{ kind, value }] : [];
  });
  const [entry, ...more] = entries;
  if (entry === undefined || more.length > 0)
    throw new StateFileError(node.path, "needs exactly one of Exact, Prefix, Suffix, Presence");
  return entry.kind === "presence" ? { kind: entry.kind } : { kind: entry.kind, value: entry.value.text() };
}

const stringKinds = { Exact: "exact", Prefix: "prefix", Suffix: "suffix", Presence: "presence" } as const;

function readLoadBalancing(node: YamlNode | undefined): LoadBalancing {
  if (node === undefined) return { mode: "STANDARD", routingPreferences: [], allowUnhealthy: false };
  const fields = node.fields(["routingPreferences", "mode", "healthPolicy"]);
  return {
    mode: fields.oneOf(
      "mode",
      { Standard: "STANDARD", Strict: "STRICT", Failover: "FAILOVER", Passthrough: "PASSTHROUGH" },
      "Standard",
    ),
    routingPreferences: fields.list("routingPreferences").map((scope) =>
      scope.oneOf({
        Region: "REGION",
        Zone: "ZONE",
        Subzone: "SUBZONE",
        Node: "NODE",
        Cluster: "CLUSTER",
        Network: "NETWORK",
      }),
    ),
    allowUnhealthy: fields.oneOf("healthPolicy", { OnlyHealthy: false, AllowAll: true }, "OnlyHealthy"),
  };
}

function readGateway(node: YamlNode | undefined): GatewayAddress | undefined {
  return node && gatewayAt(node);
}

/** `network/ip` or `namespace/hostname`. */
function gatewayAt(node: YamlNode): GatewayAddress {
  const fields = node.fields(["destination", "hboneMtlsPort"]);
  const destination = fields.required("destination").convert(parseDestination);
  return { destination, hboneMtlsPort: fields.optional("hboneMtlsPort")?.integer(1, 65535) ?? defaultHbonePort };
}

function parseDestination(text: string): GatewayAddress["destination"] {
  const [first = "", second = "", ...rest] = text.split("/");
  if (second === "" || rest.length > 0)
    throw new Error(`${JSON.stringify(text)} is neither network/ip nor namespace/hostname`);
  if (/^[0-9.]+$|:/.test(second)) return { kind: "address", address: { network: first, ip: parseIp(second) } };
  return { kind: "hostname", hostname: { namespace: first, hostname: second } };
}

function networkAndIp(text: string): { network: string; ip: string } {
  const slash = text.indexOf("/");
  if (slash < 0)
    throw new Error(`${JSON.stringify(text)} is not network/ip (the default network is empty: "/10.0.0.1")`);
  return { network: text.slice(0, slash), ip: parseIp(text.slice(slash + 1)) };
}

function readPorts(node: YamlNode): Omit<ServicePort, "appProtocol">[] {
  return node.entries().map(([key, target]) => {
    const servicePort = Number(key);
    if (!/^[0-9]+$/.test(key) || servicePort < 1 || servicePort > 65535)
      throw new StateFileError(target.path, `${JSON.stringify(key)} is not a port`);
    return { servicePort, targetPort: target.integer(0, 65535) };
  });
}

function serviceKey(key: string, node: YamlNode): string {
  if (!/^[^/]+\/[^/]+$/.test(key)) throw new StateFileError(node.path, "is not keyed by namespace/hostname");
  return key;
}
