import { createPublicKey, type KeyObject } from "node:crypto";
import { formatSpiffeId, type Identity } from "../model/identity.ts";
import {
  type Asn1,
  bitsOf,
  bitString,
  childrenOf,
  contentOf,
  explicit,
  findTagged,
  integer,
  oid,
  parseDer,
  sequence,
  set,
  toDerBytes,
} from "./der.ts";
import forge from "node-forge";
import { IdentityError } from "./errors.ts";
import { subjectAltName } from "./extension.ts";
import { exportSpki, findKeyFault, isCanonicalSpki, type KeyPair } from "./key-pair.ts";
import { formatPem, parsePem } from "./pem.ts";
import { signatureAlgorithmOf, signBytes, verifySignature } from "./signature-algorithm.ts";

const extensionRequestOid = "1.2.840.113549.1.9.14";

/** A PKCS#10 request as ztunnel's: empty subject, one critical URI name, SHA-256 signature. PEM. */
export function createCsr(identity: Identity, keyPair: KeyPair): string {
  const extensions = sequence(subjectAltName({ uris: [formatSpiffeId(identity)] }, true));
  const attribute = sequence(oid(extensionRequestOid), set(extensions));
  const attributes = explicit(0, attribute);
  const info = sequence(integer(Buffer.of(0)), sequence(), parseDer(exportSpki(keyPair.publicKey)), attributes);
  const signature = signBytes(toDerBytes(info), keyPair.privateKey);
  const request = sequence(info, signatureAlgorithmOf(keyPair.privateKey), bitString(signature));
  return formatPem("CERTIFICATE REQUEST", toDerBytes(request));
}

/** What an authority takes from a request: the key, whose possession was proved. Names and extensions in it are ignored. */
export interface VerifiedCsr {
  readonly publicKey: KeyObject;
}

/**
 * Reads a PEM request of at most 16 KiB and checks its signature and key (P-256, P-384, RSA 2048 to 4096). Throws `CSR_INVALID`
 * with the reason.
 */
export function verifyCsr(pem: string): VerifiedCsr {
  try {
    return readCsr(pem);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new IdentityError("CSR_INVALID", `Certificate request refused: ${reason}`, { cause, origin: "downstream" });
  }
}

/** Base64 of the largest DER with its line ends and headers. */
const maxCsrPemLength = 24 * 1024;

function readCsr(pem: string): VerifiedCsr {
  if (pem.length > maxCsrPemLength)
    throw new Error(`PEM of ${pem.length} characters is longer than ${maxCsrPemLength}`);
  const [block, ...others] = parsePem(pem);
  if (block === undefined || others.length > 0) throw new Error("PEM must have exactly one block");
  if (block.label !== "CERTIFICATE REQUEST" && block.label !== "NEW CERTIFICATE REQUEST")
    throw new Error(`PEM has a ${block.label} where a CERTIFICATE REQUEST is expected`);
  const parts = childrenOf(parseDer(block.der), "request");
  if (parts.length !== 3) throw new Error(`request has ${parts.length} parts instead of 3`);
  const [info, algorithm, signature] = parts;
  if (info === undefined) throw new Error("request is empty");
  const spki = toDerBytes(readPublicKeyInfo(info));
  const publicKey = createPublicKey({ key: Buffer.from(spki), format: "der", type: "spki" });
  const fault = findKeyFault(publicKey);
  if (fault !== undefined) throw new Error(fault);
  if (!isCanonicalSpki(spki, publicKey)) throw new Error("its key is not encoded as a named curve or plain RSA");
  // The decoder accepts only what encodes back to the same bytes, so this is what was signed.
  if (!verifySignature(toDerBytes(info), algorithm, bitsOf(signature, "signature"), publicKey))
    throw new Error("its signature does not prove possession of the key");
  return { publicKey };
}

/** CertificationRequestInfo (RFC 2986 §4.1): version 0, a subject, the key, and attributes that some leave out. */
function readPublicKeyInfo(info: Asn1): Asn1 {
  const parts = childrenOf(info, "request information");
  const [version, subject, spki, attributes] = parts;
  const number = contentOf(version, forge.asn1.Type.INTEGER, "request version");
  if (number.length !== 1 || number[0] !== 0) throw new Error("request version is not 1");
  childrenOf(subject, "request subject");
  if (spki === undefined) throw new Error("request has no public key");
  if (parts.length > 4 || (attributes !== undefined && findTagged([attributes], 0) === undefined))
    throw new Error("request information has parts that no request has");
  return spki;
}
