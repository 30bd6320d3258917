import type { Identity } from "../model/identity.ts";
import { type Clock, systemClock } from "../process/clock.ts";
import { type Certificate, splitCertificates } from "./certificate.ts";
import { verifyCsr } from "./csr.ts";
import { type AuthorityCertificate, createIssuer, issueCertificate } from "./issue-certificate.ts";
import { parseTrustBundle } from "./trust-bundle.ts";

/** Obtains certificates; the client's side. */
export interface CertificateSource {
  /** A new key and its certificate. Rejects with an error whose `code` says why. */
  fetchCertificate(identity: Identity, options?: { readonly signal?: AbortSignal }): Promise<Certificate>;
}

/** Signs requests; the authority's side. Who may have the identity was decided by the caller. */
export interface CertificateAuthority {
  /**
   * The answer as istiod gives it: leaf, intermediates one each, last the root bundle. Only the request's key is used. Throws
   * `CSR_INVALID`, `CERTIFICATE_TTL_TOO_LONG`, `ISSUER_EXPIRED`.
   */
  sign(csrPem: string, grant: { readonly identity: Identity; readonly ttlMs: number }): readonly string[];
  /** What verifies the certificates; concatenated PEM. */
  readonly rootBundlePem: string;
}

export interface AuthorityOptions {
  readonly authority: AuthorityCertificate;
  /** Between the authority's certificate (included, when it is not a root itself) and the roots; leaf side first. */
  readonly intermediatesPem?: string;
  readonly rootBundlePem: string;
  readonly clock?: Clock;
}

/** An authority over one CA certificate. Throws `CERTIFICATE_INVALID` or `TRUST_BUNDLE_INVALID` for bad material. */
export function createCertificateAuthority(options: AuthorityOptions): CertificateAuthority {
  const { clock = systemClock } = options;
  const issuer = createIssuer(options.authority);
  const intermediates = splitCertificates(options.intermediatesPem ?? "");
  const rootBundlePem = parseTrustBundle(options.rootBundlePem).join("");
  return {
    rootBundlePem,
    sign: (csrPem, grant) => {
      const { publicKey } = verifyCsr(csrPem);
      const leaf = issueCertificate(issuer, { publicKey, ...grant }, clock.wallTime());
      return [leaf.pem, ...intermediates, rootBundlePem];
    },
  };
}
