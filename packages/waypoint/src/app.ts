import { formatBaggage, defaultTunnelDialerOptions, TunnelDialer } from "@hairpin/hbone";
import { raiseFileLimit } from "@hairpin/native";
import { createAgentCaClient, createAgentXdsClient, createServerComponent, TlsContexts } from "@hairpin/shared/agent";
import { MeshState } from "@hairpin/shared/discovery";
import { CertificateStore } from "@hairpin/shared/identity";
import {
  type Clock,
  type Component,
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
  registerProcessMetrics,
  type AdminRoutes,
  type RootLogger,
} from "@hairpin/shared/telemetry";
import { createNodeTlsEngine, type TlsContext, type TlsEngine } from "@hairpin/wire";
import { configDump } from "./config-dump.ts";
import type { WaypointSettings } from "./config.ts";
import { connectEndpoint, type Endpoint } from "./forward/connect-endpoint.ts";
import { HttpUpstreams } from "./forward/http-upstreams.ts";
import { HboneListener } from "./hbone-listener.ts";
import type { PlanInput } from "./phases.ts";
import { selfWorkload } from "./self-workload.ts";
import { RequestMetrics } from "./telemetry/request-metrics.ts";
import { TunnelServer } from "./terminate/serve-tunnel.ts";
import { WaypointConfig } from "./waypoint-config.ts";

/** Of this program; also in `istio_build`. */
const version = "0.1.0";

export interface WaypointComponents {
  readonly logger: RootLogger;
  readonly clock?: Clock;
  readonly tls?: TlsEngine;
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

/** Puts a waypoint together. */
export function createWaypoint(settings: WaypointSettings, given: WaypointComponents): Waypoint {
  const { logger, clock = systemClock, tls = createNodeTlsEngine(), random = Math.random } = given;
  const { identity, network, clusterId } = settings;
  const readiness = new Readiness();
  const tasks = { state: readiness.task("state manager"), certificate: readiness.task("certificate") };
  const registry = new MetricRegistry();
  registerProcessMetrics(registry);
  registry
    .gauge({ name: "istio_build", help: "Istio component build info.", labels: ["component", "tag"] })
    .handle({ component: "proxy", tag: version })
    .set(1);

  const mesh = new MeshState({ clock }, { clusterId });
  const config = new WaypointConfig();
  const store = new CertificateStore({
    source: createAgentCaClient(settings, clock, false),
    clock,
    logger: logger.child("identity"),
  });
  const contexts = new TlsContexts(tls, clock);
  const tlsContext = async (): Promise<TlsContext> => contexts.contextFor(await store.fetch(identity));
  const xds = createAgentXdsClient("waypoint", settings, { clock, logger, metrics: registry }, [
    ...config.subscriptions(),
    ...mesh.subscriptions(),
  ]);

  const dialer = new TunnelDialer({ tls, clock, contextFor: tlsContext }, defaultTunnelDialerOptions);
  const self = { dialer, identity, ip: settings.instanceIp, baggage: describeSelf(settings) };
  const connect = (endpoint: Endpoint) => connectEndpoint(self, endpoint);
  const upstreams = new HttpUpstreams({ clock, connect });
  const input: PlanInput = {
    mesh,
    config,
    get self() {
      return selfWorkload(settings, mesh);
    },
    random,
  };
  const describe = { mesh, network, namespace: settings.pod.namespace, clusterId };
  const metrics = new RequestMetrics(registry);
  const tunnels = new TunnelServer(
    { input, config, upstreams, connect, clock, metrics, describe, logger, accessLog: logger.child("access") },
    { network, namespace: settings.pod.namespace },
  );
  const listener = new HboneListener(
    { tls, clock, logger: logger.child("hbone"), tunnels, tlsContext },
    { ...settings.hbone, trustDomain: settings.trustDomain },
  );
  const admin: AdminRoutes = new Map([
    [
      "GET /config_dump",
      () => ({
        contentType: "application/json",
        body: JSON.stringify(
          configDump({
            mesh,
            config,
            certificates: store,
            settings,
            upstreams,
            listener,
            version,
            tlsEngine: tls.name,
          }),
          undefined,
          2,
        ),
      }),
    ],
  ]);
  const warmUp = warmUpComponent(
    [
      [xds.whenSynced(), () => tasks.state.done()],
      [tlsContextWhenAvailable(tlsContext, clock, logger), () => tasks.certificate.done()],
    ],
    logger,
  );

  return {
    components: [
      createServerComponent("readiness server", settings.readiness, readinessRoutes(readiness), logger, true),
      createServerComponent("metrics server", settings.metrics, metricsRoutes(registry), logger, true),
      createServerComponent("admin server", settings.admin, admin, logger),
      store,
      xds,
      listener,
      warmUp,
      closing("upstream connections", () => {
        upstreams.destroy();
        dialer.destroy(new Error("The waypoint is stopping"));
      }),
    ],
    readiness,
    listener,
    drain: async () => {
      const drain = new Drain(clock);
      drain.begin(settings.drainDeadlineMs);
      await listener.drain();
      const release = drain.track();
      const watch = (): void => {
        if (tunnels.open === 0) release();
        else clock.setTimer(drainPollMs, watch, { background: true });
      };
      watch();
      logger.info("drained", { outcome: await drain.whenEmpty(), tunnels: tunnels.open });
    },
  };
}

/** How often a drain looks whether the last tunnel is gone. */
const drainPollMs = 50;

/** Runs a waypoint until SIGTERM or SIGINT. */
export async function runWaypoint(settings: WaypointSettings): Promise<RunningComponents> {
  const logger = createLogger({ level: settings.log.level, format: settings.log.format });
  const { soft } = raiseFileLimit();
  logger.info("starting", { version, gateway: `${settings.pod.namespace}/${settings.gatewayName}`, file_limit: soft });
  const waypoint = createWaypoint(settings, { logger });
  return await runComponents(waypoint.components, { logger, onShutdown: () => waypoint.drain() });
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

/** Keeps asking for our certificate: without it the waypoint is not ready. */
async function tlsContextWhenAvailable(
  tlsContext: () => Promise<TlsContext>,
  clock: Clock,
  logger: RootLogger,
): Promise<void> {
  for (;;) {
    try {
      await tlsContext();
      return;
    } catch (error) {
      logger.warn("no certificate yet", { error: errorMessage(error) });
      const { promise, resolve } = Promise.withResolvers<void>();
      clock.setTimer(certificateRetryMs, resolve, { background: true });
      await promise;
    }
  }
}

const certificateRetryMs = 1000;

/** Notes when each part is ready; starting does not wait for them, so that the process can be stopped meanwhile. */
function warmUpComponent(parts: readonly (readonly [Promise<void>, () => void])[], logger: RootLogger): Component {
  let stopped = false;
  for (const [ready] of parts) ready.catch(() => {});
  return {
    name: "warm-up",
    async start() {
      for (const [ready, done] of parts) {
        ready.then(done, (error: unknown) => {
          if (!stopped) logger.error("not ready", { error: errorMessage(error) });
        });
      }
    },
    async stop() {
      stopped = true;
    },
  };
}

function closing(name: string, close: () => void): Component {
  return { name, start: async () => {}, stop: async () => close() };
}
