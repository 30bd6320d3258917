import { type Clock, type Component, type Timer, errorMessage } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import { type GrpcListener, type GrpcService, type GrpcTls, listenGrpc } from "@hairpin/shared/xds";

/** What is served with, and until when. */
export interface ServingTls extends GrpcTls {
  readonly notAfter: Date;
}

/**
 * 15012: xDS and CA over TLS. Takes a fresh certificate at two thirds of the old one's life, and when the CA changes; open
 * connections stay.
 */
export class SecureListener implements Component {
  readonly name = "secure xds and ca";
  readonly #components: SecureListenerComponents;
  readonly #options: { readonly host: string; readonly port: number };
  #listener: GrpcListener | undefined;
  #renewal: Timer | undefined;
  #stopped = false;

  constructor(components: SecureListenerComponents, options: { readonly host: string; readonly port: number }) {
    this.#components = components;
    this.#options = options;
  }

  /** The port in use; 0 before it listens. */
  get port(): number {
    return this.#listener?.port ?? 0;
  }

  /** Waits until there is something to serve: a client that came before would be refused, not answered. */
  async start(): Promise<void> {
    try {
      await this.#components.whenServing();
    } catch (error) {
      // Stopped before there was anything to serve.
      if (this.#stopped) return;
      throw error;
    }
    const { issue, services } = this.#components;
    const tls = issue();
    this.#listener = await listenGrpc({ ...this.#options, tls, services });
    this.#renewBefore(tls.notAfter);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#renewal?.cancel();
    await this.#listener?.close();
  }

  /** Serves new connections with a fresh certificate. Before it listens: nothing to do. */
  renew(): void {
    if (this.#listener === undefined || this.#stopped) return;
    const { clock, issue, logger } = this.#components;
    try {
      const tls = issue();
      this.#listener.replaceTls(tls);
      this.#renewBefore(tls.notAfter);
      logger.info("server certificate renewed", { port: this.port, expires: tls.notAfter.toISOString() });
    } catch (error) {
      logger.error("server certificate could not be renewed", { error: errorMessage(error) });
      this.#renewal?.cancel();
      this.#renewal = clock.setTimer(retryMs, () => this.renew(), { background: true });
    }
  }

  #renewBefore(notAfter: Date): void {
    const { clock } = this.#components;
    const life = notAfter.getTime() - clock.wallTime().getTime();
    this.#renewal?.cancel();
    this.#renewal = clock.setTimer(Math.max((life * 2) / 3, retryMs), () => this.renew(), { background: true });
  }
}

const retryMs = 60_000;

export interface SecureListenerComponents {
  readonly issue: () => ServingTls;
  readonly services: readonly GrpcService[];
  readonly whenServing: () => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}
