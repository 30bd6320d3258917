import { type KeyObject, randomBytes, X509Certificate } from "node:crypto";
import { equalIdentity, formatSpiffeId, type Identity } from "../model/identity.ts";
import { decimalSerial, readCertificateIdentity, readX509 } from "./certificate.ts";
import {
  type Asn1,
  bitString,
  explicit,
  integer,
  oid,
  parseDer,
  sequence,
  set,
  time,
  toDerBytes,
  utf8String,
} from "./der.ts";
import { IdentityError } from "./errors.ts";
import {
  authorityKeyIdentifier,
  basicConstraints,
  type CertificateFields,
  type ExtendedKeyUsage,
  extendedKeyUsage,
  keyIdentifier,
  type KeyUsage,
  keyUsage,
  readCertificateFields,
  readSubjectKeyIdentifier,
  subjectAltName,
  type SubjectAltNames,
  subjectKeyIdentifier,
} from "./extension.ts";
import { exportSpki, findKeyFault, formatPrivateKey, type KeyPair, parseKeyPair } from "./key-pair.ts";
import { formatPem } from "./pem.ts";
import { signatureAlgorithmOf, signBytes } from "./signature-algorithm.ts";

const second = 1000;
const day = 24 * 3600 * second;

/** Clocks of a fleet differ: a certificate begins this much before it is made (as istiod). */
export const backdateMs: number = 120 * second;
/** When none, or nothing positive, was asked for (as istiod). */
export const defaultTtlMs: number = day;
/** Asking for more is an error (as istiod). */
export const maxTtlMs: number = 90 * day;
const authorityLifetimeMs = 3650 * day;

/** A CA certificate with its key, read once. */
export interface Issuer {
  readonly certificatePem: string;
  readonly certificate: X509Certificate;
  readonly privateKey: KeyObject;
  readonly subject: Asn1;
  readonly keyIdentifier: Uint8Array | undefined;
}

export interface IssuedCertificate {
  readonly pem: string;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** Decimal. */
  readonly serial: string;
}

/** An authority's own certificate with its key. */
export interface AuthorityCertificate {
  readonly certificatePem: string;
  /** PKCS#8. Secret. */
  readonly privateKeyPem: string;
}

/** All that a certificate says; {@link issueCertificate} and the others fill it in by their profile. */
export interface CertificateTemplate {
  readonly publicKey: KeyObject;
  /** Empty: empty subject, and the names become critical (RFC 5280 §4.2.1.6). */
  readonly organization?: string;
  readonly names?: SubjectAltNames;
  readonly notBefore: Date;
  readonly notAfter: Date;
  readonly ca?: boolean;
  readonly pathLength?: number;
  readonly keyUsages: readonly KeyUsage[];
  readonly extendedKeyUsages?: readonly ExtendedKeyUsage[];
}

/** Reads a CA certificate (the first of the text) and its key. Throws `CERTIFICATE_INVALID`: unreadable, no CA, they do not fit, or not EC or RSA. */
export function createIssuer(authority: AuthorityCertificate): Issuer {
  const certificate = readX509(authority.certificatePem);
  const { privateKey } = readIssuerKey(authority.privateKeyPem);
  if (!certificate.ca)
    throw new IdentityError("CERTIFICATE_INVALID", "The issuer's certificate is not a CA certificate");
  if (!certificate.checkPrivateKey(privateKey))
    throw new IdentityError("CERTIFICATE_INVALID", "The issuer's private key does not fit its certificate");
  const fields = readIssuerFields(certificate);
  return {
    certificatePem: authority.certificatePem,
    certificate,
    privateKey,
    subject: fields.subject,
    keyIdentifier: readSubjectKeyIdentifier(fields),
  };
}

/**
 * A workload certificate by istiod's profile: one critical SPIFFE URI, empty subject, serverAuth and clientAuth. `ttlMs` of 0 or
 * less means 24 h, above 90 days throws `CERTIFICATE_TTL_TOO_LONG`; the end is never after the issuer's (`ISSUER_EXPIRED` when
 * that is past). The key must have proved itself before ({@link verifyCsr}). `CERTIFICATE_INVALID`: a key or an identity that no
 * certificate can have.
 */
export function issueCertificate(
  issuer: Issuer,
  request: { readonly publicKey: KeyObject; readonly identity: Identity; readonly ttlMs: number },
  now: Date,
): IssuedCertificate {
  const issued = issueLeaf(issuer, { ...request, names: { uris: [formatSpiffeId(request.identity)] } }, now);
  // An identity with a slash or a NUL in a part would be another's when read back.
  if (!equalIdentity(readCertificateIdentity(readX509(issued.pem).raw), request.identity))
    throw new IdentityError("CERTIFICATE_INVALID", `${formatSpiffeId(request.identity)} is not an identity`);
  return issued;
}

function readIssuerKey(pem: string): KeyPair {
  let keyPair: KeyPair;
  try {
    keyPair = parseKeyPair(pem);
  } catch (cause) {
    throw new IdentityError("CERTIFICATE_INVALID", "The issuer's private key is not readable", { cause });
  }
  const type = keyPair.privateKey.asymmetricKeyType;
  if (type !== "ec" && type !== "rsa")
    throw new IdentityError("CERTIFICATE_INVALID", `The issuer's key is of type ${type} instead of EC or RSA`);
  return keyPair;
}

function readIssuerFields(certificate: X509Certificate): CertificateFields {
  try {
    return readCertificateFields(certificate.raw);
  } catch (cause) {
    throw new IdentityError("CERTIFICATE_INVALID", "The issuer's certificate is not strict DER", { cause });
  }
}

/** A server's certificate (control plane): as {@link issueCertificate}, with host names and addresses instead. */
export function issueServerCertificate(
  issuer: Issuer,
  request: { readonly publicKey: KeyObject; readonly names: SubjectAltNames; readonly ttlMs: number },
  now: Date,
): IssuedCertificate {
  return issueLeaf(issuer, request, now);
}

/** A self-signed root: P-256, 10 years. */
export function createRootCertificate(organization: string, now: Date, keyPair: KeyPair): AuthorityCertificate {
  return createAuthority({ organization, keyPair, now, issuer: undefined });
}

/** An intermediate below the issuer: P-256, 10 years at most, for leaves only. */
export function createIntermediateCertificate(
  issuer: Issuer,
  organization: string,
  now: Date,
  keyPair: KeyPair,
): AuthorityCertificate {
  return createAuthority({ organization, keyPair, now, issuer });
}

/** Builds and signs a certificate; `issuer` undefined: signed with `selfKey`. */
export function buildCertificate(
  template: CertificateTemplate,
  issuer: Issuer | { readonly selfKey: KeyObject },
): string {
  const subject = distinguishedName(template.organization);
  const isSelf = "selfKey" in issuer;
  const key = isSelf ? issuer.selfKey : issuer.privateKey;
  const authorityKeyId = isSelf ? undefined : issuer.keyIdentifier;
  const algorithm = signatureAlgorithmOf(key);
  const tbs = sequence(
    explicit(0, integer(Buffer.of(2))),
    integer(randomSerial()),
    algorithm,
    isSelf ? subject : issuer.subject,
    sequence(time(template.notBefore), time(template.notAfter)),
    subject,
    parseDer(exportSpki(template.publicKey)),
    explicit(3, sequence(...extensionsOf(template, authorityKeyId))),
  );
  const signature = signBytes(toDerBytes(tbs), key);
  return formatPem("CERTIFICATE", toDerBytes(sequence(tbs, algorithm, bitString(signature))));
}

interface LeafRequest {
  readonly publicKey: KeyObject;
  readonly names: SubjectAltNames;
  readonly ttlMs: number;
}

function issueLeaf(issuer: Issuer, request: LeafRequest, now: Date): IssuedCertificate {
  const fault = findKeyFault(request.publicKey);
  if (fault !== undefined) throw new IdentityError("CERTIFICATE_INVALID", `Key refused: ${fault}`);
  const validity = planValidity(issuer, request.ttlMs, now);
  const pem = buildCertificate(
    {
      publicKey: request.publicKey,
      names: request.names,
      ...validity,
      keyUsages: ["digitalSignature", "keyEncipherment"],
      extendedKeyUsages: ["serverAuth", "clientAuth"],
    },
    issuer,
  );
  return checkIssued(pem, issuer);
}

function planValidity(issuer: Issuer, ttlMs: number, now: Date): { notBefore: Date; notAfter: Date } {
  if (ttlMs > maxTtlMs)
    throw new IdentityError("CERTIFICATE_TTL_TOO_LONG", `A lifetime of ${ttlMs} ms is longer than ${maxTtlMs} ms`);
  const issuerEnd = issuer.certificate.validToDate;
  if (issuerEnd <= now)
    throw new IdentityError("ISSUER_EXPIRED", `The CA certificate expired at ${issuerEnd.toISOString()}`);
  const end = now.getTime() + (ttlMs > 0 ? ttlMs : defaultTtlMs);
  return {
    notBefore: new Date(now.getTime() - backdateMs),
    notAfter: new Date(Math.min(end, issuerEnd.getTime())),
  };
}

/** What leaves this module has been read back by OpenSSL: an encoder's mistake must not become an identity. */
function checkIssued(pem: string, issuer: Issuer): IssuedCertificate {
  const certificate = new X509Certificate(pem);
  if (!certificate.checkIssued(issuer.certificate) || !certificate.verify(issuer.certificate.publicKey))
    throw new IdentityError("CERTIFICATE_INVALID", "The certificate just built does not verify");
  return {
    pem,
    notBefore: certificate.validFromDate,
    notAfter: certificate.validToDate,
    serial: decimalSerial(certificate),
  };
}

function createAuthority(request: {
  readonly organization: string;
  readonly keyPair: KeyPair;
  readonly now: Date;
  readonly issuer: Issuer | undefined;
}): AuthorityCertificate {
  const { keyPair, now, issuer, organization } = request;
  const end = now.getTime() + authorityLifetimeMs;
  const template: CertificateTemplate = {
    publicKey: keyPair.publicKey,
    organization,
    notBefore: new Date(now.getTime() - backdateMs),
    notAfter: new Date(Math.min(end, issuer?.certificate.validToDate.getTime() ?? end)),
    ca: true,
    ...(issuer === undefined ? {} : { pathLength: 0 }),
    keyUsages: ["keyCertSign", "cRLSign"],
  };
  const certificatePem = buildCertificate(template, issuer ?? { selfKey: keyPair.privateKey });
  return { certificatePem, privateKeyPem: formatPrivateKey(keyPair) };
}

function extensionsOf(template: CertificateTemplate, authorityKeyId: Uint8Array | undefined): Asn1[] {
  const { names, extendedKeyUsages, ca = false } = template;
  return [
    keyUsage(template.keyUsages),
    ...(extendedKeyUsages === undefined ? [] : [extendedKeyUsage(extendedKeyUsages)]),
    basicConstraints(ca, template.pathLength),
    ...(ca ? [subjectKeyIdentifier(keyIdentifier(template.publicKey))] : []),
    ...(authorityKeyId === undefined ? [] : [authorityKeyIdentifier(authorityKeyId)]),
    ...(names === undefined ? [] : [subjectAltName(names, template.organization === undefined)]),
  ];
}

const organizationOid = "2.5.4.10";

function distinguishedName(organization: string | undefined): Asn1 {
  if (organization === undefined) return sequence();
  return sequence(set(sequence(oid(organizationOid), utf8String(organization))));
}

/** 128 random bits, never 0 (RFC 5280 §4.1.2.2 allows 20 bytes). */
function randomSerial(): Uint8Array {
  const serial = randomBytes(16);
  return serial.every((byte) => byte === 0) ? randomSerial() : serial;
}
