// The kinds that the local mesh takes: their API group, whether they have a namespace, and the names that commands accept.

import type {
  ConfigMap,
  DaemonSet,
  Deployment,
  EndpointSlice,
  Gateway,
  KubernetesObject,
  Namespace,
  Node,
  Pod,
  ReplicaSet,
  Service,
} from "./kubernetes-object.ts";

/** A kind; the type parameter is the view that the store returns for it. */
export interface Kind<T extends KubernetesObject = KubernetesObject> {
  readonly group: string;
  readonly kind: string;
  /** The version in which the local mesh writes objects of its own; users may write any served version. */
  readonly version: string;
  readonly versions: readonly string[];
  readonly namespaced: boolean;
  readonly plural: string;
  readonly shortNames: readonly string[];
  /** Never set: carries the type of the view. */
  readonly view?: T;
}

interface KindOptions {
  readonly group?: string;
  readonly versions?: readonly [string, ...string[]];
  readonly plural?: string;
  readonly short?: readonly string[];
  readonly clusterScoped?: boolean;
}

function defineKind<T extends KubernetesObject>(kind: string, options: KindOptions = {}): Kind<T> {
  const versions = options.versions ?? ["v1"];
  return {
    group: options.group ?? "",
    kind,
    version: versions[0],
    versions,
    namespaced: options.clusterScoped !== true,
    plural: options.plural ?? `${kind.toLowerCase()}s`,
    shortNames: options.short ?? [],
  };
}

const gatewayApi = "gateway.networking.k8s.io";
const istioNetworking = "networking.istio.io";
const istioSecurity = "security.istio.io";
const istioVersions = ["v1", "v1beta1", "v1alpha3"] as const;

export const namespaceKind: Kind<Namespace> = defineKind("Namespace", { short: ["ns"], clusterScoped: true });
export const nodeKind: Kind<Node> = defineKind("Node", { short: ["no"], clusterScoped: true });
export const serviceAccountKind: Kind = defineKind("ServiceAccount", { short: ["sa"] });
export const configMapKind: Kind<ConfigMap> = defineKind("ConfigMap", { short: ["cm"] });
export const podKind: Kind<Pod> = defineKind("Pod", { short: ["po"] });
export const serviceKind: Kind<Service> = defineKind("Service", { short: ["svc"] });
export const deploymentKind: Kind<Deployment> = defineKind("Deployment", { group: "apps", short: ["deploy"] });
export const replicaSetKind: Kind<ReplicaSet> = defineKind("ReplicaSet", { group: "apps", short: ["rs"] });
export const daemonSetKind: Kind<DaemonSet> = defineKind("DaemonSet", { group: "apps", short: ["ds"] });
export const endpointSliceKind: Kind<EndpointSlice> = defineKind("EndpointSlice", { group: "discovery.k8s.io" });
export const gatewayKind: Kind<Gateway> = defineKind("Gateway", {
  group: gatewayApi,
  versions: ["v1", "v1beta1"],
  short: ["gtw"],
});
const gatewayClassKind: Kind = defineKind("GatewayClass", {
  group: gatewayApi,
  versions: ["v1", "v1beta1"],
  plural: "gatewayclasses",
  short: ["gc"],
  clusterScoped: true,
});

/** Every kind that `apply` takes. */
export const kinds: readonly Kind[] = [
  namespaceKind,
  nodeKind,
  serviceAccountKind,
  configMapKind,
  podKind,
  serviceKind,
  deploymentKind,
  replicaSetKind,
  daemonSetKind,
  endpointSliceKind,
  gatewayClassKind,
  gatewayKind,
  defineKind("HTTPRoute", { group: gatewayApi, versions: ["v1", "v1beta1"] }),
  defineKind("GRPCRoute", { group: gatewayApi, versions: ["v1", "v1alpha2"] }),
  defineKind("TCPRoute", { group: gatewayApi, versions: ["v1alpha2", "v1"] }),
  defineKind("TLSRoute", { group: gatewayApi, versions: ["v1alpha2", "v1alpha3", "v1"] }),
  defineKind("ReferenceGrant", { group: gatewayApi, versions: ["v1beta1", "v1", "v1alpha2"], short: ["refgrant"] }),
  defineKind("BackendTLSPolicy", { group: gatewayApi, versions: ["v1", "v1alpha3"], plural: "backendtlspolicies" }),
  defineKind("AuthorizationPolicy", {
    group: istioSecurity,
    versions: ["v1", "v1beta1"],
    plural: "authorizationpolicies",
    short: ["ap"],
  }),
  defineKind("PeerAuthentication", { group: istioSecurity, versions: ["v1", "v1beta1"], short: ["pa"] }),
  defineKind("RequestAuthentication", { group: istioSecurity, versions: ["v1", "v1beta1"], short: ["ra"] }),
  defineKind("ServiceEntry", {
    group: istioNetworking,
    versions: istioVersions,
    plural: "serviceentries",
    short: ["se"],
  }),
  defineKind("WorkloadEntry", {
    group: istioNetworking,
    versions: istioVersions,
    plural: "workloadentries",
    short: ["we"],
  }),
  defineKind("DestinationRule", { group: istioNetworking, versions: istioVersions, short: ["dr"] }),
  defineKind("VirtualService", { group: istioNetworking, versions: istioVersions, short: ["vs"] }),
  defineKind("Telemetry", { group: "telemetry.istio.io", versions: ["v1", "v1alpha1"], plural: "telemetries" }),
];

/** `apps` of `apps/v1`; empty for the core group. */
export function groupOf(apiVersion: string): string {
  const slash = apiVersion.indexOf("/");
  return slash < 0 ? "" : apiVersion.slice(0, slash);
}

/** The apiVersion in which the local mesh writes objects of this kind. */
export function apiVersionOf(kind: Kind): string {
  return kind.group === "" ? kind.version : `${kind.group}/${kind.version}`;
}

/** The kind of an object; undefined when the local mesh does not take it. */
export function kindOfObject(object: Pick<KubernetesObject, "apiVersion" | "kind">): Kind | undefined {
  const group = groupOf(object.apiVersion);
  return kinds.find((kind) => kind.kind === object.kind && kind.group === group);
}

/** What a user types after `get`: `pods`, `pod`, `po`, `Pod`, `gateways.gateway.networking.k8s.io`. */
export function findKindByName(name: string): Kind | undefined {
  const lower = name.toLowerCase();
  return kinds.find(
    (kind) =>
      lower === kind.plural ||
      lower === kind.kind.toLowerCase() ||
      kind.shortNames.includes(lower) ||
      lower === `${kind.plural}.${kind.group}`,
  );
}
