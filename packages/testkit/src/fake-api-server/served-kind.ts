/** A kind as the fake serves it. */
export interface ServedKind {
  /** "" for the core group. */
  readonly group: string;
  /** Served versions, the preferred one first. */
  readonly versions: readonly string[];
  readonly kind: string;
  readonly plural: string;
  readonly namespaced: boolean;
  /** `status` is written only through its own path. */
  readonly hasStatus: boolean;
  /** Lists whose items are merged by these fields; all other lists are replaced whole. By name of the field that holds the list. */
  readonly listKeys: Readonly<Record<string, readonly string[]>>;
}

const podListKeys = {
  conditions: ["type"],
  containers: ["name"],
  initContainers: ["name"],
  volumes: ["name"],
  volumeMounts: ["mountPath"],
  env: ["name"],
  ports: ["containerPort", "protocol"],
  ownerReferences: ["uid"],
  topologySpreadConstraints: ["topologyKey", "whenUnsatisfiable"],
};
const metadataListKeys = { ownerReferences: ["uid"] };

/** `apps/v1 Deployment deployments`; versions are comma separated. */
function kind(
  apiVersion: string,
  name: string,
  plural: string,
  options: Partial<Pick<ServedKind, "namespaced" | "hasStatus" | "listKeys">> = {},
): ServedKind {
  const [groupOrVersion = "", versions] = apiVersion.split("/");
  return {
    group: versions === undefined ? "" : groupOrVersion,
    versions: (versions ?? groupOrVersion).split(","),
    kind: name,
    plural,
    namespaced: options.namespaced ?? true,
    hasStatus: options.hasStatus ?? true,
    listKeys: { ...metadataListKeys, ...options.listKeys },
  };
}

const cluster = { namespaced: false };
const plain = { hasStatus: false };
const withConditions = { listKeys: { conditions: ["type"] } };

/** What every cluster serves. */
export const builtInKinds: readonly ServedKind[] = [
  kind("v1", "Namespace", "namespaces", { ...cluster, ...withConditions }),
  kind("v1", "Node", "nodes", { ...cluster, ...withConditions }),
  kind("v1", "Pod", "pods", { listKeys: podListKeys }),
  kind("v1", "Service", "services", { listKeys: { conditions: ["type"], ports: ["port", "protocol"] } }),
  kind("v1", "ServiceAccount", "serviceaccounts", plain),
  kind("v1", "ConfigMap", "configmaps", plain),
  kind("v1", "Secret", "secrets", plain),
  kind("v1", "Event", "events", plain),
  kind("discovery.k8s.io/v1", "EndpointSlice", "endpointslices", plain),
  kind("apps/v1", "Deployment", "deployments", { listKeys: podListKeys }),
  kind("apps/v1", "DaemonSet", "daemonsets", { listKeys: podListKeys }),
  kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers", withConditions),
  kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets", withConditions),
  kind("coordination.k8s.io/v1", "Lease", "leases", plain),
  kind("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration", "validatingwebhookconfigurations", {
    ...cluster,
    ...plain,
    listKeys: { webhooks: ["name"] },
  }),
  kind("apiextensions.k8s.io/v1", "CustomResourceDefinition", "customresourcedefinitions", {
    ...cluster,
    ...withConditions,
  }),
];

/** Questions that are answered and not kept; see `FakeApiServer.reviews`. */
export const reviewKinds: readonly ServedKind[] = [
  kind("authentication.k8s.io/v1", "TokenReview", "tokenreviews", { ...cluster, ...plain }),
  kind("authorization.k8s.io/v1", "SubjectAccessReview", "subjectaccessreviews", { ...cluster, ...plain }),
];

/** As Gateway API's CRDs say: conditions are merged by type, `parents` of a route is one value. */
export const gatewayApiKinds: readonly ServedKind[] = [
  kind("gateway.networking.k8s.io/v1,v1beta1", "GatewayClass", "gatewayclasses", { ...cluster, ...withConditions }),
  kind("gateway.networking.k8s.io/v1,v1beta1", "Gateway", "gateways", {
    listKeys: { conditions: ["type"], listeners: ["name"] },
  }),
  kind("gateway.networking.k8s.io/v1,v1beta1", "HTTPRoute", "httproutes"),
  kind("gateway.networking.k8s.io/v1", "GRPCRoute", "grpcroutes"),
  kind("gateway.networking.k8s.io/v1alpha2", "TCPRoute", "tcproutes"),
  kind("gateway.networking.k8s.io/v1,v1beta1", "ReferenceGrant", "referencegrants", plain),
];

/** As Istio's CRDs say: `status` has no list keys, so conditions are one value. */
export const istioKinds: readonly ServedKind[] = [
  kind("networking.istio.io/v1,v1beta1,v1alpha3", "ServiceEntry", "serviceentries"),
  kind("networking.istio.io/v1,v1beta1,v1alpha3", "WorkloadEntry", "workloadentries"),
  kind("security.istio.io/v1,v1beta1", "AuthorizationPolicy", "authorizationpolicies"),
  kind("security.istio.io/v1,v1beta1", "PeerAuthentication", "peerauthentications"),
];
