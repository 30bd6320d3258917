// What the pods of ztunnel and waypoints have in common, in a cluster and in the local mesh. Pure.

import type { EnvironmentVariable, VolumeMount } from "./applied-object.ts";

/** The ConfigMap with the root certificates; every namespace has one. Istio's name and key. */
export const rootCertConfigMap = "istio-ca-root-cert";
export const rootCertKey = "root-cert.pem";
/** The only audience that the CA accepts. */
const tokenAudience = "istio-ca";
const tokenFile = "istio-token";

/** Where the credentials of a proxy are mounted. */
export interface CredentialPaths {
  readonly tokenFolder: string;
  readonly rootFolder: string;
}

/** Istio's. */
export const clusterCredentialPaths: CredentialPaths = {
  tokenFolder: "/var/run/secrets/tokens",
  rootFolder: "/var/run/secrets/istio",
};

interface CredentialVolume {
  readonly name: string;
  readonly projected?: {
    readonly sources: readonly {
      readonly serviceAccountToken: {
        readonly path: string;
        readonly audience: string;
        readonly expirationSeconds: number;
      };
    }[];
  };
  readonly configMap?: { readonly name: string };
}

/** Volumes by which a proxy proves who it is and knows the root certificates. */
export function credentialVolumes(tokenLifetimeSeconds: number): readonly CredentialVolume[] {
  const serviceAccountToken = {
    path: tokenFile,
    audience: tokenAudience,
    expirationSeconds: tokenLifetimeSeconds,
  };
  return [
    { name: "istio-token", projected: { sources: [{ serviceAccountToken }] } },
    { name: "istiod-ca-cert", configMap: { name: rootCertConfigMap } },
  ];
}

export function credentialMounts({ tokenFolder, rootFolder }: CredentialPaths): readonly VolumeMount[] {
  return [
    { name: "istio-token", mountPath: tokenFolder },
    { name: "istiod-ca-cert", mountPath: rootFolder },
  ];
}

export interface ProxySettings {
  /** `host:port` of control. */
  readonly control: string;
  readonly paths: CredentialPaths;
  readonly clusterId: string;
  readonly clusterDomain: string;
  readonly trustDomain: string;
  readonly network: string;
  readonly ipv6: boolean;
  readonly log: { readonly level: string; readonly format: "plain" | "json" };
  /** What a proxy may use between SIGTERM and its end. */
  readonly graceSeconds: number;
}

/** The environment that ztunnel and waypoints share (Istio's names). */
export function proxyEnvironment(settings: ProxySettings): readonly EnvironmentVariable[] {
  const { control, paths, log } = settings;
  const root = `${paths.rootFolder}/${rootCertKey}`;
  return [
    { name: "XDS_ADDRESS", value: `https://${control}` },
    { name: "CA_ADDRESS", value: `https://${control}` },
    { name: "XDS_ROOT_CA", value: root },
    { name: "CA_ROOT_CA", value: root },
    { name: "AUTH_TOKEN", value: `${paths.tokenFolder}/${tokenFile}` },
    { name: "CLUSTER_ID", value: settings.clusterId },
    { name: "CLUSTER_DOMAIN", value: settings.clusterDomain },
    { name: "TRUST_DOMAIN", value: settings.trustDomain },
    { name: "NETWORK", value: settings.network },
    { name: "IPV6_ENABLED", value: String(settings.ipv6) },
    { name: "LOG_FORMAT", value: log.format },
    { name: "LOG_LEVEL", value: log.level },
    { name: "TERMINATION_GRACE_PERIOD_SECONDS", value: String(settings.graceSeconds) },
    fromField("NODE_NAME", "spec.nodeName"),
    fromField("POD_NAME", "metadata.name"),
    fromField("POD_NAMESPACE", "metadata.namespace"),
    fromField("SERVICE_ACCOUNT", "spec.serviceAccountName"),
    fromField("INSTANCE_IP", "status.podIP"),
  ];
}

function fromField(name: string, fieldPath: string): EnvironmentVariable {
  return { name, valueFrom: { fieldRef: { fieldPath } } };
}
