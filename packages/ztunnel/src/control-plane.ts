import { readFile } from "node:fs/promises";
import type { MeshState } from "@hairpin/shared/discovery";
import { type CaClient, createCaClient } from "@hairpin/shared/identity";
import type { Clock } from "@hairpin/shared/process";
import type { Logger, MetricRegistry } from "@hairpin/shared/telemetry";
import { createDeltaXdsClient, createXdsClientMetrics, type DeltaXdsClient, formatNodeId } from "@hairpin/shared/xds";
import type { RootSource, TokenSource, ZtunnelConfig } from "./config.ts";

export interface ControlPlaneComponents {
  readonly mesh: MeshState;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricRegistry;
}

/** The client that keeps the mesh model in step with the control plane: WADS before WDS, all resources. */
export function createMeshClient(config: ZtunnelConfig, components: ControlPlaneComponents): DeltaXdsClient {
  const { mesh, clock, logger, metrics } = components;
  const { pod, instanceIp, nodeName, clusterId } = config;
  return createDeltaXdsClient(
    { clock, logger: logger.child("xds"), metrics: createXdsClientMetrics(metrics) },
    {
      address: config.xds.address,
      rootPem: () => readRoot(config.xds.root),
      alternativeHostname: config.xds.alternativeHostname,
      token: () => readToken(config.token),
      clusterId,
      headers: config.xds.headers,
      node: {
        id: formatNodeId({ kind: "ztunnel", ip: instanceIp, name: pod.name, namespace: pod.namespace }),
        metadata: {
          CLUSTER_ID: clusterId,
          ...config.metadata,
          NAME: pod.name,
          NAMESPACE: pod.namespace,
          INSTANCE_IPS: instanceIp,
          NODE_NAME: nodeName,
        },
      },
      subscriptions: mesh.subscriptions(),
    },
  );
}

/** The client of the certificate authority; it asks on behalf of this node's workloads. */
export function createNodeCaClient(config: ZtunnelConfig, clock: Clock): CaClient {
  return createCaClient(
    {
      address: config.ca.address,
      rootPem: () => readRoot(config.ca.root),
      alternativeHostname: config.ca.alternativeHostname,
      token: () => readToken(config.token),
      clusterId: config.clusterId,
      headers: config.ca.headers,
      impersonate: true,
      ttlMs: config.secretTtlMs,
    },
    { clock },
  );
}

async function readRoot(source: RootSource): Promise<string | undefined> {
  if (source.kind === "system") return undefined;
  return source.kind === "inline" ? source.pem : await readFile(source.path, "utf8");
}

/** Read anew per call: tokens live an hour at most and are replaced on disk. */
async function readToken(source: TokenSource): Promise<string | undefined> {
  return source.kind === "literal" ? source.token : (await readFile(source.path, "utf8")).trim();
}
