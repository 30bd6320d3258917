// Every kind that a manifest may hold: its API group versions, whether it lives in a namespace, and its fields.
// Field names are those of Kubernetes 1.35, Gateway API 1.6 (experimental channel) and Istio 1.29.
import { fields, leaf, listOf, mapOf, type Shape } from "./shape.ts";

export interface KindDefinition {
  readonly kind: string;
  readonly apiVersions: readonly string[];
  readonly namespaced: boolean;
  readonly spec: Readonly<Record<string, Shape>>;
}

const metadata: Shape = {
  ...fields(
    "name",
    "generateName",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "finalizers",
    "managedFields",
    "selfLink",
  ),
  labels: mapOf(leaf),
  annotations: mapOf(leaf),
  ownerReferences: listOf(fields("apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion")),
};

/** What every object has besides its own fields. Status is written by controllers; a dumped object may carry it. */
export const commonFields: Readonly<Record<string, Shape>> = { ...fields("apiVersion", "kind", "status"), metadata };

const labelSelector: Shape = {
  matchLabels: mapOf(leaf),
  matchExpressions: listOf(fields("key", "operator", "values")),
};
const workloadSelector: Shape = { matchLabels: mapOf(leaf) };

const keyValue = fields("key", "name", "optional");
const envVar: Shape = {
  ...fields("name", "value"),
  valueFrom: {
    fieldRef: fields("apiVersion", "fieldPath"),
    resourceFieldRef: leaf,
    configMapKeyRef: keyValue,
    secretKeyRef: keyValue,
  },
};
const httpGet: Shape = { ...fields("path", "port", "host", "scheme"), httpHeaders: listOf(fields("name", "value")) };
const probe: Shape = {
  ...fields(
    "initialDelaySeconds",
    "periodSeconds",
    "timeoutSeconds",
    "successThreshold",
    "failureThreshold",
    "terminationGracePeriodSeconds",
  ),
  httpGet,
  tcpSocket: fields("port", "host"),
  exec: fields("command"),
  grpc: fields("port", "service"),
};
const container: Shape = {
  ...fields(
    "name",
    "image",
    "imagePullPolicy",
    "command",
    "args",
    "workingDir",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "securityContext",
    "stdin",
    "stdinOnce",
    "tty",
    "terminationMessagePath",
    "terminationMessagePolicy",
    "volumeDevices",
    "lifecycle",
  ),
  env: listOf(envVar),
  envFrom: leaf,
  ports: listOf(fields("name", "containerPort", "hostPort", "hostIP", "protocol")),
  volumeMounts: listOf(
    fields("name", "mountPath", "subPath", "subPathExpr", "readOnly", "recursiveReadOnly", "mountPropagation"),
  ),
  livenessProbe: probe,
  readinessProbe: probe,
  startupProbe: probe,
};
const podSpec: Readonly<Record<string, Shape>> = {
  ...fields(
    "serviceAccountName",
    "serviceAccount",
    "automountServiceAccountToken",
    "nodeName",
    "nodeSelector",
    "restartPolicy",
    "terminationGracePeriodSeconds",
    "activeDeadlineSeconds",
    "dnsPolicy",
    "dnsConfig",
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "hostUsers",
    "hostAliases",
    "hostname",
    "subdomain",
    "setHostnameAsFQDN",
    "shareProcessNamespace",
    "securityContext",
    "affinity",
    "tolerations",
    "topologySpreadConstraints",
    "priority",
    "priorityClassName",
    "preemptionPolicy",
    "schedulerName",
    "schedulingGates",
    "imagePullSecrets",
    "readinessGates",
    "runtimeClassName",
    "enableServiceLinks",
    "overhead",
    "os",
    "volumes",
    "resources",
    "resourceClaims",
  ),
  containers: listOf(container),
  initContainers: listOf(container),
};

const parentReference = fields("group", "kind", "namespace", "name", "sectionName", "port");
const policyTarget = fields("group", "kind", "namespace", "name", "sectionName");
const headerModifier: Shape = {
  set: listOf(fields("name", "value")),
  add: listOf(fields("name", "value")),
  remove: leaf,
};
const pathModifier = fields("type", "replaceFullPath", "replacePrefixMatch");
const backendObject = fields("group", "kind", "namespace", "name", "port");
const httpFilter: Shape = {
  type: leaf,
  requestHeaderModifier: headerModifier,
  responseHeaderModifier: headerModifier,
  requestRedirect: { ...fields("scheme", "hostname", "port", "statusCode"), path: pathModifier },
  urlRewrite: { hostname: leaf, path: pathModifier },
  requestMirror: { backendRef: backendObject, percent: leaf, fraction: fields("numerator", "denominator") },
  cors: fields("allowOrigins", "allowCredentials", "allowMethods", "allowHeaders", "exposeHeaders", "maxAge"),
  externalAuth: leaf,
  extensionRef: fields("group", "kind", "name"),
};
const backendRef: Shape = { ...backendObject, weight: leaf, filters: listOf(httpFilter) };
const valueMatch = fields("type", "name", "value");
const routeCommon: Readonly<Record<string, Shape>> = {
  parentRefs: listOf(parentReference),
  hostnames: leaf,
  useDefaultGateways: leaf,
};
const httpRule: Shape = {
  name: leaf,
  matches: listOf({
    path: fields("type", "value"),
    headers: listOf(valueMatch),
    queryParams: listOf(valueMatch),
    method: leaf,
  }),
  filters: listOf(httpFilter),
  backendRefs: listOf(backendRef),
  timeouts: fields("request", "backendRequest"),
  retry: fields("codes", "attempts", "backoff"),
  sessionPersistence: leaf,
};
const grpcRule: Shape = {
  name: leaf,
  matches: listOf({ method: fields("type", "service", "method"), headers: listOf(valueMatch) }),
  filters: listOf(httpFilter),
  backendRefs: listOf(backendRef),
  sessionPersistence: leaf,
};
const tcpRule: Shape = { name: leaf, backendRefs: listOf({ ...backendObject, weight: leaf }) };

const policySource = fields(
  "principals",
  "notPrincipals",
  "requestPrincipals",
  "notRequestPrincipals",
  "namespaces",
  "notNamespaces",
  "ipBlocks",
  "notIpBlocks",
  "remoteIpBlocks",
  "notRemoteIpBlocks",
  "serviceAccounts",
  "notServiceAccounts",
  "trustDomains",
  "notTrustDomains",
);
const policyOperation = fields("hosts", "notHosts", "ports", "notPorts", "methods", "notMethods", "paths", "notPaths");

const workloadEntry: Readonly<Record<string, Shape>> = {
  ...fields("address", "network", "locality", "weight", "serviceAccount"),
  ports: mapOf(leaf),
  labels: mapOf(leaf),
};

const coreV1 = ["v1"];
const gatewayV1 = ["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1beta1"];
const securityV1 = ["security.istio.io/v1", "security.istio.io/v1beta1"];
const networkingV1 = ["networking.istio.io/v1", "networking.istio.io/v1beta1", "networking.istio.io/v1alpha3"];

const definitions: readonly KindDefinition[] = [
  { kind: "Namespace", apiVersions: coreV1, namespaced: false, spec: { spec: fields("finalizers") } },
  { kind: "Node", apiVersions: coreV1, namespaced: false, spec: { spec: leaf } },
  {
    kind: "ServiceAccount",
    apiVersions: coreV1,
    namespaced: true,
    spec: fields("automountServiceAccountToken", "secrets", "imagePullSecrets"),
  },
  {
    kind: "ConfigMap",
    apiVersions: coreV1,
    namespaced: true,
    spec: { data: mapOf(leaf), binaryData: mapOf(leaf), immutable: leaf },
  },
  { kind: "Pod", apiVersions: coreV1, namespaced: true, spec: { spec: podSpec } },
  {
    kind: "Service",
    apiVersions: coreV1,
    namespaced: true,
    spec: {
      spec: {
        ...fields(
          "type",
          "clusterIP",
          "clusterIPs",
          "externalIPs",
          "externalName",
          "externalTrafficPolicy",
          "internalTrafficPolicy",
          "trafficDistribution",
          "ipFamilies",
          "ipFamilyPolicy",
          "loadBalancerIP",
          "loadBalancerClass",
          "loadBalancerSourceRanges",
          "allocateLoadBalancerNodePorts",
          "healthCheckNodePort",
          "publishNotReadyAddresses",
          "sessionAffinity",
          "sessionAffinityConfig",
        ),
        selector: mapOf(leaf),
        ports: listOf(fields("name", "port", "targetPort", "nodePort", "protocol", "appProtocol")),
      },
    },
  },
  {
    kind: "Deployment",
    apiVersions: ["apps/v1"],
    namespaced: true,
    spec: {
      spec: {
        ...fields(
          "replicas",
          "strategy",
          "minReadySeconds",
          "revisionHistoryLimit",
          "progressDeadlineSeconds",
          "paused",
        ),
        selector: labelSelector,
        template: { metadata, spec: podSpec },
      },
    },
  },
  {
    kind: "EndpointSlice",
    apiVersions: ["discovery.k8s.io/v1"],
    namespaced: true,
    spec: {
      addressType: leaf,
      endpoints: listOf({
        ...fields("addresses", "hostname", "nodeName", "zone", "hints", "deprecatedTopology"),
        conditions: fields("ready", "serving", "terminating"),
        targetRef: fields("apiVersion", "kind", "namespace", "name", "uid", "resourceVersion", "fieldPath"),
      }),
      ports: listOf(fields("name", "port", "protocol", "appProtocol")),
    },
  },
  {
    kind: "GatewayClass",
    apiVersions: gatewayV1,
    namespaced: false,
    spec: { spec: fields("controllerName", "description", "parametersRef") },
  },
  {
    kind: "Gateway",
    apiVersions: gatewayV1,
    namespaced: true,
    spec: {
      spec: {
        ...fields("gatewayClassName", "backendTLS", "tls", "allowedListeners", "defaultScope"),
        addresses: listOf(fields("type", "value")),
        infrastructure: {
          labels: mapOf(leaf),
          annotations: mapOf(leaf),
          parametersRef: fields("group", "kind", "name"),
        },
        listeners: listOf({
          ...fields("name", "hostname", "port", "protocol", "tls"),
          allowedRoutes: {
            kinds: listOf(fields("group", "kind")),
            namespaces: { from: leaf, selector: labelSelector },
          },
        }),
      },
    },
  },
  {
    kind: "HTTPRoute",
    apiVersions: gatewayV1,
    namespaced: true,
    spec: { spec: { ...routeCommon, rules: listOf(httpRule) } },
  },
  {
    kind: "GRPCRoute",
    apiVersions: ["gateway.networking.k8s.io/v1"],
    namespaced: true,
    spec: { spec: { ...routeCommon, rules: listOf(grpcRule) } },
  },
  {
    kind: "TCPRoute",
    apiVersions: ["gateway.networking.k8s.io/v1", "gateway.networking.k8s.io/v1alpha2"],
    namespaced: true,
    spec: { spec: { ...routeCommon, rules: listOf(tcpRule) } },
  },
  {
    kind: "ReferenceGrant",
    apiVersions: gatewayV1,
    namespaced: true,
    spec: { spec: { from: listOf(fields("group", "kind", "namespace")), to: listOf(fields("group", "kind", "name")) } },
  },
  {
    kind: "AuthorizationPolicy",
    apiVersions: securityV1,
    namespaced: true,
    spec: {
      spec: {
        action: leaf,
        provider: fields("name"),
        selector: workloadSelector,
        targetRef: policyTarget,
        targetRefs: listOf(policyTarget),
        rules: listOf({
          from: listOf({ source: policySource }),
          to: listOf({ operation: policyOperation }),
          when: listOf(fields("key", "values", "notValues")),
        }),
      },
    },
  },
  {
    kind: "PeerAuthentication",
    apiVersions: securityV1,
    namespaced: true,
    spec: { spec: { selector: workloadSelector, mtls: fields("mode"), portLevelMtls: mapOf(fields("mode")) } },
  },
  { kind: "WorkloadEntry", apiVersions: networkingV1, namespaced: true, spec: { spec: workloadEntry } },
  {
    kind: "ServiceEntry",
    apiVersions: networkingV1,
    namespaced: true,
    spec: {
      spec: {
        ...fields("hosts", "addresses", "location", "resolution", "exportTo", "subjectAltNames"),
        ports: listOf(fields("number", "protocol", "name", "targetPort")),
        endpoints: listOf(workloadEntry),
        workloadSelector: { labels: mapOf(leaf) },
      },
    },
  },
];

const byKind: ReadonlyMap<string, KindDefinition> = new Map(
  definitions.map((definition) => [definition.kind, definition]),
);

export function findKind(kind: string): KindDefinition | undefined {
  return byKind.get(kind);
}

/** Names of all kinds, for messages. */
export function knownKinds(): string[] {
  return [...byKind.keys()];
}
