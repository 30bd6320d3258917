// The mesh of the bench as Kubernetes objects, for control's manifest folder. Pure.
import type { Host } from "./network.ts";

/** A pod of the bench's mesh. */
export interface MeshPod {
  readonly namespace: string;
  readonly name: string;
  readonly serviceAccount: string;
  readonly uid: string;
  readonly node: string;
  readonly host: Host;
  readonly captured: boolean;
  readonly labels: Readonly<Record<string, string>>;
}

type KubernetesObject = Readonly<Record<string, unknown>>;

export const rootNamespace = "istio-system";
export const ztunnelAccount = "ztunnel";

export function meshPod(
  fields: Pick<MeshPod, "namespace" | "name" | "serviceAccount" | "node" | "host"> &
    Partial<Pick<MeshPod, "captured" | "labels">>,
): MeshPod {
  return { uid: `uid-${fields.namespace}-${fields.name}`, captured: false, labels: {}, ...fields };
}

export function podObject(pod: MeshPod): KubernetesObject {
  const { namespace, name, uid, labels, node, serviceAccount, captured, host } = pod;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      namespace,
      uid,
      labels: { app: name, ...labels },
      annotations: captured ? { "ambient.istio.io/redirection": "enabled" } : {},
    },
    spec: {
      nodeName: node,
      serviceAccountName: serviceAccount,
      containers: [{ name: "main", image: "none", command: ["none"] }],
    },
    status: {
      phase: "Running",
      podIP: host.ip,
      podIPs: [{ ip: host.ip }],
      conditions: [{ type: "Ready", status: "True" }],
    },
  };
}

/** A namespace in the mesh whose pod `server` takes calls of the account `client` alone, and only with an identity. */
export function meshNamespace(name: string): readonly KubernetesObject[] {
  return [
    { apiVersion: "v1", kind: "Namespace", metadata: { name, labels: { "istio.io/dataplane-mode": "ambient" } } },
    {
      apiVersion: "security.istio.io/v1",
      kind: "PeerAuthentication",
      metadata: { name: "strict", namespace: name },
      spec: { mtls: { mode: "STRICT" } },
    },
  ];
}

/** L4 policy: only this account may call the pods of an app. */
export function allowAccount(namespace: string, app: string, account: string): KubernetesObject {
  return {
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { name: `${app}-callers`, namespace },
    spec: {
      selector: { matchLabels: { app } },
      action: "ALLOW",
      rules: [{ from: [{ source: { principals: [`cluster.local/ns/${namespace}/sa/${account}`] } }] }],
    },
  };
}

export interface WaypointMesh {
  readonly namespace: string;
  /** Virtual addresses of the Services `server` and `waypoint`. */
  readonly serverIp: string;
  readonly waypointIp: string;
  readonly ports: readonly number[];
}

/** A namespace with a waypoint, an L7 policy and a route before its Service `server`. */
export function waypointObjects({ namespace, serverIp, waypointIp, ports }: WaypointMesh): readonly KubernetesObject[] {
  const waypointHost = `waypoint.${namespace}.svc.cluster.local`;
  const server = { group: "", kind: "Service", name: "server" };
  return [
    {
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "Gateway",
      metadata: { name: "waypoint", namespace, uid: `uid-gateway-${namespace}` },
      spec: {
        gatewayClassName: "istio-waypoint",
        listeners: [{ name: "mesh", port: 15_008, protocol: "HBONE" }],
      },
      status: {
        addresses: [
          { type: "IPAddress", value: waypointIp },
          { type: "Hostname", value: waypointHost },
        ],
        conditions: [{ type: "Programmed", status: "True", reason: "Programmed", message: "" }],
      },
    },
    service(namespace, "waypoint", waypointIp, { "gateway.networking.k8s.io/gateway-name": "waypoint" }, [
      { name: "mesh", port: 15_008 },
    ]),
    service(
      namespace,
      "server",
      serverIp,
      { app: "server" },
      ports.map((port) => ({ name: `http-${port}`, port })),
    ),
    {
      apiVersion: "gateway.networking.k8s.io/v1",
      kind: "HTTPRoute",
      metadata: { name: "server", namespace },
      spec: {
        parentRefs: [server],
        rules: ports.map((port) => ({
          matches: [{ path: { type: "PathPrefix", value: "/" } }],
          backendRefs: [{ name: "server", port }],
        })),
      },
    },
    {
      apiVersion: "security.istio.io/v1",
      kind: "AuthorizationPolicy",
      metadata: { name: "server-callers", namespace },
      spec: {
        targetRefs: [server],
        action: "ALLOW",
        rules: [
          {
            from: [{ source: { principals: [`cluster.local/ns/${namespace}/sa/client`] } }],
            to: [{ operation: { methods: ["GET", "PUT"] } }],
          },
        ],
      },
    },
  ];
}

function service(
  namespace: string,
  name: string,
  clusterIP: string,
  selector: Readonly<Record<string, string>>,
  ports: readonly { readonly name: string; readonly port: number }[],
): KubernetesObject {
  return {
    apiVersion: "v1",
    kind: "Service",
    metadata: { name, namespace },
    spec: { clusterIP, clusterIPs: [clusterIP], selector, ports },
  };
}
