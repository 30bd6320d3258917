import { randomUUID } from "node:crypto";
import {
  type ApiConnection,
  createInClusterConnection,
  createKubernetesApi,
  registerWatchMetrics,
} from "@hairpin/shared/kubernetes";
import type { Clock } from "@hairpin/shared/process";
import { SecretAuthority } from "./authority/secret-authority.ts";
import { createTokenReviewVerifier } from "./authority/token-review-verifier.ts";
import type { ApiServerConfig, ControlConfig } from "./config.ts";
import { GatewayClassKeeper } from "./kubernetes/gateway-class.ts";
import { loadKubeconfig } from "./kubernetes/kubeconfig.ts";
import { KubernetesSource } from "./kubernetes/kubernetes-source.ts";
import { LeaseElection } from "./kubernetes/lease-election.ts";
import type { Platform, PlatformComponents } from "./platform.ts";
import { createKubernetesStatusSink } from "./status/kubernetes-status-sink.ts";

const leaseName = "hairpin-control-leader";
/** Peers keep clocks this far apart. */
const clockSlackMs = 10 * 60_000;

/** Control in a cluster: objects, CA and tokens from the API server, one of several replicas writes. */
export async function createKubernetesPlatform(
  config: ControlConfig,
  server: ApiServerConfig,
  components: PlatformComponents,
): Promise<Platform> {
  const { clock, logger, metrics, objects } = components;
  const api = createKubernetesApi({ connection: await connect(server, clock), clock });
  const { rootNamespace } = config.mesh;
  const authorities = new SecretAuthority(
    { api, clock, logger: logger.child("ca") },
    {
      namespace: rootNamespace,
      // Whoever holds a certificate learns the roots when it renews it.
      introductionMs: config.maxCertificateTtlMs,
      retirementMs: config.maxCertificateTtlMs + clockSlackMs,
    },
  );
  await authorities.open();
  const leadership = new LeaseElection(
    { api, clock, logger: logger.child("leader") },
    { namespace: rootNamespace, name: leaseName, identity: `${config.replicaName}_${randomUUID()}` },
  );
  const watching = { api, clock, logger: logger.child("kubernetes"), metrics: registerWatchMetrics(metrics) };
  return {
    authorities,
    rootPath: undefined,
    tokens: createTokenReviewVerifier({ api, clock }),
    source: new KubernetesSource({ ...watching, objects }, { name: `kubernetes:${server.kind}` }),
    statusSink: createKubernetesStatusSink({ api, clock }),
    leadership,
    foundation: [authorities, leadership],
    controllers: [new GatewayClassKeeper({ api, objects, leadership, clock, logger })],
  };
}

async function connect(server: ApiServerConfig, clock: Clock): Promise<ApiConnection> {
  return server.kind === "in-cluster"
    ? createInClusterConnection({ clock }, server)
    : await loadKubeconfig({ clock }, server.path);
}
