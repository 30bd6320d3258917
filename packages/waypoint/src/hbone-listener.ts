import type { Socket } from "node:net";
import {
  acceptTunnelSession,
  defaultTunnelListenerOptions,
  type InboundTunnelSession,
  type ResetBudgets,
  type SessionMetrics,
} from "@hairpin/hbone";
import { formatSocketAddress, parseIp, type SocketAddress } from "@hairpin/shared/model";
import { type Clock, errorMessage } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import { listenTcp, type TcpListener, type TlsContext, type TlsEngine } from "@hairpin/wire";
import type { TrafficMetrics } from "./telemetry/traffic-metrics.ts";
import type { TunnelServer } from "./terminate/serve-tunnel.ts";

export interface HboneListenerComponents {
  readonly tls: TlsEngine;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: TrafficMetrics;
  readonly sessionMetrics: SessionMetrics;
  readonly resetBudgets: ResetBudgets;
  readonly tunnels: TunnelServer;
  /** The context with our certificate; rejects when there is none. */
  tlsContext(): Promise<TlsContext>;
}

export interface HboneListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly trustDomain: string;
  /** Connections at once, those in their handshake included. Default 20,000. */
  readonly maxSessions?: number;
}

const defaultMaxSessions = 20_000;

/** As Envoy waypoints: streams a client may have open on one session. */
const listenerOptions = {
  ...defaultTunnelListenerOptions,
  http2: { ...defaultTunnelListenerOptions.http2, maxConcurrentStreams: 100 },
};

/** Listens on 15008 and gives every CONNECT of every session to the tunnel server. */
export class HboneListener {
  readonly #components: HboneListenerComponents;
  readonly #options: HboneListenerOptions;
  readonly #sessions = new Set<InboundTunnelSession>();
  #connections = 0;
  #listener: TcpListener | undefined;
  #draining = false;

  constructor(components: HboneListenerComponents, options: HboneListenerOptions) {
    this.#components = components;
    this.#options = options;
  }

  /** 0 while it does not listen. */
  get port(): number {
    return this.#listener?.address.port ?? 0;
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  /** Rejects with Node's error when the address cannot be had. */
  async start(): Promise<void> {
    const { host, port } = this.#options;
    const listener = await listenTcp({ host, port, onConnection: (socket) => void this.#accept(socket) });
    if (this.#draining) {
      await listener.close();
      return;
    }
    this.#listener = listener;
    this.#components.logger.info("listener established", { component: "hbone", ...listener.address });
  }

  /** Takes no new connections and tells peers to open no more tunnels; those that are open go on. */
  async drain(): Promise<void> {
    this.#draining = true;
    const listener = this.#listener;
    this.#listener = undefined;
    for (const session of this.#sessions) session.drain();
    await listener?.close();
  }

  async stop(): Promise<void> {
    await this.drain();
    for (const session of this.#sessions) session.destroy(new Error("The waypoint is stopping"));
  }

  /** Never rejects: what goes wrong is this connection's. */
  async #accept(socket: Socket): Promise<void> {
    const { logger, metrics } = this.#components;
    if (this.#connections >= (this.#options.maxSessions ?? defaultMaxSessions)) {
      metrics.sessionRefused();
      socket.destroy();
      return;
    }
    this.#connections++;
    const from = `${socket.remoteAddress}:${socket.remotePort}`;
    try {
      await this.#serve(socket);
    } catch (error) {
      socket.destroy();
      logger.warn("session refused", { "src.addr": from, error: errorMessage(error) });
    } finally {
      this.#connections--;
    }
  }

  async #serve(socket: Socket): Promise<void> {
    const { logger, tunnels, sessionMetrics } = this.#components;
    const remote: SocketAddress = { ip: parseIp(socket.remoteAddress ?? ""), port: socket.remotePort ?? 0 };
    const session = await acceptTunnelSession({ ...this.#components, metrics: sessionMetrics }, listenerOptions, {
      socket,
      context: await this.#components.tlsContext(),
      trustDomain: this.#options.trustDomain,
      onConnect: (request) => tunnels.serve(request, remote),
    });
    this.#sessions.add(session);
    if (this.#draining) session.drain();
    const error = await session.whenClosed;
    this.#sessions.delete(session);
    if (error) logger.debug("session ended", { "src.addr": formatSocketAddress(remote), error: errorMessage(error) });
  }
}
