import type { InboundConnect, Tunnel } from "@hairpin/hbone";
import { formatSpiffeId, type SocketAddress } from "@hairpin/shared/model";
import { errorMessage, type Clock } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { ManagedTarget } from "../request-context.ts";
import { serveHttp, type HttpConnection, type HttpServerComponents } from "../serve-http.ts";
import { serveTcp, type TcpServerComponents } from "../serve-tcp.ts";
import type { RequestMetrics } from "../telemetry/request-metrics.ts";
import type { PortProtocol, WaypointConfig } from "../waypoint-config.ts";
import { readSource } from "./read-source.ts";
import { resolveTarget } from "./resolve-target.ts";
import { sniff } from "./sniff.ts";

export interface TunnelServerComponents extends HttpServerComponents, TcpServerComponents {
  readonly config: WaypointConfig;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: RequestMetrics;
}

export interface TunnelServerOptions {
  readonly network: string;
  readonly namespace: string;
}

/** How long a client of a port without a known protocol may stay silent before its connection is taken for bytes. */
const sniffSilenceMs = 200;

/**
 * Serves the tunnels of this waypoint: finds what each is for and on whose behalf it came, then hands its bytes to HTTP or
 * to the byte relay by the port's protocol. What is not ours is closed without an answer, as Envoy waypoints do.
 */
export class TunnelServer {
  readonly #components: TunnelServerComponents;
  readonly #options: TunnelServerOptions;
  readonly #connections = new Set<HttpConnection>();
  #open = 0;

  constructor(components: TunnelServerComponents, options: TunnelServerOptions) {
    this.#components = components;
    this.#options = options;
  }

  /** Tunnels being served. */
  get open(): number {
    return this.#open;
  }

  /** Tells HTTP clients to send no more requests on their connections. */
  drain(): void {
    for (const connection of this.#connections) connection.drain();
  }

  serve(request: InboundConnect, remote: SocketAddress): void {
    const { config, input, metrics, logger } = this.#components;
    const log = logger.child("tunnel");
    if (request.method !== "CONNECT") {
      metrics.tunnelRefused("bad-request");
      request.refuse(400);
      return;
    }
    const target = resolveTarget(request.authority, input.mesh, config, this.#options.network, this.#options.namespace);
    const source = readSource(request, remote, target, config);
    if (target.kind === "refused") {
      metrics.tunnelRefused("unmanaged");
      log.warn("tunnel refused", {
        peer: formatSpiffeId(request.peerIdentity),
        authority: request.authority,
        reason: target.reason,
      });
      request.abort();
      return;
    }
    if (source.kind === "bad-request") {
      metrics.tunnelRefused("bad-request");
      log.warn("tunnel refused", {
        peer: formatSpiffeId(request.peerIdentity),
        authority: request.authority,
        reason: source.reason,
      });
      request.refuse(400);
      return;
    }
    if (source.ignoredHairpinHeader) {
      metrics.hairpinHeaderIgnored();
      log.warn("x-hairpin-source ignored", {
        peer: formatSpiffeId(request.peerIdentity),
        "src.addr": remote.ip,
        authority: request.authority,
      });
    }
    this.#open++;
    const done = (): void => void this.#open--;
    this.#serveBytes(request.accept(), target, { target, source: source.source }).then(done, (error: unknown) => {
      done();
      log.error("tunnel failed", { authority: request.authority, error: errorMessage(error) });
    });
  }

  async #serveBytes(
    tunnel: Tunnel,
    target: ManagedTarget,
    context: { target: ManagedTarget; source: Parameters<typeof serveTcp>[1]["source"] },
  ): Promise<void> {
    const protocol: PortProtocol =
      target.kind === "service" ? target.port.protocol : target.managed.protocolOf(target.address.port);
    if (protocol === "tcp" || protocol === "tls") return await serveTcp(tunnel, context, this.#components);
    const silenceMs = protocol === "unknown" ? sniffSilenceMs : httpSilenceMs;
    const sniffed = await sniff(tunnel, this.#components.clock, silenceMs);
    if (!sniffed) return;
    // On a port that is declared HTTP, bytes that do not begin like HTTP are the HTTP/1 parser's to refuse.
    const kind = sniffed.kind === "bytes" && protocol !== "unknown" ? "http1" : sniffed.kind;
    if (kind === "bytes") return await serveTcp(sniffed.channel, context, this.#components);
    await new Promise<void>((resolve) => {
      const connection = serveHttp(sniffed.channel, kind, context, this.#components, () => {
        this.#connections.delete(connection);
        resolve();
      });
      this.#connections.add(connection);
    });
  }
}

/** Clients of HTTP ports may open connections ahead of their requests. */
const httpSilenceMs = 60 * 60_000;
