import { lookup } from "node:dns/promises";
import {
  defaultTunnelDialerOptions,
  defaultTunnelListenerOptions,
  inboundHttp2Options,
  outboundHttp2Options,
} from "@hairpin/hbone";
import { openNetns } from "@hairpin/native";
import type { MeshLookup } from "@hairpin/shared/discovery";
import { parseIp } from "@hairpin/shared/model";
import { type Clock, type Drain, errorMessage } from "@hairpin/shared/process";
import { createAccessLog, type Logger, type MetricRegistry } from "@hairpin/shared/telemetry";
import type { TlsEngine } from "@hairpin/wire";
import { podPorts, type ZtunnelConfig } from "./config.ts";
import { ConnectionTable } from "./connection-table.ts";
import { type CertificateProvider, LocalCertificates } from "./local-certificates.ts";
import { createNativePodNetwork } from "./native-pod-network.ts";
import type { DataPath, PodContext } from "./pod-context.ts";
import { type ListenerName, PodProxy, type PodProxyOptions, type PodService } from "./pod-proxy.ts";
import { Pods } from "./pods.ts";
import { ZtunnelError } from "./response-flag.ts";
import { ConnectionTelemetry } from "./telemetry/connection-telemetry.ts";

const workloadWaitMs = 5000;
const policyWaitMs = 5000;
const connectTimeoutMs = 10_000;
/** A pod's ports bound this by themselves outbound; inbound it keeps one pod from taking all descriptors. */
const maxConnectionsPerListener = 20_000;

export interface DataPlaneComponents {
  readonly mesh: MeshLookup;
  readonly store: CertificateProvider;
  readonly tls: TlsEngine;
  readonly clock: Clock;
  readonly drain: Drain;
  readonly logger: Logger;
  readonly metrics: MetricRegistry;
  /** Undefined: pods get no DNS server. */
  readonly startDns?: ((pod: PodContext) => Promise<PodService>) | undefined;
}

/** The pods and all their connections: everything that touches traffic. It begins to serve when pods are added. */
export class DataPlane {
  readonly pods: Pods;
  readonly table: ConnectionTable;
  readonly path: DataPath;
  readonly #certificates: LocalCertificates;
  readonly #config: ZtunnelConfig;
  readonly #proxyOptions: PodProxyOptions;
  readonly #onLimit: (listener: ListenerName) => void;
  #unwatch: (() => void)[] = [];
  #selfProxy: PodProxy | undefined;

  constructor(config: ZtunnelConfig, components: DataPlaneComponents) {
    const { mesh, store, tls, clock, drain, logger, metrics } = components;
    this.#config = config;
    this.table = new ConnectionTable({ mesh, clock }, policyWaitMs);
    this.#certificates = new LocalCertificates({ store, tls, mesh, clock }, config.nodeName);
    this.path = {
      mesh,
      table: this.table,
      telemetry: new ConnectionTelemetry({ metrics, accessLog: createAccessLog(logger), clock }),
      tls,
      contextFor: this.#certificates.contextFor,
      resolveHostname,
      clock,
      drain,
      logger: logger.child("proxy"),
      options: dataPathOptions(config),
    };
    const limits = metrics.counter({
      name: "hairpin_ztunnel_connections_limited_total",
      help: "Connections closed at once because a pod's listener had too many open.",
      labels: ["listener"],
    });
    this.#onLimit = (listener) => limits.handle({ listener }).add(1);
    this.#proxyOptions = { ports: podPorts, dialer: dialerOptions(config) };
    this.pods = new Pods(
      {
        path: this.path,
        startDns: components.startDns,
        onLimit: this.#onLimit,
        metrics,
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

  /** Follows the mesh: fetches certificates of local workloads, closes connections that become refused. Call when it is known. */
  async start(): Promise<void> {
    this.#unwatch = [this.table.watch(), this.#certificates.watch()];
    await this.#startSelfProxy();
  }

  async drain(): Promise<void> {
    await Promise.all([this.pods.drain(), this.#selfProxy?.drain()]);
  }

  async stop(): Promise<void> {
    for (const unwatch of this.#unwatch) unwatch();
    this.#unwatch = [];
    const message = "connection closed due to connection drain";
    const error = new ZtunnelError(message, { code: "CONNECTION_DRAINED", origin: "internal" });
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
      const components = { path: this.path, onLimit: this.#onLimit };
      this.#selfProxy = await PodProxy.start({ uid: "ztunnel", info: pod }, network, components, options);
    } catch (error) {
      this.path.logger.warn("own metrics cannot be reached by HBONE", { error: errorMessage(error) });
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
    policyWaitMs,
    connectTimeoutMs,
    listener: { ...defaultTunnelListenerOptions, http2: { ...inboundHttp2Options, ...sizes } },
    responseBaggage: config.responseBaggage,
    logPolicyAtInfo: config.logPolicyAtInfo,
    maxConnectionsPerListener,
  };
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
