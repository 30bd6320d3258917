import type {
  AuthorizationPolicyObject,
  EndpointSlice,
  Gateway,
  GatewayClass,
  GrpcRoute,
  HttpRoute,
  KubernetesObject,
  KubernetesService,
  Namespace,
  Node,
  PeerAuthentication,
  Pod,
  ServiceEntry,
  TcpRoute,
  WorkloadEntry,
} from "./kubernetes-object.ts";

/** The kinds that control reads, and their types. */
export interface KindTypes {
  readonly Namespace: Namespace;
  readonly Node: Node;
  readonly Pod: Pod;
  readonly Service: KubernetesService;
  readonly EndpointSlice: EndpointSlice;
  readonly WorkloadEntry: WorkloadEntry;
  readonly ServiceEntry: ServiceEntry;
  readonly AuthorizationPolicy: AuthorizationPolicyObject;
  readonly PeerAuthentication: PeerAuthentication;
  readonly GatewayClass: GatewayClass;
  readonly Gateway: Gateway;
  readonly HTTPRoute: HttpRoute;
  readonly GRPCRoute: GrpcRoute;
  readonly TCPRoute: TcpRoute;
}

export type Kind = keyof KindTypes;

/** API group by kind: several groups have a Gateway and a Service. Every served version of a group reads the same. */
const groupOfKind: Readonly<Record<Kind, string>> = {
  Namespace: "",
  Node: "",
  Pod: "",
  Service: "",
  EndpointSlice: "discovery.k8s.io",
  WorkloadEntry: "networking.istio.io",
  ServiceEntry: "networking.istio.io",
  AuthorizationPolicy: "security.istio.io",
  PeerAuthentication: "security.istio.io",
  GatewayClass: "gateway.networking.k8s.io",
  Gateway: "gateway.networking.k8s.io",
  HTTPRoute: "gateway.networking.k8s.io",
  GRPCRoute: "gateway.networking.k8s.io",
  TCPRoute: "gateway.networking.k8s.io",
};

/** Every kind that control reads, with its API group. */
export const kindsRead: readonly { readonly kind: Kind; readonly group: string }[] = Object.entries(groupOfKind).map(
  ([kind, group]) => ({ kind: kind as Kind, group }),
);

/** The kind of an object that control reads; undefined for all others. */
export function kindOf(object: Pick<KubernetesObject, "apiVersion" | "kind">): Kind | undefined {
  const group = object.apiVersion.includes("/") ? (object.apiVersion.split("/")[0] ?? "") : "";
  if (!Object.hasOwn(groupOfKind, object.kind)) return undefined;
  const kind = object.kind as Kind;
  return groupOfKind[kind] === group ? kind : undefined;
}

/** `namespace/name`; only `name` for kinds without namespace. */
export function objectKey(object: KubernetesObject): string {
  const { namespace, name } = object.metadata;
  return namespace === undefined || namespace === "" ? name : `${namespace}/${name}`;
}
