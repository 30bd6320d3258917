import type { X509Certificate } from "node:crypto";
import type { Identity } from "../model/identity.ts";
import { type Clock, systemClock } from "../process/clock.ts";
import { type Certificate, findPath, readX509, splitCertificates } from "./certificate.ts";
import { verifyCsr } from "./csr.ts";
import { IdentityError } from "./errors.ts";
import { type AuthorityCertificate, createIssuer, issueCertificate, type Issuer } from "./issue-certificate.ts";
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

/** A wrong order or a missing link would be found by every client instead of here. */
function checkSentChain(issuer: Issuer, intermediates: readonly string[], roots: readonly string[]): void {
  const chain = intermediates.map((pem) => readX509(pem));
  const rootCertificates = roots.map((pem) => readX509(pem));
  // A cross-signed certificate of the same key serves as well.
  const isOwn = (one: X509Certificate): boolean => one.checkPrivateKey(issuer.privateKey);
  const [first] = chain;
  if (first === undefined ? !rootCertificates.some(isOwn) : !isOwn(first))
    throw new IdentityError(
      "CERTIFICATE_INVALID",
      "The authority's certificate is neither a root nor the first of the intermediates",
    );
  if (first !== undefined) findPath(chain, rootCertificates);
}

/** An authority over one CA certificate. Throws `CERTIFICATE_INVALID` or `TRUST_BUNDLE_INVALID` for bad material. */
export function createCertificateAuthority(options: AuthorityOptions): CertificateAuthority {
  const { clock = systemClock } = options;
  const issuer = createIssuer(options.authority);
  const intermediates = splitCertificates(options.intermediatesPem ?? "");
  const roots = parseTrustBundle(options.rootBundlePem);
  checkSentChain(issuer, intermediates, roots);
  const rootBundlePem = roots.join("");
  return {
    rootBundlePem,
    sign: (csrPem, grant) => {
      const { publicKey } = verifyCsr(csrPem);
      const leaf = issueCertificate(issuer, { publicKey, ...grant }, clock.wallTime());
      return [leaf.pem, ...intermediates, rootBundlePem];
    },
  };
}
