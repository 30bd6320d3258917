import { type Clock, type Component, type Timer, errorMessage } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { GrpcTls } from "@hairpin/shared/xds";
import type { ServerCertificate } from "./server-certificate.ts";
import { issueOwnServerCertificate } from "./server-certificate.ts";
import type { AuthoritySource } from "./signing-authority.ts";

/** Also the shortest time between two certificates. */
const retryMs = 60_000;

/** What our own ports serve with. */
export type ServingTls = GrpcTls & Required<Pick<GrpcTls, "clientRootsPem">> & Pick<ServerCertificate, "notAfter">;

export interface ServingNames {
  readonly rootNamespace: string;
  readonly clusterDomain: string;
  readonly ips: readonly string[];
}

/** The certificate of our own ports: made anew at two thirds of its life, and when the CA changes. */
export class ServingCertificate implements Component {
  readonly name = "server certificate";
  readonly #components: { readonly authorities: AuthoritySource; readonly clock: Clock; readonly logger: Logger };
  readonly #names: ServingNames;
  readonly #listeners = new Set<(tls: ServingTls) => void>();
  #current: ServingTls;
  #timer: Timer | undefined;
  #end: () => void = () => {};

  /** Throws when the CA cannot issue. */
  constructor(
    components: { readonly authorities: AuthoritySource; readonly clock: Clock; readonly logger: Logger },
    names: ServingNames,
  ) {
    this.#components = components;
    this.#names = names;
    this.#current = this.#issue();
  }

  get current(): ServingTls {
    return this.#current;
  }

  /** Calls back with each new one. Returns the way to stop. */
  onRenewed(listener: (tls: ServingTls) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  async start(): Promise<void> {
    this.#end = this.#components.authorities.onChange(() => this.#renew());
    this.#renewBefore(this.#current.notAfter);
    await Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#end();
    this.#timer?.cancel();
    await Promise.resolve();
  }

  #issue(): ServingTls {
    const { authorities, clock } = this.#components;
    const { authority, issuer, intermediatesPem } = authorities.current;
    const issued = issueOwnServerCertificate(issuer, this.#names, clock);
    return {
      ...issued,
      certificateChainPem: issued.certificateChainPem + intermediatesPem,
      clientRootsPem: authority.rootBundlePem,
    };
  }

  #renew(): void {
    const { clock, logger } = this.#components;
    try {
      this.#current = this.#issue();
      for (const listener of this.#listeners) listener(this.#current);
      logger.info("server certificate renewed", { expires: this.#current.notAfter.toISOString() });
      this.#renewBefore(this.#current.notAfter);
    } catch (error) {
      logger.error("server certificate could not be renewed", { error: errorMessage(error) });
      this.#timer?.cancel();
      this.#timer = clock.setTimer(retryMs, () => this.#renew(), { background: true });
    }
  }

  #renewBefore(notAfter: Date): void {
    const { clock } = this.#components;
    const life = notAfter.getTime() - clock.wallTime().getTime();
    this.#timer?.cancel();
    this.#timer = clock.setTimer(Math.max((life * 2) / 3, retryMs), () => this.#renew(), { background: true });
  }
}
