import { lookup } from "node:dns/promises";
import { readFileSync } from "node:fs";
import {
  createTunnelResetBudgets,
  defaultTunnelDialerOptions,
  defaultTunnelListenerOptions,
  inboundHttp2Options,
  outboundHttp2Options,
  SessionMetrics,
} from "@hairpin/hbone";
import { openNetns, raiseFileLimit } from "@hairpin/native";
import type { MeshLookup } from "@hairpin/shared/discovery";
import { parseIp } from "@hairpin/shared/model";
import { type Clock, Drain, errorMessage } from "@hairpin/shared/process";
import { createAccessLog, type Logger, type MetricRegistry } from "@hairpin/shared/telemetry";
import { chooseTlsEngine } from "@hairpin/wire";
import { podPorts, type ZtunnelConfig } from "./config.ts";
import { ConnectionLimit, connectionsPerThread } from "./connection-limit.ts";
import { ConnectionTable, type NodeConnections } from "./connection-table.ts";
import type { DataPlane, DrainReport } from "./data-plane.ts";
import { DnsProxy } from "./dns/dns-proxy.ts";
import { type CertificateProvider, LocalCertificates } from "./local-certificates.ts";
import { createNativePodNetwork } from "./native-pod-network.ts";
import type { DataPath } from "./pod-context.ts";
import type { PodMetrics } from "./pod-metrics.ts";
import { type ListenerName, PodProxy, type PodProxyOptions } from "./pod-proxy.ts";
import { Pods } from "./pods.ts";
import { ZtunnelError } from "./response-flag.ts";
import { ConnectionTelemetry } from "./telemetry/connection-telemetry.ts";

const workloadWaitMs = 5000;
/** A pod dials before the kubelet has told its address, on a busy node by many seconds. */
const sourceWaitMs = 15_000;
const policyWaitMs = 5000;
const connectTimeoutMs = 10_000;
/** Of all threads together. A pod's ports bound this by themselves outbound; inbound it keeps one pod from taking all descriptors. */
const maxConnectionsPerListener = 20_000;

export interface DataPlaneComponents {
  readonly mesh: MeshLookup;
  readonly store: CertificateProvider;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricRegistry;
  /** Undefined: another thread counts the pods. */
  readonly podMetrics?: PodMetrics | undefined;
}

/** The pods and all their connections, in this thread. */
export class ThreadDataPlane implements DataPlane {
  readonly pods: Pods;
  readonly #table: ConnectionTable;
  readonly #path: DataPath;
  readonly #certificates: LocalCertificates;
  readonly #config: ZtunnelConfig;
  readonly #proxyOptions: PodProxyOptions;
  readonly #onLimit: (listener: ListenerName) => void;
  /** Undefined: pods get no DNS server. */
  readonly #dns: DnsProxy | undefined;
  #unwatch: (() => void)[] = [];
  #selfProxy: PodProxy | undefined;

  constructor(config: ZtunnelConfig, components: DataPlaneComponents) {
    const { mesh, store, clock, logger, metrics } = components;
    // Its contexts never leave the thread that made them.
    const tls = chooseTlsEngine(config.tlsEngine).engine;
    this.#config = config;
    this.#table = new ConnectionTable({ mesh, clock }, policyWaitMs);
    this.#certificates = new LocalCertificates({ store, tls, mesh, clock }, config.nodeName);
    this.#path = {
      mesh,
      table: this.#table,
      telemetry: new ConnectionTelemetry({ metrics, accessLog: createAccessLog(logger), clock }),
      tls,
      sessionMetrics: new SessionMetrics(metrics),
      resetBudgets: createTunnelResetBudgets(),
      connections: new ConnectionLimit(connectionsPerThread(raiseFileLimit().soft, config.workerThreads)),
      contextFor: this.#certificates.contextFor,
      resolveHostname,
      clock,
      drain: new Drain(clock),
      logger: logger.child("proxy"),
      options: dataPathOptions(config),
    };
    const limits = metrics.counter({
      name: "hairpin_ztunnel_connections_limited_total",
      help: "Connections closed at once because a pod's listener, or the process, had too many open.",
      labels: ["listener"],
    });
    this.#onLimit = (listener) => limits.handle({ listener }).add(1);
    this.#proxyOptions = { ports: podPorts, dialer: dialerOptions(config) };
    this.#dns = createDnsProxy(config, { mesh, clock, logger, metrics });
    this.pods = new Pods(
      {
        path: this.#path,
        startDns: this.#dns?.startPod,
        onLimit: this.#onLimit,
        metrics: components.podMetrics,
        createNetwork: (netns) =>
          createNativePodNetwork(netns, {
            mark: config.packetMark,
            reusePort: config.portReuse,
            ipv6: config.ipv6,
            originalSource: config.originalSource,
            keepalive: config.keepalive,
          }),
      },
      this.#proxyOptions,
    );
  }

  async start(): Promise<void> {
    this.#dns?.start();
  }

  /** Follows the mesh: fetches certificates of local workloads, closes connections that become refused. */
  async serve(): Promise<void> {
    this.#unwatch = [this.#table.watch(), this.#certificates.watch()];
    await this.#startSelfProxy();
  }

  async whenFollowed(): Promise<void> {
    // The mesh is this thread's own.
  }

  async connections(): Promise<NodeConnections> {
    return this.#table.dump();
  }

  async drain(deadlineMs: number): Promise<DrainReport> {
    const { drain } = this.#path;
    drain.begin(deadlineMs);
    await Promise.all([this.pods.drain(), this.#selfProxy?.drain()]);
    const outcome = await drain.whenEmpty();
    return { outcome, connections: drain.tracked };
  }

  /** Resolves when no connection is left that its log line waits for. */
  async whenIdle(): Promise<void> {
    await this.#path.drain.whenIdle();
  }

  async stop(): Promise<void> {
    const message = "connection closed due to connection drain";
    await this.abort(new ZtunnelError(message, { code: "CONNECTION_DRAINED", origin: "internal" }));
  }

  /** As {@link stop}; the access log of the open connections tells this error. */
  async abort(error: Error): Promise<void> {
    for (const unwatch of this.#unwatch) unwatch();
    this.#unwatch = [];
    await Promise.all([this.pods.stop(error), this.#selfProxy?.stop(error)]);
  }

  /**
   * Port 15008 in our own netns, with our own identity: meshed scrapers reach our metrics by HBONE, and policy applies to
   * them. Only where we run as a pod. A failure is told and leaves the pods alone.
   */
  async #startSelfProxy(): Promise<void> {
    const { pod, keepalive, portReuse, ipv6 } = this.#config;
    if (pod.name === "") return;
    try {
      const network = createNativePodNetwork(openNetns("/proc/thread-self/ns/net"), {
        mark: undefined,
        reusePort: portReuse,
        ipv6,
        originalSource: "never",
        keepalive,
      });
      const options = {
        ...this.#proxyOptions,
        ports: { outbound: undefined, inboundPlaintext: undefined, inbound: podPorts.inbound },
      };
      const components = { path: this.#path, onLimit: this.#onLimit };
      this.#selfProxy = await PodProxy.start({ uid: "ztunnel", info: pod }, network, components, options);
    } catch (error) {
      this.#path.logger.warn("own metrics cannot be reached by HBONE", { error: errorMessage(error) });
    }
  }
}

function dataPathOptions(config: ZtunnelConfig): DataPath["options"] {
  const { streamWindow, connectionWindow, frameSize } = config.http2;
  const sizes = { initialWindowSize: streamWindow, connectionWindowSize: connectionWindow, maxFrameSize: frameSize };
  return {
    network: config.network,
    ownIdentity: config.identity,
    illegalPorts: new Set(Object.values(podPorts)),
    workloadWaitMs,
    sourceWaitMs,
    policyWaitMs,
    connectTimeoutMs,
    listener: { ...defaultTunnelListenerOptions, http2: { ...inboundHttp2Options, ...sizes } },
    responseBaggage: config.responseBaggage,
    logPolicyAtInfo: config.logPolicyAtInfo,
    maxConnectionsPerListener: Math.ceil(maxConnectionsPerListener / Math.max(1, config.workerThreads)),
  };
}

interface DnsParts {
  readonly mesh: MeshLookup;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricRegistry;
}

function createDnsProxy({ clusterDomain, ipv6, dns }: ZtunnelConfig, parts: DnsParts): DnsProxy | undefined {
  if (!dns.enabled) return undefined;
  const readResolvConf = (): string => readFileSync(dns.resolvConf, "utf8");
  return new DnsProxy({ ...parts, readResolvConf }, { port: dns.port, clusterDomain, ipv6 });
}

function dialerOptions({ http2, pool }: ZtunnelConfig): PodProxyOptions["dialer"] {
  return {
    ...defaultTunnelDialerOptions,
    connectTimeoutMs,
    maxTunnelsPerSession: pool.maxStreamsPerConnection,
    idleReleaseMs: pool.unusedReleaseMs,
    http2: {
      ...outboundHttp2Options,
      initialWindowSize: http2.streamWindow,
      connectionWindowSize: http2.connectionWindow,
      maxFrameSize: http2.frameSize,
    },
  };
}

/** By the system's resolver, in our own netns. */
async function resolveHostname(hostname: string): Promise<string> {
  return parseIp((await lookup(hostname)).address);
}
