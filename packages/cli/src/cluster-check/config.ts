import { type AgentConfig, readControlPlaneEndpoint, readNodeMetadata, readTokenSource } from "@hairpin/shared/agent";
import type { Identity } from "@hairpin/shared/model";
import { ConfigReader } from "@hairpin/shared/process";

/** What `helm test` gives its pod. */
export interface ClusterCheckConfig {
  readonly agent: AgentConfig;
  readonly identity: Identity;
  /** Whom every ztunnel must prove to be. */
  readonly ztunnel: Identity;
  readonly api: { readonly host: string; readonly port: number };
}

/** Throws `ConfigError` with every mistake; main exits 64 then. */
export function readConfig(environment: Readonly<Record<string, string | undefined>>): ClusterCheckConfig {
  const reader = new ConfigReader({ environment });
  const trustDomain = reader.string("TRUST_DOMAIN", "cluster.local");
  const namespace = reader.string("POD_NAMESPACE");
  const serviceAccount = reader.string("SERVICE_ACCOUNT");
  const config = {
    identity: { trustDomain, namespace, serviceAccount },
    ztunnel: { trustDomain, namespace, serviceAccount: "ztunnel" },
    api: {
      host: reader.string("KUBERNETES_SERVICE_HOST"),
      port: reader.port("KUBERNETES_SERVICE_PORT", 443),
    },
    agent: {
      pod: { name: reader.string("POD_NAME"), namespace, serviceAccount },
      instanceIp: reader.string("INSTANCE_IP", ""),
      nodeName: reader.string("NODE_NAME", ""),
      clusterId: reader.string("CLUSTER_ID", "Kubernetes"),
      clusterDomain: reader.string("CLUSTER_DOMAIN", "cluster.local"),
      metadata: readNodeMetadata(reader, environment),
      xds: readControlPlaneEndpoint(reader, environment, "XDS"),
      ca: readControlPlaneEndpoint(reader, environment, "CA"),
      token: readTokenSource(reader),
      secretTtlMs: reader.durationMs("SECRET_TTL", 3_600_000, { min: 1000 }),
    },
  };
  reader.finish();
  return config;
}
