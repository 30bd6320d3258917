// Certificate extensions (RFC 5280 §4.2), built and found.
import { createHash, type KeyObject } from "node:crypto";
import { ipBytes, type IpAddress } from "../model/address.ts";
import {
  type Asn1,
  bitsOf,
  bitString,
  boolean,
  childrenOf,
  contentOf,
  findTagged,
  implicit,
  integer,
  octetString,
  oid,
  oidOf,
  parseDer,
  sequence,
  toDerBytes,
} from "./der.ts";
import forge from "node-forge";
import { exportSpki } from "./key-pair.ts";

const extensionOid = {
  subjectKeyIdentifier: "2.5.29.14",
  keyUsage: "2.5.29.15",
  subjectAltName: "2.5.29.17",
  basicConstraints: "2.5.29.19",
  authorityKeyIdentifier: "2.5.29.35",
  extendedKeyUsage: "2.5.29.37",
} as const;

/** Bit numbers of RFC 5280 §4.2.1.3. */
const keyUsageBit = { digitalSignature: 0, keyEncipherment: 2, keyCertSign: 5, cRLSign: 6 } as const;
export type KeyUsage = keyof typeof keyUsageBit;

export const extendedKeyUsageOid = { serverAuth: "1.3.6.1.5.5.7.3.1", clientAuth: "1.3.6.1.5.5.7.3.2" } as const;
export type ExtendedKeyUsage = keyof typeof extendedKeyUsageOid;

export interface SubjectAltNames {
  readonly uris?: readonly string[];
  readonly dnsNames?: readonly string[];
  readonly ips?: readonly IpAddress[];
}

function extension(id: string, critical: boolean, value: Asn1): Asn1 {
  const wrapped = octetString(toDerBytes(value));
  return critical ? sequence(oid(id), boolean(true), wrapped) : sequence(oid(id), wrapped);
}

export function keyUsage(usages: readonly KeyUsage[]): Asn1 {
  let bits = 0;
  for (const usage of usages) bits |= 0x80 >> keyUsageBit[usage];
  // DER: trailing zero bits of a named bit list are left out (X.690 §11.2.2).
  const unused = bits === 0 ? 0 : 31 - Math.clz32(bits & -bits);
  return extension(extensionOid.keyUsage, true, bitString(Buffer.of(bits), unused));
}

export function extendedKeyUsage(usages: readonly ExtendedKeyUsage[]): Asn1 {
  return extension(
    extensionOid.extendedKeyUsage,
    false,
    sequence(...usages.map((one) => oid(extendedKeyUsageOid[one]))),
  );
}

/** `pathLength`: how many intermediates may follow below; only for a CA. */
export function basicConstraints(ca: boolean, pathLength?: number): Asn1 {
  const length = ca && pathLength !== undefined ? [integer(Buffer.of(pathLength))] : [];
  return extension(extensionOid.basicConstraints, true, ca ? sequence(boolean(true), ...length) : sequence());
}

export function subjectAltName(names: SubjectAltNames, critical: boolean): Asn1 {
  return extension(
    extensionOid.subjectAltName,
    critical,
    sequence(
      ...(names.uris ?? []).map((uri) => implicit(6, Buffer.from(uri))),
      ...(names.dnsNames ?? []).map((name) => implicit(2, Buffer.from(name))),
      ...(names.ips ?? []).map((ip) => implicit(7, ipBytes(ip))),
    ),
  );
}

/** RFC 7093 §2 (1): the leftmost 160 bits of the SHA-256 of the public key. */
export function keyIdentifier(publicKey: KeyObject): Uint8Array {
  const spki = childrenOf(parseDer(exportSpki(publicKey)), "public key");
  return createHash("sha256").update(bitsOf(spki[1], "public key")).digest().subarray(0, 20);
}

export function subjectKeyIdentifier(id: Uint8Array): Asn1 {
  return extension(extensionOid.subjectKeyIdentifier, false, octetString(id));
}

export function authorityKeyIdentifier(id: Uint8Array): Asn1 {
  return extension(extensionOid.authorityKeyIdentifier, false, sequence(implicit(0, id)));
}

/** The parts of a certificate that we read ourselves. */
export interface CertificateFields {
  readonly subject: Asn1;
  /** Content of each extension's OCTET STRING by its OID. */
  readonly extensions: ReadonlyMap<string, Uint8Array>;
}

/** Subject and extensions from DER. Throws `Error`; an extension that occurs twice is an error (RFC 5280 §4.2). */
export function readCertificateFields(der: Uint8Array): CertificateFields {
  const certificate = childrenOf(parseDer(der), "certificate");
  const all = childrenOf(certificate[0], "TBSCertificate");
  // version [0] is optional in v1; what we read has extensions and therefore is v3.
  const fields = findTagged(all.slice(0, 1), 0) === undefined ? all : all.slice(1);
  const subject = fields[4];
  if (subject === undefined) throw new Error("the certificate has no subject");
  childrenOf(subject, "subject");
  const wrapper = findTagged(fields, 3)?.value;
  const list = Array.isArray(wrapper) ? childrenOf(wrapper[0], "extensions") : [];
  const extensions = new Map<string, Uint8Array>();
  for (const item of list) {
    const parts = childrenOf(item, "extension");
    const id = oidOf(parts[0], "extension");
    if (extensions.has(id)) throw new Error(`extension ${id} occurs twice`);
    extensions.set(id, contentOf(parts.at(-1), forge.asn1.Type.OCTETSTRING, `extension ${id}`));
  }
  return { subject, extensions };
}

/** The key identifier that children of this certificate point to; undefined when it has none. */
export function readSubjectKeyIdentifier(fields: CertificateFields): Uint8Array | undefined {
  const content = fields.extensions.get(extensionOid.subjectKeyIdentifier);
  if (content === undefined) return undefined;
  return contentOf(parseDer(content), forge.asn1.Type.OCTETSTRING, "subject key identifier");
}
