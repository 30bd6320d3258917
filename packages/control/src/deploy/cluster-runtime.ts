import type { ProxySettings } from "./proxy-pod.ts";
import { clusterCredentialPaths, credentialMounts, credentialVolumes, proxyEnvironment } from "./proxy-pod.ts";
import type { WaypointRuntime } from "./waypoint-objects.ts";

/** Istio's user of proxies. */
const proxyUser = 1337;
/** 12 hours, as Istio: the kubelet replaces it long before. */
const tokenLifetimeSeconds = 43_200;
/**
 * Between a pod's deletion and its drain: as long as clients may still hold it for an endpoint. The push takes 0.2 s, a
 * watch of the API server that lags takes the rest.
 */
const leaveSeconds = 5;
const drainSeconds = 30;

export interface ClusterRuntimeOptions {
  readonly image: string;
  /** "": the API server's default. */
  readonly imagePullPolicy: string;
  readonly imagePullSecrets: readonly string[];
  readonly proxy: Omit<ProxySettings, "paths" | "ipv6" | "graceSeconds">;
}

/** How a waypoint runs in a cluster. A new replica is ready before an old one goes, and an old one drains. */
export function createClusterRuntime(options: ClusterRuntimeOptions): WaypointRuntime {
  const { image, imagePullPolicy, imagePullSecrets, proxy } = options;
  return {
    container: {
      image,
      ...(imagePullPolicy === "" ? {} : { imagePullPolicy }),
      args: ["waypoint"],
      startupProbe: { httpGet: { path: "/healthz/ready", port: 15_021 }, periodSeconds: 1, failureThreshold: 60 },
      lifecycle: { preStop: { sleep: { seconds: leaveSeconds } } },
      resources: { requests: { cpu: "100m", memory: "128Mi" }, limits: { cpu: "2", memory: "1Gi" } },
      securityContext: {
        allowPrivilegeEscalation: false,
        capabilities: { drop: ["ALL"] },
        privileged: false,
        readOnlyRootFilesystem: true,
        runAsNonRoot: true,
        runAsUser: proxyUser,
        runAsGroup: proxyUser,
      },
    },
    // ipv6: a socket for both families also serves a machine without IPv6 addresses.
    environment: proxyEnvironment({
      ...proxy,
      paths: clusterCredentialPaths,
      ipv6: true,
      graceSeconds: drainSeconds,
    }),
    mounts: credentialMounts(clusterCredentialPaths),
    readiness: { periodSeconds: 3, failureThreshold: 4 },
    pod: {
      ...(imagePullSecrets.length === 0 ? {} : { imagePullSecrets: imagePullSecrets.map((name) => ({ name })) }),
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: leaveSeconds + drainSeconds,
      securityContext: { seccompProfile: { type: "RuntimeDefault" } },
      volumes: credentialVolumes(tokenLifetimeSeconds),
    },
    deployment: { strategy: { type: "RollingUpdate", rollingUpdate: { maxSurge: 1, maxUnavailable: 0 } } },
    network: proxy.network,
  };
}
