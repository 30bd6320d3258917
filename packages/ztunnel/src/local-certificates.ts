import { TlsContexts } from "@hairpin/shared/agent";
import type { Certificate } from "@hairpin/shared/identity";
import type { MeshLookup } from "@hairpin/shared/discovery";
import { formatSpiffeId, type Identity } from "@hairpin/shared/model";
import { type Clock, errorMessage } from "@hairpin/shared/process";
import type { TlsContext, TlsEngine } from "@hairpin/wire";
import { LocalIdentities } from "./local-identities.ts";
import { ZtunnelError } from "./response-flag.ts";

/** Where certificates come from: the certificate store, or what asks it for another thread. */
export interface CertificateProvider {
  fetch(identity: Identity): Promise<Certificate>;
  prefetch(identity: Identity): void;
  forget(identity: Identity): void;
}

export interface LocalCertificatesComponents {
  readonly store: CertificateProvider;
  readonly tls: TlsEngine;
  readonly mesh: MeshLookup;
  readonly clock: Clock;
}

/**
 * Certificates and TLS contexts of the workloads on this node: fetched as soon as a workload that takes tunnels appears,
 * given up when the last workload of that identity is gone. One certificate an identity, whatever number of pods.
 */
export class LocalCertificates {
  readonly #store: CertificateProvider;
  readonly #contexts: TlsContexts;
  readonly #identities: LocalIdentities;

  constructor({ store, tls, mesh, clock }: LocalCertificatesComponents, nodeName: string) {
    this.#store = store;
    this.#contexts = new TlsContexts(tls, clock);
    this.#identities = new LocalIdentities(mesh, nodeName, {
      appeared: (identity) => store.prefetch(identity),
      gone: (identity) => {
        store.forget(identity);
        this.#contexts.forget(identity);
      },
    });
  }

  /** The TLS context with the current certificate. Rejects with `CERTIFICATE_UNAVAILABLE`. */
  readonly contextFor = async (identity: Identity): Promise<TlsContext> => {
    const key = formatSpiffeId(identity);
    let certificate: Certificate;
    try {
      certificate = await this.#store.fetch(identity);
    } catch (cause) {
      const message = `identity error: no certificate for ${key}: ${errorMessage(cause)}`;
      throw new ZtunnelError(message, { code: "CERTIFICATE_UNAVAILABLE", origin: "internal", cause });
    }
    return this.#contexts.contextFor(certificate);
  };

  /** Starts with the workloads that are known and follows the mesh. Returns what stops it. */
  watch(): () => void {
    return this.#identities.watch();
  }
}
