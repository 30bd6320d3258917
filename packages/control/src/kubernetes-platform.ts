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
import { WebhookKeeper } from "./admission/webhook-keeper.ts";
import { createClusterRuntime } from "./deploy/cluster-runtime.ts";
import { RootConfigMaps } from "./deploy/root-config-maps.ts";
import {
  WaypointDeployer,
  type WaypointDeployerComponents,
  statusManager as deployerFieldManager,
} from "./deploy/waypoint-deployer.ts";
import { GatewayClassKeeper } from "./kubernetes/gateway-class.ts";
import { loadKubeconfig } from "./kubernetes/kubeconfig.ts";
import { KubernetesSource } from "./kubernetes/kubernetes-source.ts";
import { LeaseElection, leaseName } from "./kubernetes/lease-election.ts";
import type { Platform, PlatformComponents } from "./platform.ts";
import { createKubernetesStatusSink } from "./status/kubernetes-status-sink.ts";

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
      introductionMs: config.rootIntroductionMs,
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
    controllers: [
      new GatewayClassKeeper({ api, objects, leadership, clock, logger }),
      new RootConfigMaps({ ...watching, objects, authorities, leadership }),
      createDeployer(config, { ...watching, objects, leadership }),
      ...(config.ports.admission === undefined
        ? []
        : [new WebhookKeeper({ ...watching, authorities, leadership }, { rootNamespace })]),
    ],
  };
}

/** Its conditions on Gateways have an owner of their own: control's and the deployer's come at different times. */
function createDeployer(
  { mesh, waypoint, log }: ControlConfig,
  components: Omit<WaypointDeployerComponents, "statuses">,
): WaypointDeployer {
  const { rootNamespace, clusterId, clusterDomain, trustDomain, network } = mesh;
  if (waypoint === undefined) throw new Error("In a cluster control deploys waypoints");
  const proxy = {
    control: `istiod.${rootNamespace}.svc:15012`,
    clusterId,
    clusterDomain,
    trustDomain,
    network,
    log,
  };
  const statuses = createKubernetesStatusSink(components, { fieldManager: deployerFieldManager });
  const runtime = createClusterRuntime({ ...waypoint, proxy });
  return new WaypointDeployer({ ...components, statuses }, { runtime, rootNamespace, clusterDomain });
}

async function connect(server: ApiServerConfig, clock: Clock): Promise<ApiConnection> {
  return server.kind === "in-cluster"
    ? createInClusterConnection({ clock }, server)
    : await loadKubeconfig({ clock }, server.path);
}
