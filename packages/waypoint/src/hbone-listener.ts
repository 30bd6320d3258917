import type { Socket } from "node:net";
import { acceptTunnelSession, defaultTunnelListenerOptions, type InboundTunnelSession } from "@hairpin/hbone";
import { formatSocketAddress, parseIp, type SocketAddress } from "@hairpin/shared/model";
import { type Clock, type Component, errorMessage } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import { listenTcp, type TcpListener, type TlsContext, type TlsEngine } from "@hairpin/wire";
import type { TunnelServer } from "./terminate/serve-tunnel.ts";

export interface HboneListenerComponents {
  readonly tls: TlsEngine;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly tunnels: TunnelServer;
  /** The context with our certificate; rejects when there is none. */
  tlsContext(): Promise<TlsContext>;
}

export interface HboneListenerOptions {
  readonly host: string;
  readonly port: number;
  readonly trustDomain: string;
}

/** As Envoy waypoints: streams a client may have open on one session. */
const maxTunnelsPerSession = 100;

/** Listens on 15008 and gives every CONNECT of every session to the tunnel server. */
export class HboneListener implements Component {
  readonly name = "hbone listener";
  readonly #components: HboneListenerComponents;
  readonly #options: HboneListenerOptions;
  readonly #sessions = new Set<InboundTunnelSession>();
  #listener: TcpListener | undefined;

  constructor(components: HboneListenerComponents, options: HboneListenerOptions) {
    this.#components = components;
    this.#options = options;
  }

  get port(): number {
    return this.#listener?.address.port ?? 0;
  }

  get sessions(): number {
    return this.#sessions.size;
  }

  async start(): Promise<void> {
    const { host, port } = this.#options;
    this.#listener = await listenTcp({ host, port, onConnection: (socket) => void this.#accept(socket) });
    this.#components.logger.info("listener established", { component: "hbone", ...this.#listener.address });
  }

  /** Takes no new connections and tells peers to open no more tunnels; those that are open go on. */
  async drain(): Promise<void> {
    const listener = this.#listener;
    this.#listener = undefined;
    for (const session of this.#sessions) session.drain();
    this.#components.tunnels.drain();
    await listener?.close();
  }

  async stop(): Promise<void> {
    await this.drain();
    for (const session of this.#sessions) session.destroy(new Error("The waypoint is stopping"));
  }

  async #accept(socket: Socket): Promise<void> {
    const { tls, clock, logger, tunnels } = this.#components;
    const remote: SocketAddress = { ip: parseIp(socket.remoteAddress ?? "0.0.0.0"), port: socket.remotePort ?? 0 };
    try {
      const context = await this.#components.tlsContext();
      const options = {
        ...defaultTunnelListenerOptions,
        http2: { ...defaultTunnelListenerOptions.http2, maxConcurrentStreams: maxTunnelsPerSession },
      };
      const session = await acceptTunnelSession({ tls, clock }, options, {
        socket,
        context,
        trustDomain: this.#options.trustDomain,
        onConnect: (request) => tunnels.serve(request, remote),
      });
      this.#sessions.add(session);
      await session.whenClosed;
      this.#sessions.delete(session);
    } catch (error) {
      socket.destroy();
      logger.warn("session refused", { "src.addr": formatSocketAddress(remote), error: errorMessage(error) });
    }
  }
}
