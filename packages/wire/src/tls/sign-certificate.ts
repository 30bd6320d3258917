// Just enough DER to sign a certificate: for the probe of an engine at start, and for tests.
import { type KeyObject, randomBytes, sign } from "node:crypto";

type Content = Uint8Array | readonly number[];

/** One DER element. */
export function der(tag: number, ...contents: readonly Content[]): Buffer {
  const content = Buffer.concat(contents.map((part) => Uint8Array.from(part)));
  return Buffer.concat([Buffer.from([tag]), derLength(content.length), content]);
}

export function derSequence(...contents: readonly Content[]): Buffer {
  return der(0x30, ...contents);
}

export interface CertificateFields {
  readonly name: string;
  readonly issuerName: string;
  readonly publicKey: KeyObject;
  /** Private key of the issuer, P-256. */
  readonly signer: KeyObject;
  readonly notBefore: Date;
  readonly notAfter: Date;
  /** DER of each extension. */
  readonly extensions: readonly Uint8Array[];
}

/** An X.509 v3 certificate as DER (RFC 5280 §4.1), with a random serial number. */
export function signCertificate(fields: CertificateFields): Buffer {
  const tbs = derSequence(
    der(0xa0, der(0x02, [2])),
    der(0x02, [1, ...randomBytes(7)]),
    ecdsaWithSha256,
    commonName(fields.issuerName),
    derSequence(generalizedTime(fields.notBefore), generalizedTime(fields.notAfter)),
    commonName(fields.name),
    fields.publicKey.export({ type: "spki", format: "der" }),
    ...(fields.extensions.length > 0 ? [der(0xa3, derSequence(...fields.extensions))] : []),
  );
  return derSequence(tbs, ecdsaWithSha256, der(0x03, [0], sign("sha256", tbs, fields.signer)));
}

/** PEM text of DER bytes. */
export function toPem(bytes: Buffer, label: string): string {
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join("\n")}\n-----END ${label}-----\n`;
}

const ecdsaWithSha256 = derSequence(der(0x06, [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02]));

function derLength(length: number): Buffer {
  if (length < 0x80) return Buffer.from([length]);
  if (length < 0x100) return Buffer.from([0x81, length]);
  if (length < 0x10000) return Buffer.from([0x82, length >> 8, length & 0xff]);
  return Buffer.from([0x83, length >> 16, (length >> 8) & 0xff, length & 0xff]);
}

function commonName(name: string): Buffer {
  return derSequence(der(0x31, derSequence(der(0x06, [0x55, 0x04, 0x03]), der(0x0c, Buffer.from(name)))));
}

function generalizedTime(date: Date): Buffer {
  return der(0x18, Buffer.from(date.toISOString().replaceAll(/[-:T]|\.\d+/g, "")));
}
