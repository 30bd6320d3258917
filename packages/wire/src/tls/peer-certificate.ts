import { WireError } from "../errors.ts";
import { type DerElement, DerReader, derTag, malformed } from "./der-reader.ts";

/** Far above any real certificate; below what makes reading it a burden. */
const maxCertificateBytes = 16 * 1024;

/** 2.5.29.17, the content of its OBJECT IDENTIFIER. */
const subjectAltName: readonly number[] = [0x55, 0x1d, 0x11];

/** Context-specific tags of TBSCertificate (RFC 5280 §4.1) and of GeneralName (§4.2.1.6). */
const versionTag = 0xa0;
const issuerUniqueIdTag = 0x81;
const subjectUniqueIdTag = 0x82;
const extensionsTag = 0xa3;
const uriTag = 0x86;
/** The others: otherName, rfc822Name, dNSName, x400Address, directoryName, ediPartyName, iPAddress, registeredID. */
const otherNameTags: readonly number[] = [0xa0, 0x81, 0x82, 0xa3, 0xa4, 0xa5, 0x87, 0x88];

/**
 * The URI names of a certificate's subjectAltName, byte-exact, in order; empty when there are none. Throws
 * `CERTIFICATE_MALFORMED` or `CERTIFICATE_TOO_LARGE` (16 KiB): a certificate that is not strict DER has no identity.
 *
 * Reads only the path to the names and trusts nothing: signatures and validity are TLS's to check. Node's
 * `subjectAltName` is a display string in which a hostile name can imitate others.
 */
export function readUriSans(der: Uint8Array): string[] {
  if (der.length > maxCertificateBytes) {
    throw new WireError("CERTIFICATE_TOO_LARGE", `Certificate of ${der.length} bytes exceeds ${maxCertificateBytes}`);
  }
  const extensions = readExtensions(der);
  if (extensions === undefined) return [];
  let names: string[] | undefined;
  while (!extensions.done) {
    const value = readSubjectAltName(extensions.inside(extensions.expect(derTag.sequence, "Extension")), der);
    if (value === undefined) continue;
    // RFC 5280 §4.2: an extension may appear once; readers that take the first and the last would disagree.
    if (names !== undefined) throw malformed("two subjectAltName extensions");
    names = readUris(new DerReader(der, value.start, value.end), der);
  }
  return names ?? [];
}

/** A reader at the first Extension, or undefined when the certificate has none. */
function readExtensions(der: Uint8Array): DerReader | undefined {
  const whole = new DerReader(der);
  const certificate = whole.inside(whole.expect(derTag.sequence, "Certificate"));
  whole.expectDone("the certificate");
  const tbs = certificate.inside(certificate.expect(derTag.sequence, "TBSCertificate"));
  certificate.expect(derTag.sequence, "signatureAlgorithm");
  certificate.expect(0x03, "signatureValue");
  certificate.expectDone("the signature");

  tbs.optional(versionTag);
  tbs.expect(derTag.integer, "serialNumber");
  for (const field of ["signature", "issuer", "validity", "subject", "subjectPublicKeyInfo"])
    tbs.expect(derTag.sequence, field);
  tbs.optional(issuerUniqueIdTag);
  tbs.optional(subjectUniqueIdTag);
  const wrapper = tbs.optional(extensionsTag);
  tbs.expectDone("TBSCertificate");
  if (wrapper === undefined) return undefined;
  const explicit = tbs.inside(wrapper);
  const list = explicit.inside(explicit.expect(derTag.sequence, "Extensions"));
  explicit.expectDone("Extensions");
  return list;
}

/** The extnValue when the extension is subjectAltName. */
function readSubjectAltName(extension: DerReader, der: Uint8Array): DerElement | undefined {
  const identifier = extension.expect(derTag.objectIdentifier, "extnID");
  extension.optional(derTag.boolean);
  const value = extension.expect(derTag.octetString, "extnValue");
  extension.expectDone("extnValue");
  const length = identifier.end - identifier.start;
  const matches = subjectAltName.every((byte, index) => der[identifier.start + index] === byte);
  return length === subjectAltName.length && matches ? value : undefined;
}

function readUris(value: DerReader, der: Uint8Array): string[] {
  const names = value.inside(value.expect(derTag.sequence, "GeneralNames"));
  value.expectDone("GeneralNames");
  const uris: string[] = [];
  while (!names.done) {
    const name = names.next();
    if (name.tag === uriTag) uris.push(readIa5String(der.subarray(name.start, name.end)));
    else if (!otherNameTags.includes(name.tag)) throw malformed(`tag 0x${name.tag.toString(16)} is no GeneralName`);
  }
  return uris;
}

function readIa5String(bytes: Uint8Array): string {
  if (bytes.some((byte) => byte > 0x7f)) throw malformed("a URI has a byte above 0x7f");
  return Buffer.from(bytes).toString("latin1");
}
