// Certificates for tests, built from DER by hand so that they can also be wrong in every way.
import { generateKeyPairSync, randomBytes, sign } from "node:crypto";
import type { KeyObject } from "node:crypto";
import type { TlsMaterial } from "./engine.ts";

/** One DER element. */
export function der(tag: number, ...contents: readonly (Uint8Array | readonly number[])[]): Buffer {
  const content = Buffer.concat(contents.map((part) => Uint8Array.from(part)));
  return Buffer.concat([Buffer.from([tag]), derLength(content.length), content]);
}

function derLength(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  if (length < 0x100) return Buffer.from([0x81, length]);
  if (length < 0x10000) return Buffer.from([0x82, length >> 8, length & 0xff]);
  return Buffer.from([0x83, length >> 16, (length >> 8) & 0xff, length & 0xff]);
}

const sequence = (...contents: readonly (Uint8Array | readonly number[])[]): Buffer => der(0x30, ...contents);
const ecdsaWithSha256 = sequence(der(0x06, [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]));

function commonName(name: string): Buffer {
  return sequence(der(0x31, sequence(der(0x06, [0x55, 0x04, 0x03]), der(0x0c, Buffer.from(name)))));
}

function generalizedTime(date: Date): Buffer {
  return der(0x18, Buffer.from(date.toISOString().replaceAll(/[-:T]|\.\d+/g, "")));
}

export function extension(oid: readonly number[], value: Uint8Array, critical = false): Buffer {
  return sequence(der(0x06, oid), ...(critical ? [der(0x01, [0xff])] : []), der(0x04, value));
}

export const subjectAltNameOid: readonly number[] = [0x55, 0x1d, 0x11];

/** A subjectAltName extension of URI names. */
export function uriSans(...uris: readonly string[]): Buffer {
  return extension(subjectAltNameOid, sequence(...uris.map((uri) => der(0x86, Buffer.from(uri, "latin1")))));
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
  const authority = extension([0x55, 0x1d, 0x13], sequence(der(0x01, [0xff])), true);
  const extensions = [...(request.isAuthority ? [authority] : []), ...(request.extensions ?? [])];
  const tbs = sequence(
    der(0xa0, der(0x02, [2])),
    der(0x02, [1, ...randomBytes(7)]),
    ecdsaWithSha256,
    commonName(request.issuer?.name ?? request.name),
    sequence(
      generalizedTime(request.notBefore ?? new Date(Date.now() - hour)),
      generalizedTime(request.notAfter ?? new Date(Date.now() + hour)),
    ),
    commonName(request.name),
    publicKey.export({ type: "spki", format: "der" }),
    ...(extensions.length > 0 ? [der(0xa3, sequence(...extensions))] : []),
  );
  const signature = sign("sha256", tbs, request.issuer?.privateKey ?? privateKey);
  const certificate = sequence(tbs, ecdsaWithSha256, der(0x03, [0], signature));
  return { der: certificate, pem: toPem(certificate, "CERTIFICATE"), privateKey, name: request.name };
}

function toPem(bytes: Buffer, label: string): string {
  const lines = bytes
    .toString("base64")
    .replaceAll(/(.{64})/g, "$1\n")
    .trimEnd();
  return `-----BEGIN ${label}-----\n${lines}\n-----END ${label}-----\n`;
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
