import { type KeyObject, sign, verify } from "node:crypto";
import { type Asn1, childrenOf, oid, oidOf, sequence, toDerBytes } from "./der.ts";
import forge from "node-forge";

interface SignatureAlgorithm {
  readonly oid: string;
  readonly keyType: "ec" | "rsa";
  readonly hash: "sha256" | "sha384" | "sha512";
}

/** RFC 5758 §3.2, RFC 4055 §5. SHA-1 and MD5 are not here on purpose. */
const algorithms: readonly SignatureAlgorithm[] = [
  { oid: "1.2.840.10045.4.3.2", keyType: "ec", hash: "sha256" },
  { oid: "1.2.840.10045.4.3.3", keyType: "ec", hash: "sha384" },
  { oid: "1.2.840.10045.4.3.4", keyType: "ec", hash: "sha512" },
  { oid: "1.2.840.113549.1.1.11", keyType: "rsa", hash: "sha256" },
  { oid: "1.2.840.113549.1.1.12", keyType: "rsa", hash: "sha384" },
  { oid: "1.2.840.113549.1.1.13", keyType: "rsa", hash: "sha512" },
];

/** Is this an algorithm that certificates may be signed with, by its dotted OID? */
export function isAcceptedSignature(id: string): boolean {
  return algorithms.some((one) => one.oid === id);
}

/** AlgorithmIdentifier of the signatures that this key makes with SHA-256. Throws `Error` for keys that are neither EC nor RSA. */
export function signatureAlgorithmOf(key: KeyObject): Asn1 {
  const found = algorithms.find((one) => one.keyType === key.asymmetricKeyType && one.hash === "sha256");
  if (found === undefined) throw new Error(`A ${key.asymmetricKeyType ?? "symmetric"} key cannot sign certificates`);
  // EC: parameters absent (RFC 5758); RSA: NULL (RFC 4055).
  if (found.keyType === "ec") return sequence(oid(found.oid));
  return sequence(oid(found.oid), createNull());
}

/** A SHA-256 signature; ECDSA as DER. */
export function signBytes(bytes: Uint8Array, privateKey: KeyObject): Uint8Array {
  return sign("sha256", bytes, privateKey);
}

/** Does the signature fit the bytes? The named algorithm must be of the key's own kind. Throws `Error` on unknown algorithms. */
export function verifySignature(
  bytes: Uint8Array,
  algorithm: Asn1 | undefined,
  signature: Uint8Array,
  publicKey: KeyObject,
): boolean {
  const [id, ...parameters] = childrenOf(algorithm, "signature algorithm");
  const name = oidOf(id, "signature algorithm");
  const found = algorithms.find((one) => one.oid === name);
  if (found === undefined) throw new Error(`signature algorithm ${name} is not accepted`);
  if (found.keyType !== publicKey.asymmetricKeyType)
    throw new Error(`signature algorithm ${name} does not fit the key`);
  // RFC 5758 §3.2: none for ECDSA. RFC 4055 §5: NULL for RSA, and none is to be accepted.
  if (parameters.length > (found.keyType === "rsa" ? 1 : 0) || parameters.some((one) => !isNull(one)))
    throw new Error(`signature algorithm ${name} has parameters that it must not have`);
  return verify(found.hash, bytes, publicKey, signature);
}

function createNull(): Asn1 {
  return forge.asn1.create(forge.asn1.Class.UNIVERSAL, forge.asn1.Type.NULL, false, "");
}

function isNull(node: Asn1): boolean {
  return Buffer.from(toDerBytes(node)).equals(Buffer.of(5, 0));
}
