import { type CaClient, createCaClient } from "../identity/index.ts";
import type { Clock } from "../process/index.ts";
import type { Logger, MetricRegistry } from "../telemetry/index.ts";
import {
  createDeltaXdsClient,
  createXdsClientMetrics,
  type DeltaXdsClient,
  formatNodeId,
  type Subscription,
} from "../xds/index.ts";
import { type ControlPlaneEndpoint, loadRoot, loadToken, type TokenSource } from "./control-plane-config.ts";

/** Who a proxy is and how it reaches the control plane. */
export interface AgentConfig {
  readonly pod: { readonly name: string; readonly namespace: string; readonly serviceAccount: string };
  readonly instanceIp: string;
  readonly nodeName: string;
  readonly clusterId: string;
  readonly clusterDomain: string;
  /** Node metadata besides the standard fields. */
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly xds: ControlPlaneEndpoint;
  readonly ca: ControlPlaneEndpoint;
  readonly token: TokenSource;
  readonly secretTtlMs: number;
}

export interface AgentComponents {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricRegistry;
  /** See `DeltaXdsClientComponents`. */
  readonly whenFollowed?: (() => Promise<void>) | undefined;
}

/** The client that keeps subscribed resources in step with the control plane. */
export function createAgentXdsClient(
  kind: "ztunnel" | "waypoint",
  config: AgentConfig,
  components: AgentComponents,
  subscriptions: readonly Subscription[],
): DeltaXdsClient {
  const { clock, logger, metrics, whenFollowed } = components;
  const { pod, instanceIp, nodeName, clusterId, clusterDomain, xds } = config;
  return createDeltaXdsClient(
    {
      clock,
      logger: logger.child("xds"),
      metrics: createXdsClientMetrics(metrics),
      ...(whenFollowed && { whenFollowed }),
    },
    {
      address: xds.address,
      rootPem: () => loadRoot(xds.root),
      alternativeHostname: xds.alternativeHostname,
      token: () => loadToken(config.token),
      clusterId,
      headers: xds.headers,
      node: {
        id: formatNodeId({ kind, ip: instanceIp, name: pod.name, namespace: pod.namespace, clusterDomain }),
        metadata: {
          CLUSTER_ID: clusterId,
          ...config.metadata,
          NAME: pod.name,
          NAMESPACE: pod.namespace,
          INSTANCE_IPS: instanceIp,
          NODE_NAME: nodeName,
        },
      },
      subscriptions,
    },
  );
}

/** The client of the certificate authority. `impersonate`: ask in the name of the node's workloads. */
export function createAgentCaClient(config: AgentConfig, clock: Clock, impersonate: boolean): CaClient {
  const { ca } = config;
  return createCaClient(
    {
      address: ca.address,
      rootPem: () => loadRoot(ca.root),
      alternativeHostname: ca.alternativeHostname,
      token: () => loadToken(config.token),
      clusterId: config.clusterId,
      headers: ca.headers,
      impersonate,
      ttlMs: config.secretTtlMs,
    },
    { clock },
  );
}
