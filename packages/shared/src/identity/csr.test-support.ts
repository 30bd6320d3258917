/** For tests of this folder: certificate requests that differ from good ones in chosen places. */
import { type KeyObject, sign } from "node:crypto";
import { type Asn1, bitString, explicit, integer, oid, parseDer, sequence, set, toDerBytes } from "./der.ts";
import { basicConstraints, subjectAltName } from "./extension.ts";
import { createKeyPair, exportSpki, type KeyPair } from "./key-pair.ts";
import { formatPem } from "./pem.ts";

export const ecdsaSha256: Asn1 = sequence(oid("1.2.840.10045.4.3.2"));

/** What may differ. Whatever is not named is as it should be; the signature is made over what results. */
export interface RequestParts {
  readonly keyPair?: KeyPair;
  readonly version?: Asn1;
  readonly subject?: Asn1;
  /** SubjectPublicKeyInfo in place of the key pair's. */
  readonly spki?: Asn1;
  /** What follows the key. Default: an empty list of attributes. */
  readonly rest?: readonly Asn1[];
  /** The whole of the signed part, in place of the above. */
  readonly info?: Asn1;
  readonly algorithm?: Asn1;
  readonly sign?: (info: Uint8Array, key: KeyObject) => Uint8Array;
  /** The signature's element, in place of a BIT STRING. */
  readonly signature?: Asn1;
  /** What follows the signature. */
  readonly tail?: readonly Asn1[];
}

export function requestDer(parts: RequestParts = {}): Uint8Array {
  const keyPair = parts.keyPair ?? createKeyPair();
  const info =
    parts.info ??
    sequence(
      parts.version ?? integer(Buffer.of(0)),
      parts.subject ?? sequence(),
      parts.spki ?? parseDer(exportSpki(keyPair.publicKey)),
      ...(parts.rest ?? [attributes()]),
    );
  const signBytes = parts.sign ?? ((bytes, key): Uint8Array => sign("sha256", bytes, key));
  const signature = parts.signature ?? bitString(signBytes(toDerBytes(info), keyPair.privateKey));
  return toDerBytes(sequence(info, parts.algorithm ?? ecdsaSha256, signature, ...(parts.tail ?? [])));
}

export function requestPem(parts: RequestParts = {}): string {
  return formatPem("CERTIFICATE REQUEST", requestDer(parts));
}

/** `[0]` with these attributes. */
export function attributes(...list: Asn1[]): Asn1 {
  const wrapper = explicit(0, sequence());
  return { ...wrapper, value: list };
}

/** The attribute that asks for certificate extensions. */
export function extensionRequest(...extensions: Asn1[]): Asn1 {
  return sequence(oid("1.2.840.113549.1.9.14"), set(sequence(...extensions)));
}

/** Asks for the identity of somebody else, under three names, as a CA. */
export const greedyAttributes: Asn1 = attributes(
  extensionRequest(
    subjectAltName(
      { uris: ["spiffe://cluster.local/ns/istio-system/sa/ztunnel", "spiffe://x/ns/a/sa/b"], dnsNames: ["istiod"] },
      false,
    ),
    basicConstraints(true),
  ),
);

/** `depth` SEQUENCEs, each the only content of the one around it. */
export function nestedDer(depth: number): Uint8Array {
  let der: Buffer = Buffer.of(0x30, 0);
  for (let level = 1; level < depth; level++) {
    const { length } = der;
    const header =
      length < 0x80 ? [0x30, length] : length < 0x100 ? [0x30, 0x81, length] : [0x30, 0x82, length >> 8, length & 0xff];
    der = Buffer.concat([Buffer.from(header), der]);
  }
  return der;
}
