import {
  createTunnelResetBudgets,
  defaultTunnelDialerOptions,
  formatBaggage,
  ResetBudgets,
  SessionMetrics,
  TunnelDialer,
} from "@hairpin/hbone";
import { raiseFileLimit } from "@hairpin/native";
import {
  createAgentCaClient,
  createAgentXdsClient,
  createServerComponent,
  RootWatcher,
  startTlsEngine,
  TlsContexts,
} from "@hairpin/shared/agent";
import { MeshState } from "@hairpin/shared/discovery";
import { CertificateStore } from "@hairpin/shared/identity";
import {
  type Clock,
  type Component,
  delay,
  Drain,
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
  type AdminRoutes,
  type RootLogger,
  version,
} from "@hairpin/shared/telemetry";
import type { TlsContext } from "@hairpin/wire";
import { configDump } from "./config-dump.ts";
import type { WaypointSettings } from "./config.ts";
import { connectEndpoint, type Endpoint } from "./forward/connect-endpoint.ts";
import { HttpUpstreams } from "./forward/http-upstreams.ts";
import { HboneListener } from "./hbone-listener.ts";
import type { PlanInput } from "./phases.ts";
import { EndpointDenies } from "./policy/endpoint-denies.ts";
import { selfWorkload } from "./self-workload.ts";
import { ByteConnections } from "./byte-connections.ts";
import { RequestReporter } from "./telemetry/request-reporter.ts";
import { TargetCache } from "./terminate/target-cache.ts";
import { TrafficMetrics } from "./telemetry/traffic-metrics.ts";
import { TunnelServer } from "./terminate/serve-tunnel.ts";
import { WaypointConfig } from "./waypoint-config.ts";

export interface WaypointComponents {
  readonly logger: RootLogger;
  readonly clock?: Clock;
  readonly random?: () => number;
}

/** A waypoint put together and not started. */
export interface Waypoint {
  /** In the order in which they start. */
  readonly components: readonly Component[];
  readonly readiness: Readiness;
  readonly listener: HboneListener;
  /** No new connections; resolves when the open tunnels ended, or at the deadline. Stop the components then. */
  drain(): Promise<void>;
}

/** Requests that one client may open and reset, over all its connections. */
const requestResets = { burst: 200, perSecond: 100 };

/** Puts a waypoint together. */
export function createWaypoint(settings: WaypointSettings, given: WaypointComponents): Waypoint {
  const { logger, clock = systemClock, random = Math.random } = given;
  const { identity, network, clusterId, pod } = settings;
  const readiness = new Readiness();
  const registry = new MetricRegistry();
  registerProcessMetrics(registry);
  registerBuild(registry, "proxy", version);
  const { engine: tls, report: tlsEngine } = startTlsEngine(settings.tlsEngine, { logger, metrics: registry });
  const metrics = new TrafficMetrics(registry);
  const sessionMetrics = new SessionMetrics(registry);
  const drain = new Drain(clock);

  const mesh = new MeshState({ clock }, { clusterId });
  const config = new WaypointConfig();
  const caClient = createAgentCaClient(settings, clock, false);
  const store = new CertificateStore({ source: caClient, clock, logger: logger.child("identity") });
  const contexts = new TlsContexts(tls, clock);
  const tlsContext = async (): Promise<TlsContext> => contexts.contextFor(await store.fetch(identity));
  const xds = createAgentXdsClient("waypoint", settings, { clock, logger, metrics: registry }, [
    ...config.subscriptions(),
    ...mesh.subscriptions(),
  ]);

  const dialer = new TunnelDialer(
    { tls, clock, contextFor: tlsContext, metrics: sessionMetrics },
    defaultTunnelDialerOptions,
  );
  const self = { dialer, identity, ip: settings.instanceIp, baggage: describeSelf(settings) };
  const connect = (endpoint: Endpoint) => connectEndpoint(self, endpoint);
  const upstreams = new HttpUpstreams({ clock, connect, metrics: sessionMetrics });
  const resolver = { mesh, config, network, namespace: pod.namespace };
  const input: PlanInput = {
    mesh,
    config,
    denies: new EndpointDenies(mesh),
    get self() {
      return selfWorkload(settings, mesh);
    },
    random,
  };
  const describe = { mesh, network, namespace: pod.namespace, clusterId };
  const accessLog = logger.child("access");
  const reporter = new RequestReporter({ metrics, describe, accessLog });
  const byteConnections = new ByteConnections({ input, resolver, clock, metrics, describe, accessLog, connect });
  const tunnels = new TunnelServer({
    input,
    resolver,
    targets: new TargetCache(resolver),
    config,
    upstreams,
    byteConnections,
    reporter,
    resetBudgets: new ResetBudgets(requestResets),
    sessionMetrics,
    metrics,
    clock,
    drain,
    logger,
  });
  const listener = new HboneListener(
    {
      tls,
      clock,
      logger: logger.child("hbone"),
      metrics,
      sessionMetrics,
      resetBudgets: createTunnelResetBudgets(),
      tunnels,
      tlsContext,
    },
    { ...settings.hbone, trustDomain: settings.trustDomain },
  );
  const dump = (): unknown =>
    configDump({ mesh, config, certificates: store, settings, upstreams, listener, version, tlsEngine });

  return {
    components: [
      createServerComponent("readiness server", settings.readiness, readinessRoutes(readiness), logger, true),
      createServerComponent("metrics server", settings.metrics, metricsRoutes(registry), logger, true),
      createServerComponent("admin server", settings.admin, adminRoutes(dump), logger),
      store,
      component("ca client", { stop: async () => caClient.close() }),
      new RootWatcher({ certificates: store, clock, logger }, settings.ca.root),
      xds,
      component("upstream connections", {
        stop: async () => {
          upstreams.destroy();
          dialer.destroy(new Error("The waypoint is stopping"));
        },
      }),
      listenerComponent(listener, { synced: xds.whenSynced(), tlsContext, readiness, clock, logger }),
    ],
    readiness,
    listener,
    async drain() {
      drain.begin(settings.drainDeadlineMs);
      await listener.drain();
      const outcome = await drain.whenEmpty();
      logger.info("drained", { outcome, tunnels: drain.tracked });
    },
  };
}

/** Runs a waypoint until SIGTERM or SIGINT. */
export async function runWaypoint(settings: WaypointSettings): Promise<RunningComponents> {
  const logger = createLogger({ level: settings.log.level, format: settings.log.format });
  const { soft } = raiseFileLimit();
  logger.info("starting", { version, gateway: `${settings.pod.namespace}/${settings.gatewayName}`, file_limit: soft });
  const waypoint = createWaypoint(settings, { logger });
  const components = await runComponents(waypoint.components, { logger, onShutdown: () => waypoint.drain() });
  void components.stopped.then(() => logger.flush());
  return components;
}

function describeSelf({ clusterId, pod, gatewayName }: WaypointSettings): string {
  return formatBaggage({
    clusterName: clusterId,
    namespace: pod.namespace,
    workloadName: gatewayName,
    workloadType: "deployment",
    serviceName: gatewayName,
    serviceVersion: "latest",
  });
}

/** How long after a failed request for our first certificate the next one follows. */
const certificateRetryMs = 1000;

interface ListenerGate {
  readonly synced: Promise<void>;
  readonly tlsContext: () => Promise<TlsContext>;
  readonly readiness: Readiness;
  readonly clock: Clock;
  readonly logger: RootLogger;
}

/**
 * Listens once the whole configuration was received and there is a certificate: a policy that is not known yet must not be
 * missing from a decision. Starting does not wait for that, so that the process can be stopped meanwhile.
 */
function listenerComponent(listener: HboneListener, gate: ListenerGate): Component {
  const { synced, readiness, clock, logger } = gate;
  const tasks = { state: readiness.task("state manager"), certificate: readiness.task("certificate") };
  const stopping = new AbortController();
  // Rejects when the client is stopped before it was in sync.
  synced.catch(() => {});
  const fetchCertificate = async (): Promise<void> => {
    for (;;) {
      try {
        await gate.tlsContext();
        tasks.certificate.done();
        return;
      } catch (error) {
        logger.warn("no certificate yet", { error: errorMessage(error) });
        await delay(clock, certificateRetryMs, stopping.signal);
      }
    }
  };
  const listen = async (): Promise<void> => {
    await Promise.all([synced, fetchCertificate()]);
    if (stopping.signal.aborted) return;
    await listener.start();
    tasks.state.done();
  };
  return component("hbone listener", {
    start: async () => {
      listen().catch((error: unknown) => {
        if (!stopping.signal.aborted) logger.error("not listening", { error: errorMessage(error) });
      });
    },
    stop: async () => {
      stopping.abort();
      await listener.stop();
    },
  });
}

function component(name: string, life: Partial<Pick<Component, "start" | "stop">>): Component {
  return { name, start: life.start ?? (async () => {}), stop: life.stop ?? (async () => {}) };
}

function adminRoutes(dump: () => unknown): AdminRoutes {
  return new Map([
    ["GET /config_dump", () => ({ contentType: "application/json", body: JSON.stringify(dump(), undefined, 2) })],
  ]);
}
