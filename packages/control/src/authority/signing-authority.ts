import {
  type AuthorityCertificate,
  type CertificateAuthority,
  type Issuer,
  createCertificateAuthority,
  createIssuer,
} from "@hairpin/shared/identity";
import type { Clock } from "@hairpin/shared/process";

/** An issuer's certificate and key, what leads from it to a root, and the roots that verify it. PEM texts. */
export interface CaMaterial {
  readonly signing: AuthorityCertificate;
  /** What is sent after a leaf, its issuer first; "" when the issuer is a root itself. */
  readonly intermediatesPem: string;
  readonly rootsPem: string;
}

/** A CA that signs now. */
export interface SigningAuthority {
  readonly authority: CertificateAuthority;
  readonly issuer: Issuer;
  /** What a server of this CA sends after its own certificate; "" for a self-signed root. */
  readonly intermediatesPem: string;
}

/** Where the CA of this moment is had. */
export interface AuthoritySource {
  /** Throws before the CA was opened. */
  readonly current: SigningAuthority;
  /** Calls back after {@link AuthoritySource.current} became another. Returns the way to stop. */
  onChange(listener: () => void): () => void;
}

/** A CA that signs with this material and whose answers carry `rootBundlePem`. Throws `IdentityError` when the parts do not fit each other. */
export function createSigningAuthority(material: CaMaterial, rootBundlePem: string, clock: Clock): SigningAuthority {
  const { signing, intermediatesPem } = material;
  const authority = createCertificateAuthority({ authority: signing, rootBundlePem, clock, intermediatesPem });
  return { authority, issuer: createIssuer(signing), intermediatesPem };
}
