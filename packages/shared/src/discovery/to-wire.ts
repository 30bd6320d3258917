/** Model → protobuf of the Workload API, as istiod fills it. */
import { create, type DescMessage, type MessageShape, toBinary } from "@bufbuild/protobuf";
import { hairpinEnforcement, istioSecurity, istioWorkload } from "../api/index.ts";
import {
  type AuthorizationPolicy,
  type Cidr,
  type Enforcement,
  formatSpiffeId,
  type GatewayAddress,
  ipBytes,
  type NetworkAddress,
  type PolicyMatch,
  type PortMapping,
  type Service,
  type StringMatch,
  type WaypointBinding,
  type Workload,
} from "../model/index.ts";
import { bindingExtension, enforcementExtension } from "./extension-from-wire.ts";

const {
  LoadBalancing_Mode: Mode,
  LoadBalancing_Scope: Scope,
  LoadBalancing_HealthPolicy: HealthPolicy,
} = istioWorkload;

/** The default trust domain is left out, as istiod does. `wireDefaults.trustDomain` on the other side fills it in. */
export function workloadToWire(workload: Workload, omitTrustDomain = "cluster.local"): istioWorkload.Address {
  const { services, locality } = workload;
  const value = create(istioWorkload.WorkloadSchema, {
    uid: workload.uid,
    name: workload.name,
    namespace: workload.namespace,
    addresses: workload.addresses.map(ipBytes),
    hostname: workload.hostname,
    network: workload.network,
    tunnelProtocol: istioWorkload.TunnelProtocol[workload.tunnelProtocol],
    trustDomain: workload.trustDomain === omitTrustDomain ? "" : workload.trustDomain,
    serviceAccount: workload.serviceAccount,
    node: workload.node,
    canonicalName: workload.canonicalName,
    canonicalRevision: workload.canonicalRevision,
    workloadType: istioWorkload.WorkloadType[workload.workloadType],
    workloadName: workload.workloadName,
    nativeTunnel: workload.nativeTunnel,
    services: Object.fromEntries([...services].map(([key, ports]) => [key, { ports: ports.map(portToWire) }])),
    authorizationPolicies: [...workload.authorizationPolicies],
    status: workload.healthy ? istioWorkload.WorkloadStatus.HEALTHY : istioWorkload.WorkloadStatus.UNHEALTHY,
    clusterId: workload.clusterId,
    networkMode: workload.hostNetwork ? istioWorkload.NetworkMode.HOST_NETWORK : istioWorkload.NetworkMode.STANDARD,
    extensions: extensionsToWire(workload.enforcement, workload.waypointBinding),
  });
  if (workload.waypoint) value.waypoint = gatewayAddressToWire(workload.waypoint);
  if (workload.networkGateway) value.networkGateway = gatewayAddressToWire(workload.networkGateway);
  if (workload.applicationTunnel) {
    const { protocol, port } = workload.applicationTunnel;
    const wireProtocol = istioWorkload.ApplicationTunnel_Protocol[protocol];
    value.applicationTunnel = create(istioWorkload.ApplicationTunnelSchema, { protocol: wireProtocol, port });
  }
  if (locality.region !== "" || locality.zone !== "" || locality.subzone !== "")
    value.locality = create(istioWorkload.LocalitySchema, locality);
  if (workload.capacity !== 1) value.capacity = workload.capacity;
  return create(istioWorkload.AddressSchema, { type: { case: "workload", value } });
}

export function serviceToWire(service: Service): istioWorkload.Address {
  const { loadBalancing } = service;
  const value = create(istioWorkload.ServiceSchema, {
    name: service.name,
    namespace: service.namespace,
    hostname: service.hostname,
    addresses: [
      ...service.vips.map((vip) => networkAddressToWire(vip)),
      ...service.cidrVips.map(({ network, cidr }) => networkAddressToWire({ network, ip: cidr.ip }, cidr.prefixLength)),
    ],
    ports: service.ports.map((port) =>
      create(istioWorkload.PortSchema, { ...port, appProtocol: istioWorkload.AppProtocol[port.appProtocol] }),
    ),
    subjectAltNames: [...service.subjectAltNames],
    weightedWaypoints: service.weightedWaypoints.map(({ destination, weight }) =>
      create(istioWorkload.WeightedWaypointSchema, { destination: gatewayAddressToWire(destination), weight }),
    ),
    ipFamilies: istioWorkload.IPFamilies[service.ipFamilies],
    canonical: service.canonical,
    visibility: istioWorkload.Visibility[service.visibility],
    extensions: extensionsToWire(undefined, service.waypointBinding),
  });
  if (service.waypoint) value.waypoint = gatewayAddressToWire(service.waypoint);
  if (loadBalancing.mode !== "STANDARD" || loadBalancing.allowUnhealthy || loadBalancing.routingPreferences.length > 0)
    value.loadBalancing = create(istioWorkload.LoadBalancingSchema, {
      mode: loadBalancing.mode === "STANDARD" ? Mode.UNSPECIFIED_MODE : Mode[loadBalancing.mode],
      routingPreference: loadBalancing.routingPreferences.map((scope) => Scope[scope]),
      healthPolicy: loadBalancing.allowUnhealthy ? HealthPolicy.ALLOW_ALL : HealthPolicy.ONLY_HEALTHY,
    });
  return create(istioWorkload.AddressSchema, { type: { case: "service", value } });
}

export function policyToWire(policy: AuthorizationPolicy): istioSecurity.Authorization {
  return create(istioSecurity.AuthorizationSchema, {
    name: policy.name,
    namespace: policy.namespace,
    scope: istioSecurity.Scope[policy.scope],
    action: istioSecurity.Action[policy.action],
    rules: policy.rules.map((rule) => ({
      clauses: rule.clauses.map((matches) => ({ matches: matches.map(matchToWire) })),
    })),
    dryRun: policy.dryRun,
  });
}

export function gatewayAddressToWire(address: GatewayAddress): istioWorkload.GatewayAddress {
  const { destination, hboneMtlsPort } = address;
  return create(istioWorkload.GatewayAddressSchema, {
    hboneMtlsPort,
    destination:
      destination.kind === "hostname"
        ? { case: "hostname", value: create(istioWorkload.NamespacedHostnameSchema, destination.hostname) }
        : { case: "address", value: networkAddressToWire(destination.address) },
  });
}

function networkAddressToWire({ network, ip }: NetworkAddress, length?: number): istioWorkload.NetworkAddress {
  const wire = create(istioWorkload.NetworkAddressSchema, { network, address: ipBytes(ip) });
  if (length !== undefined) wire.length = length;
  return wire;
}

function portToWire(port: PortMapping): istioWorkload.Port {
  return create(istioWorkload.PortSchema, port);
}

function extensionsToWire(
  enforcement: Enforcement | undefined,
  binding: WaypointBinding | undefined,
): istioWorkload.Extension[] {
  const extensions: istioWorkload.Extension[] = [];
  if (enforcement)
    extensions.push(
      extension(enforcementExtension, hairpinEnforcement.EnforcementSchema, enforcementToWire(enforcement)),
    );
  if (binding) {
    const scope = hairpinEnforcement.Binding_Scope[binding.scope];
    const message = create(hairpinEnforcement.BindingSchema, { ...binding, scope });
    extensions.push(extension(bindingExtension, hairpinEnforcement.BindingSchema, message));
  }
  return extensions;
}

function enforcementToWire(enforcement: Enforcement): hairpinEnforcement.Enforcement {
  const { Enforcement_Mode: EnforcementMode, EnforcementSchema } = hairpinEnforcement;
  const acceptedIdentities = enforcement.acceptedIdentities.map(formatSpiffeId);
  const { waypoint } = enforcement;
  if (enforcement.mode === "refuse") {
    const { reason } = enforcement;
    return create(EnforcementSchema, { mode: EnforcementMode.REFUSE, acceptedIdentities, waypoint, reason });
  }
  return create(EnforcementSchema, {
    mode: EnforcementMode.HAIRPIN,
    acceptedIdentities,
    waypoint,
    hairpinTo: gatewayAddressToWire(enforcement.hairpinTo),
    hairpinIdentities: enforcement.hairpinIdentities.map(formatSpiffeId),
  });
}

function extension<Schema extends DescMessage>(
  name: string,
  schema: Schema,
  message: MessageShape<Schema>,
): istioWorkload.Extension {
  const config = { typeUrl: `type.googleapis.com/${schema.typeName}`, value: toBinary(schema, message) };
  return create(istioWorkload.ExtensionSchema, { name, config });
}

function matchToWire(match: PolicyMatch): istioSecurity.Match {
  return create(istioSecurity.MatchSchema, {
    namespaces: match.namespaces.map(stringToWire),
    notNamespaces: match.notNamespaces.map(stringToWire),
    principals: match.principals.map(stringToWire),
    notPrincipals: match.notPrincipals.map(stringToWire),
    serviceAccounts: match.serviceAccounts.map((account) => ({ ...account })),
    notServiceAccounts: match.notServiceAccounts.map((account) => ({ ...account })),
    sourceIps: match.sourceIps.map(cidrToWire),
    notSourceIps: match.notSourceIps.map(cidrToWire),
    destinationIps: match.destinationIps.map(cidrToWire),
    notDestinationIps: match.notDestinationIps.map(cidrToWire),
    destinationPorts: [...match.destinationPorts],
    notDestinationPorts: [...match.notDestinationPorts],
  });
}

function stringToWire(match: StringMatch): istioSecurity.StringMatch {
  return create(istioSecurity.StringMatchSchema, {
    matchType: match.kind === "presence" ? { case: "presence", value: {} } : { case: match.kind, value: match.value },
  });
}

function cidrToWire(cidr: Cidr): istioSecurity.Address {
  return create(istioSecurity.AddressSchema, { address: ipBytes(cidr.ip), length: cidr.prefixLength });
}
