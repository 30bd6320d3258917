import { randomBytes } from "node:crypto";
import {
  type AuthorityCertificate,
  buildCertificate,
  type Certificate,
  type CertificateAuthority,
  createCertificateAuthority,
  createIntermediateCertificate,
  createIssuer,
  createKeyPair,
  createRootCertificate,
  createTlsMaterial,
  decimalSerial,
  formatPrivateKey,
  type Issuer,
  issueServerCertificate,
  readX509,
} from "@hairpin/shared/identity";
import { formatSpiffeId, type Identity, parseSpiffeId } from "@hairpin/shared/model";
import type { Clock } from "@hairpin/shared/process";
import type { TlsMaterial } from "@hairpin/wire";

const hour = 3_600_000;

export interface TestAuthorityOptions {
  /** Default cluster.local. */
  readonly trustDomain?: string;
  /** Issue by an intermediate instead of the root. */
  readonly intermediate?: boolean;
  /** Sign with this root, a running mesh's say. Default: a new one. */
  readonly root?: AuthorityCertificate;
  /** The time at which it was made; default now. */
  readonly now?: Date;
}

/** How a certificate differs from a good one. */
export interface CertificateOverrides {
  readonly expired?: boolean;
  readonly notYetValid?: boolean;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** URI names besides the identity's. */
  readonly extraUris?: readonly string[];
  /** URI names instead of the identity's; [] for none. */
  readonly uris?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly wrongTrustDomain?: boolean;
  readonly ca?: boolean;
  readonly extendedKeyUsages?: readonly ("serverAuth" | "clientAuth")[];
  /** Signed by its own key, with the authority's roots beside it. */
  readonly selfSigned?: boolean;
  /** Leave intermediates out of the chain. */
  readonly withoutIntermediates?: boolean;
  /** Roots to trust, instead of the authority's. */
  readonly roots?: readonly string[];
}

/** A mesh CA for tests: quick, in memory, and able to issue what a real one must not. */
export class TestAuthority {
  readonly trustDomain: string;
  readonly root: AuthorityCertificate;
  /** What signs leaves: the root or the intermediate. */
  readonly signing: AuthorityCertificate;
  readonly #issuer: Issuer;

  constructor(options: TestAuthorityOptions = {}) {
    const now = options.now ?? new Date();
    this.trustDomain = options.trustDomain ?? "cluster.local";
    // A name of its own, so that two authorities are never taken for one another by name alone.
    const organization = `${this.trustDomain} ${randomBytes(4).toString("hex")}`;
    this.root = options.root ?? createRootCertificate(organization, now, createKeyPair());
    this.signing = this.root;
    if (options.intermediate === true) {
      const rootIssuer = createIssuer(this.root);
      this.signing = createIntermediateCertificate(rootIssuer, `${organization} intermediate`, now, createKeyPair());
    }
    this.#issuer = createIssuer(this.signing);
  }

  get rootPem(): string {
    return this.root.certificatePem;
  }

  /** `identity("a/sleep")`: service account `sleep` of namespace `a` in this trust domain. A SPIFFE ID is taken as it is. */
  identity(name: string): Identity {
    if (name.startsWith("spiffe://")) return parseSpiffeId(name);
    const [namespace = "", serviceAccount = ""] = name.split("/");
    return { trustDomain: this.trustDomain, namespace, serviceAccount };
  }

  /** A certificate with a new key, valid for an hour unless the overrides say otherwise. */
  issue(identity: Identity | string, overrides: CertificateOverrides = {}): Certificate {
    const wanted = typeof identity === "string" ? this.identity(identity) : identity;
    const named = overrides.wrongTrustDomain === true ? { ...wanted, trustDomain: "other.example" } : wanted;
    const keyPair = createKeyPair();
    const uris = overrides.uris ?? [formatSpiffeId(named), ...(overrides.extraUris ?? [])];
    const hasNames = uris.length > 0 || overrides.dnsNames !== undefined;
    const leafPem = buildCertificate(
      {
        publicKey: keyPair.publicKey,
        ...(hasNames ? { names: { uris, dnsNames: overrides.dnsNames ?? [] } } : {}),
        ...validityOf(overrides),
        ca: overrides.ca ?? false,
        keyUsages:
          overrides.ca === true ? ["keyCertSign", "digitalSignature"] : ["digitalSignature", "keyEncipherment"],
        extendedKeyUsages: overrides.extendedKeyUsages ?? ["serverAuth", "clientAuth"],
      },
      overrides.selfSigned === true ? { selfKey: keyPair.privateKey } : this.#issuer,
    );
    const leaf = readX509(leafPem);
    const isDirect =
      this.signing === this.root || overrides.withoutIntermediates === true || overrides.selfSigned === true;
    return {
      identity: named,
      chainPem: isDirect ? leafPem : leafPem + this.signing.certificatePem,
      privateKeyPem: formatPrivateKey(keyPair),
      rootsPem: overrides.roots ?? [this.rootPem],
      notBefore: leaf.validFromDate,
      notAfter: leaf.validToDate,
      serial: decimalSerial(leaf),
    };
  }

  /** The same, ready for a TLS engine. */
  material(identity: Identity | string, overrides: CertificateOverrides = {}): TlsMaterial {
    return createTlsMaterial(this.issue(identity, overrides));
  }

  /** A certificate for a server known by host name or address (control plane), with its key. */
  issueServer(names: {
    readonly dnsNames?: readonly string[];
    readonly ips?: readonly string[];
  }): AuthorityCertificate {
    const keyPair = createKeyPair();
    const request = { publicKey: keyPair.publicKey, names, ttlMs: hour };
    const leaf = issueServerCertificate(this.#issuer, request, new Date());
    const chain = this.signing === this.root ? leaf.pem : leaf.pem + this.signing.certificatePem;
    return { certificatePem: chain, privateKeyPem: formatPrivateKey(keyPair) };
  }

  /** This authority as servers use it. */
  certificateAuthority(clock?: Clock): CertificateAuthority {
    return createCertificateAuthority({
      authority: this.signing,
      intermediatesPem: this.signing === this.root ? "" : this.signing.certificatePem,
      rootBundlePem: this.rootPem,
      ...(clock === undefined ? {} : { clock }),
    });
  }
}

function validityOf(overrides: CertificateOverrides): { notBefore: Date; notAfter: Date } {
  const now = Date.now();
  const standard =
    overrides.expired === true
      ? { notBefore: now - 2 * hour, notAfter: now - hour }
      : overrides.notYetValid === true
        ? { notBefore: now + hour, notAfter: now + 2 * hour }
        : { notBefore: now - 120_000, notAfter: now + hour };
  return {
    notBefore: overrides.notBefore ?? new Date(standard.notBefore),
    notAfter: overrides.notAfter ?? new Date(standard.notAfter),
  };
}
