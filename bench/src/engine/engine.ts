import { create, toBinary } from "@bufbuild/protobuf";
import { createTunnelResetBudgets, SessionMetrics } from "@hairpin/hbone";
import { hairpinWaypoint } from "@hairpin/shared/api";
import { MeshState } from "@hairpin/shared/discovery";
import { systemClock } from "@hairpin/shared/process";
import { createLogger, MetricRegistry } from "@hairpin/shared/telemetry";
import { aService, aWorkload } from "@hairpin/testkit";
import {
  EndpointDenies,
  type HttpServerComponents,
  HttpUpstreams,
  RequestReporter,
  serveHttp,
  TargetCache,
  TrafficMetrics,
  WaypointConfig,
} from "@hairpin/waypoint";
import { connectTcp, createSocketChannel, listenTcp } from "@hairpin/wire";

export interface EngineOptions {
  /** Ports to listen on; the application has the same. */
  readonly first: number;
  readonly last: number;
  /** IP of the application. */
  readonly application: string;
}

const namespace = "bench";
const clusterId = "Kubernetes";
const network = "";
const connectTimeoutMs = 10_000;
const typePrefix = "type.googleapis.com/hairpin.waypoint.v1.";

/** Serves on all ports until the process ends. The access log goes to stdout. */
export async function createEngine(options: EngineOptions): Promise<void> {
  const ports = Array.from({ length: options.last - options.first + 1 }, (_, index) => options.first + index);
  const service = aService({
    namespace,
    ports: ports.map((port) => ({ servicePort: port, targetPort: port, appProtocol: "HTTP11" })),
  });
  const [vip = { network, ip: "" }] = service.vips;
  const components = createComponents(options, service, ports);
  for (const port of ports) {
    await listenTcp({
      host: "0.0.0.0",
      port,
      onConnection(socket) {
        const source = {
          identity: undefined,
          ip: socket.remoteAddress ?? "",
          port: socket.remotePort ?? 0,
          hairpinned: false,
        };
        const address = { ip: vip.ip, port };
        serveHttp(createSocketChannel(socket), "http1", { source, address }, components, () => {});
      },
    });
  }
}

/** The parts of a waypoint that serve requests, as its app.ts puts them together. */
function createComponents(
  { application }: EngineOptions,
  service: ReturnType<typeof aService>,
  ports: readonly number[],
): HttpServerComponents {
  const clock = systemClock;
  const logger = createLogger({ level: "info", format: "plain" });
  const mesh = new MeshState({ clock }, { clusterId });
  const key = `${namespace}/${service.hostname}`;
  const memberships = ports.map((port) => ({ servicePort: port, targetPort: port }));
  const workload = aWorkload({
    namespace,
    addresses: [application],
    tunnelProtocol: "NONE",
    services: new Map([[key, memberships]]),
  });
  mesh.loadStateFile({ workloads: [workload], services: [service], policies: [] });
  const config = new WaypointConfig();
  configure(config, service.hostname, ports);
  const registry = new MetricRegistry();
  const sessionMetrics = new SessionMetrics(registry);
  const describe = { mesh, network, namespace, clusterId };
  return {
    clock,
    logger,
    input: { mesh, config, denies: new EndpointDenies(mesh), self: aWorkload({ name: "engine" }), random: Math.random },
    targets: new TargetCache({ mesh, config, network, namespace }),
    upstreams: new HttpUpstreams({
      clock,
      metrics: sessionMetrics,
      connect: async ({ ip, port }) => createSocketChannel(await connectTcp({ ip, port, timeoutMs: connectTimeoutMs })),
    }),
    reporter: new RequestReporter({
      metrics: new TrafficMetrics(registry),
      describe,
      accessLog: logger.child("access"),
    }),
    resetBudgets: createTunnelResetBudgets(),
    sessionMetrics,
  };
}

/** What control would send for a Service with an L7 policy and a route. */
function configure(config: WaypointConfig, hostname: string, ports: readonly number[]): void {
  const { WaypointSchema, ServiceSchema } = hairpinWaypoint;
  const waypoint = create(WaypointSchema, { namespace, name: "engine", trustDomain: "cluster.local" });
  const route = (port: number) => ({
    namespace,
    name: "web",
    rules: [
      {
        matches: [{ path: { type: hairpinWaypoint.MatchType.PREFIX, value: "/" } }],
        backends: [{ namespace, hostname, port, weight: 1 }],
      },
    ],
  });
  const service = create(ServiceSchema, {
    namespace,
    hostname,
    ports: ports.map((port) => ({
      port,
      name: "http",
      protocol: hairpinWaypoint.Protocol.HTTP1,
      routes: [route(port)],
    })),
    policies: [{ namespace, name: "methods", rules: [{ to: [{ methods: ["GET", "PUT"] }] }] }],
  });
  apply(config, "Waypoint", `${namespace}/engine`, toBinary(WaypointSchema, waypoint));
  apply(config, "Service", `${namespace}/engine/${namespace}/${hostname}`, toBinary(ServiceSchema, service));
}

function apply(config: WaypointConfig, type: string, name: string, bytes: Uint8Array): void {
  const batch = config
    .subscriptions()
    .find(({ typeUrl }) => typeUrl === `${typePrefix}${type}`)
    ?.createBatch();
  batch?.add(name, "1", bytes);
  const rejected = batch?.apply({ removed: [], firstOfStream: true });
  if (rejected === undefined || rejected.size > 0) throw new Error(`${type} ${name} is not accepted`);
}
