import { TlsContexts } from "@hairpin/shared/agent";
import type { Certificate } from "@hairpin/shared/identity";
import type { MeshChange, MeshLookup } from "@hairpin/shared/discovery";
import { equalIdentity, formatSpiffeId, type Identity, type Workload } from "@hairpin/shared/model";
import { type Clock, errorMessage } from "@hairpin/shared/process";
import type { TlsContext, TlsEngine } from "@hairpin/wire";
import { ZtunnelError } from "./response-flag.ts";

/** The part of the certificate store that is needed here. */
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
  readonly #components: LocalCertificatesComponents;
  readonly #nodeName: string;
  readonly #contexts: TlsContexts;
  /** Identities of local workloads, by workload uid. */
  readonly #byWorkload = new Map<string, Identity>();
  /** Uids of the workloads that have an identity, by SPIFFE ID. */
  readonly #holders = new Map<string, Set<string>>();

  constructor(components: LocalCertificatesComponents, nodeName: string) {
    this.#components = components;
    this.#contexts = new TlsContexts(components.tls, components.clock);
    this.#nodeName = nodeName;
  }

  /** The TLS context with the current certificate. Rejects with `CERTIFICATE_UNAVAILABLE`. */
  readonly contextFor = async (identity: Identity): Promise<TlsContext> => {
    const key = formatSpiffeId(identity);
    let certificate: Certificate;
    try {
      certificate = await this.#components.store.fetch(identity);
    } catch (cause) {
      const message = `identity error: no certificate for ${key}: ${errorMessage(cause)}`;
      throw new ZtunnelError(message, { code: "CERTIFICATE_UNAVAILABLE", origin: "internal", cause });
    }
    return this.#contexts.contextFor(certificate);
  };

  /** Starts with the workloads that are known and follows the mesh. Returns what stops it. */
  watch(): () => void {
    const { mesh } = this.#components;
    for (const workload of mesh.workloads()) this.#update(workload.uid, workload);
    return mesh.onChange((change) => this.#apply(change));
  }

  #apply(change: MeshChange): void {
    for (const uid of change.workloads) this.#update(uid, this.#components.mesh.findWorkloadByUid(uid));
  }

  #update(uid: string, workload: Workload | undefined): void {
    const before = this.#byWorkload.get(uid);
    const now = workload && this.#needsCertificate(workload) ? identityOf(workload) : undefined;
    if (equalIdentity(before, now)) return;
    // First the new one: an identity that merely moves between workloads is not given up and fetched again.
    if (now) this.#hold(uid, now);
    else this.#byWorkload.delete(uid);
    if (before) this.#release(uid, before);
  }

  #needsCertificate(workload: Workload): boolean {
    const takesTunnels = workload.tunnelProtocol === "HBONE" || workload.nativeTunnel;
    return takesTunnels && this.#nodeName !== "" && workload.node === this.#nodeName;
  }

  #hold(uid: string, identity: Identity): void {
    this.#byWorkload.set(uid, identity);
    const key = formatSpiffeId(identity);
    const holders = this.#holders.get(key) ?? new Set();
    this.#holders.set(key, holders.add(uid));
    if (holders.size === 1) this.#components.store.prefetch(identity);
  }

  #release(uid: string, identity: Identity): void {
    const key = formatSpiffeId(identity);
    const holders = this.#holders.get(key);
    holders?.delete(uid);
    if (holders && holders.size > 0) return;
    this.#holders.delete(key);
    this.#components.store.forget(identity);
    this.#contexts.forget(identity);
  }
}

function identityOf({ trustDomain, namespace, serviceAccount }: Workload): Identity {
  return { trustDomain, namespace, serviceAccount };
}
