// A whole waypoint on loopback: a control plane and a CA in the test's process, pods with an address of 127.0.0.0/8 each behind
// a ztunnel of their own, and clients that tunnel to the waypoint as whoever the test wants.
import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { hairpinWaypoint } from "@hairpin/shared/api";
import type { AuthorizationPolicy, Service, SocketAddress, Workload } from "@hairpin/shared/model";
import type { Clock } from "@hairpin/shared/process";
import { createLogger } from "@hairpin/shared/telemetry";
import {
  aService,
  aWorkload,
  createFakeXdsServer,
  eventually,
  type FakeXdsServer,
  startFakeCaServer,
  TestAuthority,
} from "@hairpin/testkit";
import type { TlsEngine } from "@hairpin/wire";
import { createWaypoint, type Waypoint } from "../app.ts";
import type { WaypointSettings } from "../config.ts";
import { type DestinationZtunnel, startDestinationZtunnel } from "./destination-ztunnel.ts";
import { createSourceZtunnel, type SourceZtunnel } from "./source-ztunnel.ts";

export type GatewayInit = MessageInitShape<typeof hairpinWaypoint.WaypointSchema>;
export type ServiceInit = MessageInitShape<typeof hairpinWaypoint.ServiceSchema>;
export type WorkloadInit = MessageInitShape<typeof hairpinWaypoint.WorkloadSchema>;
export type PolicyInit = MessageInitShape<typeof hairpinWaypoint.PolicySchema>;
export type RouteInit = MessageInitShape<typeof hairpinWaypoint.RouteSchema>;

const types = {
  Waypoint: "type.googleapis.com/hairpin.waypoint.v1.Waypoint",
  Service: "type.googleapis.com/hairpin.waypoint.v1.Service",
  Workload: "type.googleapis.com/hairpin.waypoint.v1.Workload",
} as const;

/** Namespace of everything here; the waypoint is the Gateway `shop/waypoint`. */
const namespace = "shop";

export interface TestPod {
  readonly workload: Workload;
  readonly ip: string;
  /** Undefined for a pod that is not captured. */
  readonly ztunnel: DestinationZtunnel | undefined;
}

export interface TestBed extends AsyncDisposable {
  readonly authority: TestAuthority;
  readonly xds: FakeXdsServer;
  readonly waypoint: Waypoint;
  /** Where the waypoint takes tunnels. */
  readonly address: SocketAddress;
  /** Log lines, parsed. */
  readonly lines: readonly Record<string, unknown>[];
  /** A free address of this bed. */
  nextIp(): string;
  /** A pod that serves `services` (namespace/hostname → its target port for service port 80), with its ztunnel. */
  addPod(name: string, fields?: Partial<Workload>, options?: { readonly captured?: boolean }): Promise<TestPod>;
  addService(fields: Partial<Service> & { readonly name: string }): Service;
  addPolicy(policy: AuthorizationPolicy): void;
  putGateway(init?: GatewayInit): void;
  /** A managed service with one HTTP port 80 unless told otherwise. */
  putService(service: Service, init?: ServiceInit): void;
  putWorkload(workload: Workload, init?: WorkloadInit): void;
  /** Starts the waypoint, if it does not run, and waits until it has taken what was put. */
  settled(): Promise<void>;
  client(identity?: string, ip?: string): SourceZtunnel;
  /** Access log lines. */
  access(): Record<string, unknown>[];
  metrics(): Promise<string>;
  configDump(): Promise<Record<string, unknown>>;
  readiness(): Promise<{ readonly status: number; readonly body: string }>;
}

export interface TestBedOptions {
  readonly random?: () => number;
  readonly settings?: Partial<WaypointSettings>;
  readonly clock?: Clock;
  readonly tls?: TlsEngine;
}

let beds = 0;

/** A /24 of loopback of its own: by the process, since test files run side by side, and by the bed within it. */
function nextPrefix(): string {
  beds = (beds % 250) + 1;
  return `127.${(process.pid % 250) + 2}.${beds}`;
}

/** Starts nothing but the control plane: put the mesh in, then `settled()`. */
export async function createTestBed(options: TestBedOptions = {}): Promise<TestBed> {
  const authority = new TestAuthority();
  const prefix = nextPrefix();
  let lastHost = 1;
  const nextIp = (): string => `${prefix}.${++lastHost}`;
  const ip = nextIp();
  const identity = authority.identity(`${namespace}/waypoint`);
  const xds = await createFakeXdsServer({ extraTypeUrls: Object.values(types) });
  const ca = await startFakeCaServer({ authority, ownIdentity: identity });
  const lines: Record<string, unknown>[] = [];
  const logger = createLogger({
    level: "debug",
    format: "json",
    destination: { write: (line) => lines.push(JSON.parse(line) as Record<string, unknown>), flush() {} },
  });
  const root = { kind: "inline", pem: authority.rootPem } as const;
  const endpoint = (address: string) => ({ address, root, alternativeHostname: undefined, headers: {} });
  const settings: WaypointSettings = {
    gatewayName: "waypoint",
    pod: { name: "waypoint-1", namespace, serviceAccount: "waypoint" },
    identity,
    trustDomain: authority.trustDomain,
    instanceIp: ip,
    nodeName: "node-1",
    network: "",
    clusterId: "Kubernetes",
    clusterDomain: "cluster.local",
    metadata: {},
    xds: endpoint(xds.address),
    ca: endpoint(ca.address),
    token: { kind: "literal", token: "token" },
    secretTtlMs: 3_600_000,
    tlsEngine: "auto",
    drainDeadlineMs: 2000,
    hbone: { host: ip, port: 15_008 },
    admin: { host: ip, port: 15_000 },
    metrics: { host: ip, port: 15_020 },
    readiness: { host: ip, port: 15_021 },
    log: { level: "debug", format: "json" },
    ...options.settings,
  };
  const { settings: _, ...components } = options;
  const waypoint = createWaypoint(settings, { logger, ...components });
  const resources: AsyncDisposable[] = [];
  let started = false;
  const put = (type: keyof typeof types, name: string, body: Uint8Array): void =>
    xds.putRaw(types[type], { name, body });
  const get = async (port: number, path: string): Promise<Response> => await fetch(`http://${ip}:${port}${path}`);

  const bed: TestBed = {
    authority,
    xds,
    waypoint,
    address: { ip, port: 15_008 },
    lines,
    nextIp,
    async addPod(name, fields = {}, { captured = true } = {}) {
      const podIp = fields.addresses?.[0] ?? nextIp();
      const workload = aWorkload({
        uid: `Kubernetes//Pod/${namespace}/${name}`,
        name,
        namespace,
        workloadName: name,
        canonicalName: name,
        serviceAccount: name,
        addresses: [podIp],
        tunnelProtocol: captured ? "HBONE" : "NONE",
        ...fields,
      });
      const who = { ip: podIp, identity: `${workload.namespace}/${workload.serviceAccount}` };
      const ztunnel = captured ? await startDestinationZtunnel(authority, who) : undefined;
      if (ztunnel) resources.push(ztunnel);
      xds.put({ workloads: [workload] });
      return { workload, ip: podIp, ztunnel };
    },
    addService(fields) {
      const service = aService({
        namespace,
        hostname: `${fields.name}.${namespace}.svc.cluster.local`,
        vips: [{ network: "", ip: `10.96.0.${++lastHost}` }],
        ...fields,
      });
      xds.put({ services: [service] });
      return service;
    },
    addPolicy: (policy) => xds.put({ policies: [policy] }),
    putGateway(init = {}) {
      const message = create(hairpinWaypoint.WaypointSchema, {
        namespace,
        name: "waypoint",
        hairpinSourceIdentities: ["spiffe://cluster.local/ns/istio-system/sa/ztunnel"],
        trustDomain: authority.trustDomain,
        ...init,
      });
      put("Waypoint", `${namespace}/waypoint`, toBinary(hairpinWaypoint.WaypointSchema, message));
    },
    putService(service, init = {}) {
      const message = create(hairpinWaypoint.ServiceSchema, {
        namespace: service.namespace,
        hostname: service.hostname,
        ports: [{ port: 80, name: "http", protocol: hairpinWaypoint.Protocol.HTTP1 }],
        ...init,
      });
      const name = `${namespace}/waypoint/${service.namespace}/${service.hostname}`;
      put("Service", name, toBinary(hairpinWaypoint.ServiceSchema, message));
    },
    putWorkload(workload, init = {}) {
      const message = create(hairpinWaypoint.WorkloadSchema, { uid: workload.uid, ...init });
      put("Workload", `${namespace}/waypoint/${workload.uid}`, toBinary(hairpinWaypoint.WorkloadSchema, message));
    },
    async settled() {
      if (!started) {
        started = true;
        for (const component of waypoint.components) await component.start();
      }
      await eventually(() => {
        const types = xds.xds.clients().flatMap((client) => client.types);
        if (types.length < 5 || types.some(({ upToDate }) => !upToDate)) throw new Error("the waypoint is behind");
        if (!waypoint.readiness.ready) throw new Error(`pending: ${waypoint.readiness.pendingTasks().join()}`);
      });
    },
    client(name = `${namespace}/curl`, clientIp = nextIp()) {
      const at = { address: bed.address, identity };
      const client = createSourceZtunnel(authority, { identity: name, ip: clientIp }, at);
      resources.push(client);
      return client;
    },
    access: () => lines.filter(({ scope }) => scope === "access"),
    metrics: async () => await (await get(15_020, "/stats/prometheus")).text(),
    configDump: async () => (await (await get(15_000, "/config_dump")).json()) as Record<string, unknown>,
    async readiness() {
      const response = await get(15_021, "/healthz/ready");
      return { status: response.status, body: await response.text() };
    },
    async [Symbol.asyncDispose]() {
      for (const resource of resources) await resource[Symbol.asyncDispose]();
      for (const component of waypoint.components.toReversed()) await component.stop();
      await ca.close();
      await xds.close();
    },
  };
  return bed;
}

/** Membership of a pod in a service, for `Workload.services`. */
export function serves(service: Service, targetPort = 8080, servicePort = 80): Workload["services"] {
  return new Map([[`${service.namespace}/${service.hostname}`, [{ servicePort, targetPort }]]]);
}

/** The authority that a client of the service dials. */
export function addressOf(service: Service, port = 80): string {
  return `${service.vips[0]?.ip}:${port}`;
}
