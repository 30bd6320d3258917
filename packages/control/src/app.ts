// Assembles control; reads as the list of its parts. Nothing else in the package creates what it depends on.

import {
  type Clock,
  type Component,
  Readiness,
  type RunningComponents,
  runComponents,
  systemClock,
} from "@hairpin/shared/process";
import {
  type AdminServer,
  type Logger,
  MetricRegistry,
  registerProcessMetrics,
  createLogger,
  metricsRoutes,
  startAdminServer,
} from "@hairpin/shared/telemetry";
import { type GrpcListener, createDeltaXdsServer, listenGrpc } from "@hairpin/shared/xds";
import type { TokenVerifier } from "./authority/caller.ts";
import { AdmissionServer } from "./admission/admission-server.ts";
import { createCertificateService } from "./authority/certificate-service.ts";
import { ServingCertificate } from "./authority/serving-certificate.ts";
import { ObjectCollection } from "./collection/object-collection.ts";
import type { ControlConfig } from "./config.ts";
import { MeshLoop } from "./mesh-loop.ts";
import { type ClientRole, checkNode, createAuthenticator, impliedNames, scopeOf } from "./push/client-role.ts";
import { createPlatform } from "./platform.ts";
import { Publisher } from "./push/publisher.ts";
import { pushOrder } from "./push/type-urls.ts";
import { WaypointReadiness } from "./push/waypoint-readiness.ts";
import { registerXdsMetrics } from "./push/xds-metrics.ts";
import { SecureListener } from "./secure-listener.ts";
import type { ObjectSource } from "./source/object-source.ts";
import { type StatusSink, StatusWriter } from "./status/status-writer.ts";

/** What may be given instead of what the configuration asks for. */
export interface ControlComponents {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricRegistry;
  readonly tokens: TokenVerifier;
  readonly createSource: (objects: ObjectCollection) => ObjectSource;
  readonly statusSink: StatusSink;
  /** False: the process's signals are left alone. Default true. */
  readonly handleSignals: boolean;
}

export interface RunningControl extends RunningComponents {
  /** Ports in use. */
  readonly ports: {
    readonly secureXds: number;
    readonly metrics: number;
    readonly readiness: number;
    /** Undefined where nobody asks: outside of a cluster. */
    readonly admission: number | undefined;
  };
  readonly rootBundlePem: string;
  /** Where `root-cert.pem` is; undefined on Kubernetes. */
  readonly rootPath: string | undefined;
}

/** Starts control; resolves when the first push has been prepared and every port listens. */
export async function startControl(
  config: ControlConfig,
  given: Partial<ControlComponents> = {},
): Promise<RunningControl> {
  const { clock = systemClock, metrics = new MetricRegistry() } = given;
  const logger = given.logger ?? createLogger({ level: config.log.level, format: config.log.format, scope: "control" });
  logger.info("control starts", { config: JSON.stringify(config.described) });

  const objects = new ObjectCollection();
  const platform = await createPlatform(config, { objects, clock, logger, metrics });
  const { authorities, leadership } = platform;
  const { tokens = platform.tokens, statusSink = platform.statusSink } = given;
  const source = given.createSource?.(objects) ?? platform.source;
  const xds = createDeltaXdsServer<ClientRole>(
    { clock, logger: logger.child("xds") },
    {
      typeUrls: pushOrder,
      authenticate: createAuthenticator({ tokens, objects }, config.mesh),
      checkNode,
      scopeOf,
      impliedNames,
    },
  );
  registerProcessMetrics(metrics);
  registerXdsMetrics(metrics, xds, objects);
  const certificates = createCertificateService(
    { authorities, tokens, objects, metrics, logger: logger.child("ca") },
    { config: config.mesh, maxTtlMs: config.maxCertificateTtlMs },
  );
  const services = [xds.service, certificates];

  const mesh = new MeshLoop(
    {
      objects,
      publisher: new Publisher({ server: xds, clock }),
      readiness: new WaypointReadiness(xds),
      statuses: new StatusWriter({ sink: statusSink, leadership, clock, logger }),
      leadership,
      clock,
      metrics,
      logger,
    },
    config.mesh,
  );
  const { rootNamespace, clusterDomain } = config.mesh;
  const certificate = new ServingCertificate(
    { authorities, clock, logger },
    { rootNamespace, clusterDomain, ips: ownAddresses(config.listenIp) },
  );
  const secure = new SecureListener(
    { certificate, services, whenServing: () => mesh.whenPublished() },
    { host: config.listenIp, port: config.ports.secureXds },
  );
  const admission =
    config.ports.admission === undefined
      ? undefined
      : new AdmissionServer(
          { certificate, objects, metrics, logger: logger.child("admission") },
          { host: config.listenIp, port: config.ports.admission },
        );

  const readiness = new Readiness();
  const serving = readiness.task("xds and ca");
  const metricsServer = adminComponent(
    "metrics",
    config.listenIp,
    config.ports.metrics,
    metricsRoutes(metrics),
    logger,
  );
  const readyServer = adminComponent(
    "readiness",
    config.listenIp,
    config.ports.readiness,
    readyRoutes(readiness),
    logger,
  );
  const running = await runComponents(
    [
      metricsServer,
      readyServer,
      ...platform.foundation,
      { name: source.name, start: () => source.start(), stop: () => source.stop() },
      mesh,
      { name: "xds", start: async () => {}, stop: async () => xds.close() },
      certificate,
      secure,
      ...(admission === undefined ? [] : [admission]),
      ...(config.ports.plaintextXds === undefined ? [] : [plaintextComponent(config.ports.plaintextXds, services)]),
      ...platform.controllers,
    ],
    given.handleSignals === false ? { logger, signals: { on: () => {}, off: () => {} } } : { logger },
  );
  serving.done();
  const ports = {
    secureXds: secure.port,
    metrics: metricsServer.port,
    readiness: readyServer.port,
    admission: admission?.port,
  };
  return { ...running, ports, rootBundlePem: authorities.current.authority.rootBundlePem, rootPath: platform.rootPath };
}

/** As {@link startControl}, until a signal stops it. */
export async function runControl(config: ControlConfig): Promise<void> {
  const control = await startControl(config);
  await control.stopped;
}

function ownAddresses(listenIp: string): string[] {
  const isAny = listenIp === "0.0.0.0" || listenIp === "::";
  return [...new Set([...(isAny ? [] : [listenIp]), "127.0.0.1", "::1"])];
}

function readyRoutes(readiness: Readiness): Parameters<typeof startAdminServer>[0]["routes"] {
  return new Map([
    [
      "GET /ready",
      () =>
        readiness.ready
          ? { body: "ready\n" }
          : { status: 503, body: `not ready, pending: ${readiness.pendingTasks().join(", ")}\n` },
    ],
  ]);
}

interface ListeningComponent extends Component {
  /** 0 before it listens. */
  readonly port: number;
}

function adminComponent(
  name: string,
  host: string,
  port: number,
  routes: Parameters<typeof startAdminServer>[0]["routes"],
  logger: Logger,
): ListeningComponent {
  let server: AdminServer | undefined;
  return {
    name,
    get port() {
      return server?.address.port ?? 0;
    },
    start: async () => {
      server = await startAdminServer({ host, port, routes, logger, anyHost: true });
    },
    stop: async () => await server?.close(),
  };
}

/** 15010: for debugging on the same machine; the token is still needed. */
function plaintextComponent(port: number, services: Parameters<typeof listenGrpc>[0]["services"]): Component {
  let listener: GrpcListener | undefined;
  return {
    name: "plaintext xds and ca",
    start: async () => {
      listener = await listenGrpc({ host: "127.0.0.1", port, services });
    },
    stop: async () => await listener?.close(),
  };
}
