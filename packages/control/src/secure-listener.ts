import type { Clock, Component, Timer } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import { type GrpcListener, type GrpcService, listenGrpc } from "@hairpin/shared/xds";
import type { ServerCertificate } from "./authority/server-certificate.ts";

/** 15012: xDS and CA over TLS. Listens anew with a fresh certificate at two thirds of the old one's life. */
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
    await this.#listen(this.#options.port);
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#renewal?.cancel();
    await this.#listener?.close();
  }

  async #listen(port: number): Promise<void> {
    const { clock, issue, services } = this.#components;
    const certificate = issue();
    this.#listener = await listenGrpc({ host: this.#options.host, port, tls: certificate, services });
    const life = certificate.notAfter.getTime() - clock.wallTime().getTime();
    this.#renewal = clock.setTimer((life * 2) / 3, () => void this.#renew(), { background: true });
  }

  /** Clients reconnect and resume with what they hold. */
  async #renew(): Promise<void> {
    const { port } = this;
    this.#components.logger.info("server certificate is renewed", { port });
    try {
      await this.#listener?.close();
      if (!this.#stopped) await this.#listen(port);
    } catch (error) {
      this.#components.logger.error("secure port could not be opened again", { port, error });
      if (!this.#stopped) this.#renewal = this.#components.clock.setTimer(1000, () => void this.#renew());
    }
  }
}

export interface SecureListenerComponents {
  readonly issue: () => ServerCertificate;
  readonly services: readonly GrpcService[];
  readonly whenServing: () => Promise<void>;
  readonly clock: Clock;
  readonly logger: Logger;
}
