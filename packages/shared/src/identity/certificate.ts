import { X509Certificate } from "node:crypto";
import { readUriSans } from "@hairpin/wire";
import { equalIdentity, formatSpiffeId, type Identity, parseSpiffeId } from "../model/identity.ts";
import { IdentityError } from "./errors.ts";
import { extendedKeyUsageOid } from "./extension.ts";
import { parseKeyPair } from "./key-pair.ts";
import { formatPem, parsePemOf } from "./pem.ts";

/** A workload's certificate with everything TLS needs. PEM texts. */
export interface Certificate {
  readonly identity: Identity;
  /** Leaf first, then intermediates, concatenated. Roots are not in it. */
  readonly chainPem: string;
  /** PKCS#8. Secret. */
  readonly privateKeyPem: string;
  /** Roots to verify peers with, one PEM each. */
  readonly rootsPem: readonly string[];
  readonly notBefore: Date;
  /** Of the leaf, or of an intermediate that ends earlier. */
  readonly notAfter: Date;
  /** Decimal. */
  readonly serial: string;
}

/**
 * The identity a certificate proves: its one URI name, read from DER by the same reader that judges peers. Throws
 * `CERTIFICATE_INVALID`: not strict DER, no or several URI names, or not an Istio SPIFFE ID.
 */
export function readCertificateIdentity(der: Uint8Array): Identity {
  try {
    const uris = readUriSans(der);
    if (uris.length !== 1) throw new Error(`it has ${uris.length} URI names instead of one`);
    return parseSpiffeId(uris[0] ?? "");
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new IdentityError("CERTIFICATE_INVALID", `Certificate proves no identity: ${reason}`, { cause });
  }
}

/** The certificates of a PEM text, one PEM each, in order. Throws `CERTIFICATE_INVALID`. */
export function splitCertificates(pem: string): string[] {
  try {
    return parsePemOf("CERTIFICATE", pem).map((der) => formatPem("CERTIFICATE", der));
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new IdentityError("CERTIFICATE_INVALID", `Certificates are not readable: ${reason}`, { cause });
  }
}

export interface IssuedChain {
  /** One PEM each: leaf, then intermediates. */
  readonly chain: readonly string[];
  /** One PEM each. */
  readonly roots: readonly string[];
  readonly privateKeyPem: string;
}

/** Deeper chains are refused, as TLS stacks would be slow on them. */
const maxChainLength = 5;

/**
 * Checks what a CA answered and makes a {@link Certificate} of it: the leaf is for `expected`, for both ends of TLS, and fits
 * the private key; each certificate is signed by the next and the last by one of the roots; all are valid at `now`. Throws
 * `CERTIFICATE_INVALID`.
 */
export function checkIssuedChain(issued: IssuedChain, expected: Identity, now: Date): Certificate {
  const chain = issued.chain.map((pem) => readX509(pem));
  const roots = issued.roots.map((pem) => readX509(pem));
  const leaf = chain[0];
  if (leaf === undefined) throw invalid("the CA sent no certificate");
  if (roots.length === 0) throw invalid("no root certificate present");
  if (chain.length > maxChainLength)
    throw invalid(`the chain has ${chain.length} certificates, more than ${maxChainLength}`);
  const identity = readCertificateIdentity(leaf.raw);
  if (!equalIdentity(identity, expected))
    throw invalid(`it is for ${formatSpiffeId(identity)} instead of ${formatSpiffeId(expected)}`);
  if (leaf.ca) throw invalid("it is a CA certificate");
  checkUsages(leaf);
  checkKey(leaf, issued.privateKeyPem);
  const path = findPath(chain, roots);
  for (const certificate of path) checkDates(certificate, now);
  const notAfter = path.map((one) => one.validToDate).reduce((a, b) => (a < b ? a : b));
  return {
    identity,
    chainPem: issued.chain.join(""),
    privateKeyPem: issued.privateKeyPem,
    rootsPem: issued.roots,
    notBefore: leaf.validFromDate,
    notAfter,
    serial: decimalSerial(leaf),
  };
}

export function isValidAt(certificate: Certificate, date: Date): boolean {
  return certificate.notBefore <= date && date < certificate.notAfter;
}

export function decimalSerial(certificate: X509Certificate): string {
  return BigInt(`0x${certificate.serialNumber}`).toString();
}

/** Throws `CERTIFICATE_INVALID` instead of OpenSSL's words. */
export function readX509(pem: string): X509Certificate {
  try {
    return new X509Certificate(pem);
  } catch (cause) {
    throw new IdentityError("CERTIFICATE_INVALID", "Certificate refused: it is not readable", { cause });
  }
}

/**
 * The whole path from leaf to root. A root that the CA put into the chain as well is not counted twice. Throws
 * `CERTIFICATE_INVALID`: a link or the root is missing.
 */
export function findPath(
  chain: readonly X509Certificate[],
  roots: readonly X509Certificate[],
): readonly X509Certificate[] {
  const isRoot = (one: X509Certificate): boolean => roots.some((root) => root.fingerprint256 === one.fingerprint256);
  const path = chain.filter((one, index) => index === 0 || !isRoot(one));
  for (const [index, certificate] of path.entries()) {
    const issuer = path[index + 1];
    if (issuer !== undefined && !isIssuedBy(certificate, issuer))
      throw invalid(`certificate ${index + 1} of the chain is not signed by the next`);
  }
  const last = path.at(-1);
  const root = roots.find((one) => last !== undefined && isIssuedBy(last, one));
  if (root === undefined) throw invalid("its chain ends in none of the roots that came with it");
  return [...path, root];
}

function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return issuer.ca && certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

function checkKey(leaf: X509Certificate, privateKeyPem: string): void {
  const { publicKey } = parseKeyPair(privateKeyPem);
  if (!leaf.publicKey.equals(publicKey)) throw invalid("it is for another key");
}

/** One certificate serves both directions. Without the extension nothing is restricted (RFC 5280 §4.2.1.12). */
function checkUsages(leaf: X509Certificate): void {
  const usages: readonly string[] | undefined = leaf.keyUsage;
  for (const [name, oid] of Object.entries(extendedKeyUsageOid)) {
    if (usages !== undefined && !usages.includes(oid)) throw invalid(`it is not for ${name}`);
  }
}

function checkDates(certificate: X509Certificate, now: Date): void {
  const { validFromDate, validToDate } = certificate;
  if (validToDate <= now) throw invalid(`it expired at ${validToDate.toISOString()}, now is ${now.toISOString()}`);
  if (validFromDate > now)
    throw invalid(`it is valid from ${validFromDate.toISOString()}, now is ${now.toISOString()}`);
}

function invalid(reason: string): IdentityError {
  return new IdentityError("CERTIFICATE_INVALID", `Certificate refused: ${reason}`);
}
