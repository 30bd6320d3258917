import type { Socket } from "node:net";
import { type InboundTunnelSession, TunnelDialer, type TunnelDialerOptions } from "@hairpin/hbone";
import type { PodInfo } from "@hairpin/shared/discovery";
import { errorMessage } from "@hairpin/shared/process";
import type { TcpListener } from "@hairpin/wire";
import { serveInboundSession } from "./inbound/listener.ts";
import { servePassthrough } from "./inbound/passthrough.ts";
import { serveOutbound } from "./outbound/listener.ts";
import type { DataPath, PodContext } from "./pod-context.ts";
import type { PodNetwork } from "./pod-network.ts";
import { ZtunnelError } from "./response-flag.ts";

/** A pod as its node names it. */
export interface PodIdentity {
  /** Kubernetes' uid. */
  readonly uid: string;
  readonly info: PodInfo;
}

/** What else runs in a pod's netns and ends with it. */
export interface PodService {
  /** Idempotent. */
  close(): Promise<void>;
}

export interface PodProxyComponents {
  readonly path: DataPath;
  /** Starts the pod's DNS server; undefined: DNS is off. */
  readonly startDns?: ((pod: PodContext) => Promise<PodService>) | undefined;
  /** Called for each connection that was closed at once because a limit was reached. */
  onLimit(listener: ListenerName): void;
}

export interface PodProxyOptions {
  /** Ports of the three listeners; 0 in tests. Undefined: that one is not served. */
  readonly ports: Readonly<Record<ListenerName, number | undefined>>;
  readonly dialer: TunnelDialerOptions;
}

export type ListenerName = "outbound" | "inboundPlaintext" | "inbound";

/**
 * Everything we do for one pod: its listeners, its sessions in both directions, its DNS server.
 * Serving → draining (`drain`: no new connections, open ones go on) → stopped (`stop`: everything ends at once).
 */
export class PodProxy {
  readonly pod: PodIdentity;
  readonly #path: DataPath;
  readonly #components: PodProxyComponents;
  readonly #context: PodContext;
  readonly #abort = new AbortController();
  readonly #listeners = new Map<ListenerName, TcpListener>();
  readonly #sessions = new Set<InboundTunnelSession>();
  /** Accepted sockets by listener, for the limit. */
  readonly #open = new Map<ListenerName, number>();
  #dns: PodService | undefined;

  private constructor(
    pod: PodIdentity,
    network: PodNetwork,
    components: PodProxyComponents,
    dialerOptions: TunnelDialerOptions,
  ) {
    this.pod = pod;
    this.#path = components.path;
    this.#components = components;
    const { tls, clock, contextFor, sessionMetrics } = components.path;
    const dialer = new TunnelDialer({ tls, clock, contextFor, metrics: sessionMetrics }, dialerOptions);
    this.#context = { ...pod, network, dialer, signal: this.#abort.signal };
  }

  /**
   * Starts serving a pod; resolves once all its listeners are bound. Owns the network. Rejects with
   * `POD_LISTENER_FAILED`; then nothing is left behind.
   */
  static async start(
    pod: PodIdentity,
    network: PodNetwork,
    components: PodProxyComponents,
    options: PodProxyOptions,
  ): Promise<PodProxy> {
    const proxy = new PodProxy(pod, network, components, options.dialer);
    try {
      for (const name of ["outbound", "inboundPlaintext", "inbound"] as const) {
        const port = options.ports[name];
        if (port !== undefined) await proxy.#listen(name, port);
      }
      proxy.#dns = await components.startDns?.(proxy.#context);
    } catch (cause) {
      const message = `Pod ${pod.info.namespace}/${pod.info.name} cannot be served: ${errorMessage(cause)}`;
      const error = new ZtunnelError(message, { code: "POD_LISTENER_FAILED", origin: "internal", cause });
      await proxy.stop(error);
      throw error;
    }
    return proxy;
  }

  /** The port of a listener, for tests and the log. */
  port(name: ListenerName): number | undefined {
    return this.#listeners.get(name)?.address.port;
  }

  /** Stops accepting; callers are told to open no more tunnels (GOAWAY). What is open goes on. */
  async drain(): Promise<void> {
    for (const session of this.#sessions) session.drain();
    await this.#closeListeners();
  }

  /** Ends everything at once, without goodbyes. Idempotent. */
  async stop(error: Error): Promise<void> {
    if (this.#abort.signal.aborted) return;
    this.#abort.abort(error);
    const listenersClosed = this.#closeListeners();
    this.#path.table.closeAll(error, this.pod.uid);
    for (const session of this.#sessions) session.destroy(error);
    this.#context.dialer.destroy(error);
    await listenersClosed;
    this.#context.network.close();
  }

  async #closeListeners(): Promise<void> {
    const closing = [...this.#listeners.values()].map((listener) => listener.close());
    if (this.#dns) closing.push(this.#dns.close());
    await Promise.all(closing);
  }

  async #listen(name: ListenerName, port: number): Promise<void> {
    const listener = await this.#context.network.listen(port, {
      keepalive: name !== "inbound",
      onConnection: (socket) => this.#serve(name, socket),
    });
    this.#listeners.set(name, listener);
    this.#path.logger.info("listener established", {
      component: name,
      address: `${listener.address.address}:${listener.address.port}`,
      pod: `${this.pod.info.namespace}/${this.pod.info.name}`,
    });
  }

  #serve(name: ListenerName, socket: Socket): void {
    const open = this.#open.get(name) ?? 0;
    const { connections, options } = this.#path;
    if (open >= options.maxConnectionsPerListener || this.#abort.signal.aborted || !connections.take()) {
      socket.resetAndDestroy();
      this.#components.onLimit(name);
      return;
    }
    this.#open.set(name, open + 1);
    const release = this.#path.drain.track();
    this.#handle(name, socket)
      .catch((error: unknown) => {
        socket.destroy();
        this.#path.logger.error("connection handler failed", { component: name, error });
      })
      .finally(() => {
        this.#open.set(name, (this.#open.get(name) ?? 1) - 1);
        connections.release();
        release();
      });
  }

  #handle(name: ListenerName, socket: Socket): Promise<void> {
    switch (name) {
      case "outbound":
        return serveOutbound(socket, this.#context, this.#path);
      case "inboundPlaintext":
        return servePassthrough(socket, this.#context, this.#path);
      case "inbound":
        return serveInboundSession(socket, this.#context, this.#path, (session) => this.#keepSession(session));
      default:
        throw new Error(`Unknown listener ${JSON.stringify(name satisfies never)}`);
    }
  }

  #keepSession(session: InboundTunnelSession): void {
    this.#sessions.add(session);
    session.whenClosed.then(() => this.#sessions.delete(session)).catch(() => {});
    if (this.#abort.signal.aborted) session.destroy(new Error("The pod was removed"));
    else if (this.#path.drain.draining) session.drain();
  }
}
