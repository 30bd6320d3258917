// Kubernetes objects for tests: complete enough, with the fields that matter given by the caller.

import type {
  AuthorizationPolicyObject,
  Gateway,
  KubernetesObject,
  KubernetesService,
  Pod,
} from "../collection/kubernetes-object.ts";

interface PodFields {
  readonly namespace?: string;
  readonly serviceAccount?: string;
  readonly node?: string;
  readonly ip?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly captured?: boolean;
  readonly ready?: boolean;
  readonly phase?: string;
}

/** A ready captured pod of namespace `shop` on `node-a`, with uid `uid-<name>`. */
export function aPod(name: string, fields: PodFields = {}): Pod {
  const { namespace = "shop", serviceAccount = "default", node = "node-a", captured = true, ready = true } = fields;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      namespace,
      uid: `uid-${name}`,
      labels: { app: name, ...fields.labels },
      annotations: captured ? { "ambient.istio.io/redirection": "enabled" } : {},
    },
    spec: { nodeName: node, serviceAccountName: serviceAccount, containers: [] },
    status: {
      phase: fields.phase ?? "Running",
      podIP: fields.ip ?? "10.0.0.1",
      conditions: [{ type: "Ready", status: ready ? "True" : "False" }],
    },
  };
}

export function aNamespace(name: string, labels: Readonly<Record<string, string>> = {}): KubernetesObject {
  return { apiVersion: "v1", kind: "Namespace", metadata: { name, uid: `uid-${name}`, labels } };
}

/** Selects pods with label `app: <name>`; port 80, HTTP, to 8080. */
export function aServiceObject(name: string, clusterIP: string): KubernetesService {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace: "shop", uid: `uid-svc-${name}`, generation: 1 },
    spec: { clusterIP, selector: { app: name }, ports: [{ name: "http", port: 80, targetPort: 8080 }] },
  };
}

/** A waypoint of namespace `shop`; ready when it has an address. */
export function aGateway(name: string, ready: boolean): Gateway {
  const programmed = { type: "Programmed", status: "True" as const, reason: "Programmed", message: "" };
  const hostname = `${name}.shop.svc.cluster.local`;
  return {
    apiVersion: "gateway.networking.k8s.io/v1",
    kind: "Gateway",
    metadata: { name, namespace: "shop", uid: `uid-gw-${name}`, generation: 1 },
    spec: {
      gatewayClassName: "istio-waypoint",
      listeners: [{ name: "mesh", port: 15008, protocol: "HBONE" }],
    },
    ...(ready ? { status: { addresses: [{ type: "Hostname", value: hostname }], conditions: [programmed] } } : {}),
  };
}

/** A DENY policy of namespace `shop` for pods with label `app: <app>`. */
export function aDenyPolicy(name: string, app: string): AuthorizationPolicyObject {
  return {
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { name, namespace: "shop", uid: `uid-${name}`, generation: 1 },
    spec: { selector: { matchLabels: { app } }, action: "DENY", rules: [{}] },
  };
}
