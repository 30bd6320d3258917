import type { InboundConnect, Tunnel } from "@hairpin/hbone";
import { formatSpiffeId, type SocketAddress } from "@hairpin/shared/model";
import { errorMessage, type Clock, type Drain } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { TunnelContext } from "../request-context.ts";
import { serveHttp, type HttpServerComponents } from "../serve-http.ts";
import type { ByteConnections } from "../byte-connections.ts";
import type { TrafficMetrics } from "../telemetry/traffic-metrics.ts";
import type { PortProtocol, WaypointConfig } from "../waypoint-config.ts";
import { readSource } from "./read-source.ts";
import { resolveAuthority, type TargetResolver } from "./resolve-target.ts";
import { sniff } from "./sniff.ts";

export interface TunnelServerComponents extends HttpServerComponents {
  readonly config: WaypointConfig;
  readonly resolver: TargetResolver;
  readonly byteConnections: ByteConnections;
  readonly clock: Clock;
  readonly drain: Drain;
  readonly logger: Logger;
  readonly metrics: TrafficMetrics;
}

/** How long a client of a port without a known protocol may stay silent before its connection is taken for bytes. */
const sniffSilenceMs = 200;
/** Clients of HTTP ports may open connections ahead of their requests. */
const httpSilenceMs = 60 * 60_000;

/**
 * Serves the tunnels of this waypoint: finds what each is for and on whose behalf it came, then hands its bytes to HTTP or
 * to the byte relay by the port's protocol. What is not ours is closed without an answer, as Envoy waypoints do.
 */
export class TunnelServer {
  readonly #components: TunnelServerComponents;
  readonly #log: Logger;

  constructor(components: TunnelServerComponents) {
    this.#components = components;
    this.#log = components.logger.child("tunnel");
  }

  serve(request: InboundConnect, remote: SocketAddress): void {
    const { config, metrics, resolver, drain } = this.#components;
    if (request.method !== "CONNECT") {
      this.#refuseBad(request, `${request.method} is not CONNECT`);
      return;
    }
    const target = resolveAuthority(request.authority, resolver);
    if (target.kind === "refused") {
      metrics.tunnelRefused("unmanaged");
      this.#logRefusal(request, target.reason);
      request.abort();
      return;
    }
    const result = readSource(request, remote, target, config);
    if (result.kind === "bad-request") {
      this.#refuseBad(request, result.reason);
      return;
    }
    if (result.ignoredHairpinHeader) {
      metrics.hairpinHeaderIgnored();
      this.#log.warn("x-hairpin-source ignored", {
        peer: formatSpiffeId(request.peerIdentity),
        "src.addr": remote.ip,
        authority: request.authority,
      });
    }
    const release = drain.track();
    const tunnel = request.accept();
    this.#serveBytes(tunnel, { target, source: result.source })
      .catch((error: unknown) => {
        this.#log.error("tunnel failed", { authority: request.authority, error: errorMessage(error) });
        tunnel.destroy(error instanceof Error ? error : undefined);
      })
      .finally(release);
  }

  async #serveBytes(tunnel: Tunnel, context: TunnelContext): Promise<void> {
    const { byteConnections, clock, drain } = this.#components;
    const protocol = protocolOf(context);
    if (protocol === "tcp" || protocol === "tls") return await byteConnections.serve(tunnel, context);
    const sniffing = sniff(tunnel, clock, protocol === "unknown" ? sniffSilenceMs : httpSilenceMs);
    // A tunnel that was on its way when draining began is served; one that was idle then is ended.
    const forget = drain.draining ? () => {} : drain.onBegin(() => sniffing.giveUp());
    const sniffed = await sniffing.result;
    forget();
    if (!sniffed) return;
    // On a port that is declared HTTP, bytes that do not begin like HTTP are the HTTP/1 parser's to refuse.
    const kind = sniffed.kind === "bytes" && protocol !== "unknown" ? "http1" : sniffed.kind;
    if (kind === "bytes") return await byteConnections.serve(sniffed.channel, context);
    const closed = Promise.withResolvers<void>();
    const { source, target } = context;
    const client = { source, address: target.address };
    const connection = serveHttp(sniffed.channel, kind, client, this.#components, () => closed.resolve());
    const forgetDrain = drain.onBegin(() => connection.drain());
    await closed.promise;
    forgetDrain();
  }

  #refuseBad(request: InboundConnect, reason: string): void {
    this.#components.metrics.tunnelRefused("bad-request");
    this.#logRefusal(request, reason);
    request.refuse(400);
  }

  #logRefusal(request: InboundConnect, reason: string): void {
    const { peerIdentity, authority } = request;
    this.#log.warn("tunnel refused", { peer: formatSpiffeId(peerIdentity), authority, reason });
  }
}

function protocolOf({ target }: TunnelContext): PortProtocol {
  return target.kind === "service" ? target.port.protocol : target.managed.protocolOf(target.address.port);
}
