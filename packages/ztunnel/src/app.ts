import {
  createAgentCaClient,
  createAgentXdsClient,
  createServerComponent,
  RootWatcher,
  startTlsEngine,
} from "@hairpin/shared/agent";
import { raiseFileLimit } from "@hairpin/native";
import { MeshState } from "@hairpin/shared/discovery";
import { CertificateStore } from "@hairpin/shared/identity";
import {
  type Clock,
  type Component,
  errorMessage,
  Readiness,
  type RunningComponents,
  runComponents,
  systemClock,
} from "@hairpin/shared/process";
import {
  createLogger,
  metricsRoutes,
  MetricRegistry,
  readinessRoutes,
  registerBuild,
  registerProcessMetrics,
  type RootLogger,
  version,
} from "@hairpin/shared/telemetry";
import { configDump } from "./admin/config-dump.ts";
import { adminRoutes } from "./admin/routes.ts";
import type { ZtunnelConfig } from "./config.ts";
import type { DataPlane } from "./data-plane.ts";
import { registerPodMetrics } from "./pod-metrics.ts";
import { PodRetry } from "./redirection/pod-retry.ts";
import { ZdsClient } from "./redirection/zds-client.ts";
import { ThreadDataPlane } from "./thread-data-plane.ts";
import { WorkerDataPlane, type WorkerDataPlaneComponents } from "./worker/worker-data-plane.ts";

export interface ZtunnelComponents {
  readonly logger: RootLogger;
  readonly clock?: Clock;
  /** Called by POST /quitquitquit. */
  readonly quit: () => void;
}

/** A ztunnel put together and not started. */
export interface Ztunnel {
  /** In the order in which they start. */
  readonly components: readonly Component[];
  readonly readiness: Readiness;
  readonly mesh: MeshState;
  readonly dataPlane: DataPlane;
  /** No new connections; resolves when the open ones ended, or at the deadline. Stop the components then. */
  drain(): Promise<void>;
}

/** Puts a ztunnel together. */
export function createZtunnel(config: ZtunnelConfig, given: ZtunnelComponents): Ztunnel {
  const { logger, clock = systemClock } = given;
  const readiness = new Readiness();
  const tasks = {
    state: readiness.task("state manager"),
    proxy: readiness.task("proxy"),
    pods: readiness.task("workload proxy manager"),
  };
  const metrics = new MetricRegistry();
  registerProcessMetrics(metrics);
  registerBuild(metrics, "ztunnel", config.istioVersion === "unknown" ? version : config.istioVersion);
  // Main does no TLS of the data path: it tells what its threads will choose, and ends here if they could not.
  const { report: tlsEngine } = startTlsEngine(config.tlsEngine, { logger, metrics });
  const mesh = new MeshState({ clock }, { clusterId: config.clusterId });
  const caClient = createAgentCaClient(config, clock, true);
  const store = new CertificateStore({ source: caClient, clock, logger: logger.child("identity") });
  const whenFollowed = (): Promise<void> => dataPlane.whenFollowed();
  const xds = createAgentXdsClient("ztunnel", config, { clock, logger, metrics, whenFollowed }, mesh.subscriptions());
  const podMetrics = registerPodMetrics(metrics, () => dataPlane.pods.states());
  const onPodsChange = (): void => reportPods();
  const dataPlane = createDataPlane(config, { mesh, store, clock, logger, metrics, podMetrics, onPodsChange });
  let snapshotReceived = false;
  const reportPods = (): void => {
    if (snapshotReceived && dataPlane.pods.allUp) tasks.pods.done();
    else tasks.pods.pending();
  };
  const zdsLogger = logger.child("zds");
  const pods = new PodRetry({ pods: dataPlane.pods, clock, logger: zdsLogger, onChange: reportPods });
  const onSnapshot = (): void => {
    snapshotReceived = true;
    reportPods();
  };
  const zds = new ZdsClient(config.inpodUds, { pods, clock, logger: zdsLogger, onSnapshot });
  const dump = async (): Promise<unknown> =>
    configDump({
      mesh,
      certificates: store.list(),
      config,
      pods: dataPlane.pods.states(),
      connections: await dataPlane.connections(),
      version,
      tlsEngine,
    });
  const admin = adminRoutes({ configDump: dump, levels: logger.levels, quit: given.quit });
  return {
    components: [
      createServerComponent("readiness server", config.readiness, readinessRoutes(readiness), logger, true),
      createServerComponent("metrics server", config.metrics, metricsRoutes(metrics), logger, true),
      createServerComponent("admin server", config.admin, admin, logger),
      store,
      caComponent(caClient),
      new RootWatcher({ certificates: store, clock, logger }, config.ca.root),
      xds,
      dataPlaneComponent({ dataPlane, zds, pods }, { whenKnown: xds.whenSynced(), tasks, logger }),
    ],
    readiness,
    mesh,
    dataPlane,
    async drain() {
      zds.stop();
      const { outcome, connections } = await dataPlane.drain(config.drainDeadlineMs);
      logger.info("drained", { outcome, connections });
    },
  };
}

/** Runs a ztunnel until SIGTERM, SIGINT or /quitquitquit. */
export async function runZtunnel(config: ZtunnelConfig): Promise<RunningComponents> {
  const logger = createLogger({ level: config.log.level, format: config.log.format });
  const { soft } = raiseFileLimit();
  logger.info("starting", { version, node: config.nodeName, file_limit: soft });
  const quit = (): void => void running.then((components) => components.stop("SIGTERM (quitquitquit)"));
  const ztunnel = createZtunnel(config, { logger, quit });
  const running = runComponents(ztunnel.components, { logger, onShutdown: () => ztunnel.drain() });
  const components = await running;
  void components.stopped.then(() => logger.flush());
  return components;
}

interface DataPlaneGate {
  /** Settles once the mesh is known: nothing is served before (fail closed). */
  readonly whenKnown: Promise<void>;
  readonly tasks: Readonly<Record<"state" | "proxy", { done(): void }>>;
  readonly logger: RootLogger;
}

interface DataPlaneParts {
  readonly dataPlane: DataPlane;
  readonly zds: ZdsClient;
  readonly pods: PodRetry;
}

/**
 * Starts the data plane, and then asks the CNI agent for pods, once the mesh is known. Starting does not wait for it: the
 * process can be stopped meanwhile.
 */
function dataPlaneComponent(
  { dataPlane, zds, pods }: DataPlaneParts,
  { whenKnown, tasks, logger }: DataPlaneGate,
): Component {
  let stopped = false;
  // Rejects when the client is stopped before it was in sync.
  whenKnown.catch(() => {});
  const begin = async (): Promise<void> => {
    await dataPlane.start();
    await whenKnown;
    if (stopped) return;
    tasks.state.done();
    await dataPlane.serve();
    tasks.proxy.done();
    zds.start();
    logger.info("data plane started");
  };
  return {
    name: "data plane",
    async start() {
      begin().catch((error: unknown) => {
        if (!stopped) logger.error("data plane did not start", { error: errorMessage(error) });
      });
    },
    async stop() {
      stopped = true;
      zds.stop();
      pods.stop();
      await dataPlane.stop();
    },
  };
}

function createDataPlane(config: ZtunnelConfig, components: WorkerDataPlaneComponents): DataPlane {
  if (config.workerThreads > 0) return new WorkerDataPlane(config, components);
  return new ThreadDataPlane(config, components);
}

function caComponent(client: { close(): void }): Component {
  return { name: "ca client", start: async () => {}, stop: async () => client.close() };
}
