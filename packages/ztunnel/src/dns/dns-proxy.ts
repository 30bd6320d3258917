import type { MeshLookup } from "@hairpin/shared/discovery";
import type { SocketAddress } from "@hairpin/shared/model";
import { type Clock, errorMessage } from "@hairpin/shared/process";
import type { Logger, MetricRegistry } from "@hairpin/shared/telemetry";
import type { PodContext } from "../pod-context.ts";
import type { PodService } from "../pod-proxy.ts";
import { DnsMetrics } from "./dns-metrics.ts";
import { DnsServer } from "./dns-server.ts";
import { Forwarder } from "./forwarder.ts";
import { Limit } from "./limit.ts";
import { parseNameServers } from "./name-servers.ts";
import { QueryHandler } from "./query-handler.ts";

export interface DnsProxyComponents {
  readonly mesh: MeshLookup;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: MetricRegistry;
  /** The text of a resolv.conf; may throw. Read once, at the start. */
  readonly readResolvConf: () => string;
}

export interface DnsProxyOptions {
  /** Of the servers in the pods; their rules lead there. */
  readonly port: number;
  readonly clusterDomain: string;
  readonly ipv6: boolean;
}

/** As ztunnel: how long a query waits for its pod to become known. */
const clientWaitMs = 5000;
const attemptTimeoutMs = 2000;
const forwardTimeoutMs = 5000;
/** As ztunnel's TCP request timeout. */
const tcpIdleTimeoutMs = 5000;
/** Queries of one pod that wait at once: each may have a socket of its own. */
const maxPendingPerPod = 512;
const maxPendingPerNode = 4096;
const maxConnectionsPerPod = 128;
const maxConnectionsPerNode = 2048;
const maxPipelined = 16;
const nameServerPort = 53;

/** The DNS servers of all pods of the node: each in its pod's netns, with what they share. */
export class DnsProxy {
  readonly #components: DnsProxyComponents;
  readonly #options: DnsProxyOptions;
  readonly #metrics: DnsMetrics;
  readonly #pending = new Limit(maxPendingPerNode);
  readonly #connections = new Limit(maxConnectionsPerNode);
  readonly #logger: Logger;
  #nameServers: readonly SocketAddress[] = [];

  constructor(components: DnsProxyComponents, options: DnsProxyOptions) {
    this.#components = components;
    this.#options = options;
    this.#metrics = new DnsMetrics(components.metrics);
    this.#logger = components.logger.child("dns");
  }

  /** Finds the name servers. Without any, names of the mesh are answered and others get SERVFAIL. */
  start(): void {
    try {
      const addresses = parseNameServers(this.#components.readResolvConf());
      this.#nameServers = addresses.map((ip) => ({ ip, port: nameServerPort }));
      if (addresses.length === 0) this.#logger.warn("no name server: only names of the mesh are answered");
    } catch (error) {
      this.#logger.warn("no name server: only names of the mesh are answered", { error: errorMessage(error) });
    }
  }

  /** Starts a pod's server, which ends with its pod; resolves once it is bound. */
  readonly startPod = async ({ info, network }: Pick<PodContext, "info" | "network">): Promise<PodService> => {
    const { mesh, clock } = this.#components;
    const { port, clusterDomain, ipv6 } = this.#options;
    const closing = new AbortController();
    const forwarder = new Forwarder(
      { network, clock, signal: closing.signal },
      { nameServers: this.#nameServers, attemptTimeoutMs, timeoutMs: forwardTimeoutMs },
    );
    const handler = new QueryHandler(
      info,
      {
        mesh,
        forwarder,
        metrics: this.#metrics,
        pending: new Limit(maxPendingPerPod, this.#pending),
        clock,
        logger: this.#logger,
        random: Math.random,
      },
      { clusterDomain, ipv6, clientWaitMs },
    );
    const ips = ["127.0.0.1", ...(ipv6 && network.hasIpv6() ? ["::1"] : [])];
    const server = await DnsServer.start(
      ips.map((ip) => ({ ip, port })),
      {
        network,
        handler,
        connections: new Limit(maxConnectionsPerPod, this.#connections),
        onLimit: () => this.#metrics.limit("connections"),
        clock,
        logger: this.#logger,
      },
      { idleTimeoutMs: tcpIdleTimeoutMs, maxPipelined },
    );
    return {
      async close() {
        closing.abort(new Error("The DNS server was closed"));
        await server.close();
      },
    };
  };
}
