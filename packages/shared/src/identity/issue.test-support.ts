/** For tests of this folder: an authority in memory. */
import { createKeyPair, formatPrivateKey, type KeyPair } from "./key-pair.ts";
import type { Identity } from "../model/identity.ts";
import type { ExtendedKeyUsage, SubjectAltNames } from "./extension.ts";
import {
  type AuthorityCertificate,
  buildCertificate,
  type CertificateTemplate,
  createIssuer,
  createRootCertificate,
  type Issuer,
} from "./issue-certificate.ts";

export const web: Identity = {
  trustDomain: "cluster.local",
  namespace: "shop",
  serviceAccount: "web",
};
export const webUri = "spiffe://cluster.local/ns/shop/sa/web";

/** Whole seconds, as certificates have them. */
export const now: Date = new Date("2026-11-21T12:00:00Z");

export function hoursFromNow(hours: number): Date {
  return new Date(now.getTime() + hours * 3_600_000);
}

export interface TestRoot {
  readonly authority: AuthorityCertificate;
  readonly issuer: Issuer;
}

export function createTestRoot(organization = "cluster.local"): TestRoot {
  const authority = createRootCertificate(organization, now, createKeyPair());
  return { authority, issuer: createIssuer(authority) };
}

/** What may differ; null leaves out what {@link buildLeaf} would fill in. */
export interface LeafTemplate extends Partial<Omit<CertificateTemplate, "names" | "extendedKeyUsages">> {
  readonly names?: SubjectAltNames | null;
  readonly extendedKeyUsages?: readonly ExtendedKeyUsage[] | null;
}

/** A leaf for {@link web}, valid for an hour around {@link now}, that differs in what is named. */
export function buildLeaf(
  issuer: Issuer | "self",
  template: LeafTemplate = {},
  keyPair: KeyPair = createKeyPair(),
): { readonly pem: string; readonly privateKeyPem: string } {
  const {
    names = { uris: [webUri] },
    extendedKeyUsages = ["serverAuth", "clientAuth"] as const satisfies readonly ExtendedKeyUsage[],
    ...others
  } = template;
  const pem = buildCertificate(
    {
      publicKey: keyPair.publicKey,
      notBefore: hoursFromNow(-1),
      notAfter: hoursFromNow(1),
      keyUsages: ["digitalSignature", "keyEncipherment"],
      ...(names === null ? {} : { names }),
      ...(extendedKeyUsages === null ? {} : { extendedKeyUsages }),
      ...others,
    },
    issuer === "self" ? { selfKey: keyPair.privateKey } : issuer,
  );
  return { pem, privateKeyPem: formatPrivateKey(keyPair) };
}
