// Certificates for tests, which can also be wrong in every way.
import { generateKeyPairSync, type KeyObject } from "node:crypto";
import type { TlsMaterial } from "./engine.ts";
import { der, derSequence, signCertificate, toPem } from "./sign-certificate.ts";

export { der };

export function extension(oid: readonly number[], value: Uint8Array, critical = false): Buffer {
  return derSequence(der(0x06, oid), ...(critical ? [der(0x01, [0xff])] : []), der(0x04, value));
}

export const subjectAltNameOid: readonly number[] = [0x55, 0x1d, 0x11];

/** A subjectAltName extension of URI names. */
export function uriSans(...uris: readonly string[]): Buffer {
  return extension(subjectAltNameOid, derSequence(...uris.map((uri) => der(0x86, Buffer.from(uri, "latin1")))));
}

export interface TestCertificate {
  readonly der: Buffer;
  readonly pem: string;
  readonly privateKey: KeyObject;
  readonly name: string;
}

export interface CertificateRequest {
  readonly name: string;
  readonly issuer?: TestCertificate;
  readonly isAuthority?: boolean;
  readonly extensions?: readonly Uint8Array[];
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

/** Signs a certificate with a key of its own (P-256); self-signed without an issuer. */
export function createTestCertificate(request: CertificateRequest): TestCertificate {
  const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const hour = 3_600_000;
  const authority = extension([0x55, 0x1d, 0x13], derSequence(der(0x01, [0xff])), true);
  const certificate = signCertificate({
    name: request.name,
    issuerName: request.issuer?.name ?? request.name,
    publicKey,
    signer: request.issuer?.privateKey ?? privateKey,
    notBefore: request.notBefore ?? new Date(Date.now() - hour),
    notAfter: request.notAfter ?? new Date(Date.now() + hour),
    extensions: [...(request.isAuthority ? [authority] : []), ...(request.extensions ?? [])],
  });
  return { der: certificate, pem: toPem(certificate, "CERTIFICATE"), privateKey, name: request.name };
}

export function createTestRoot(name: string = "test root"): TestCertificate {
  return createTestCertificate({ name, isAuthority: true });
}

/** Material for one side: a leaf (with intermediates after it) and the roots it accepts. */
export function materialOf(
  leaf: TestCertificate,
  roots: readonly TestCertificate[],
  intermediates: readonly TestCertificate[] = [],
): TlsMaterial {
  return {
    certificateChain: [leaf, ...intermediates].map((certificate) => certificate.pem).join(""),
    privateKey: leaf.privateKey.export({ type: "pkcs8", format: "pem" }),
    roots: roots.map((root) => root.pem),
  };
}
