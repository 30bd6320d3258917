import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";

/** An asymmetric key pair. The private half never leaves the process except as PKCS#8 PEM for TLS. */
export interface KeyPair {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

/** A new ECDSA P-256 pair (0.03 ms). */
export function createKeyPair(): KeyPair {
  return generateKeyPairSync("ec", { namedCurve: "P-256" });
}

/** Reads a PEM private key (PKCS#8, SEC1, PKCS#1) with its public half. Throws node:crypto's error. */
export function parseKeyPair(privateKeyPem: string): KeyPair {
  const privateKey = createPrivateKey(privateKeyPem);
  return { privateKey, publicKey: createPublicKey(privateKey) };
}

/** PKCS#8 PEM. Secret. */
export function formatPrivateKey(keyPair: KeyPair): string {
  return keyPair.privateKey.export({ type: "pkcs8", format: "pem" });
}

/** SubjectPublicKeyInfo. */
export function exportSpki(publicKey: KeyObject): Uint8Array {
  return publicKey.export({ type: "spki", format: "der" });
}

/**
 * Is this the one encoding of its key that every peer reads: a named curve with an uncompressed point (RFC 5480 §2.1.1, §2.2), or
 * RSA with NULL parameters? OpenSSL also reads curves spelled out and compressed points, and would put them into the certificate.
 */
export function isCanonicalSpki(spki: Uint8Array, publicKey: KeyObject): boolean {
  const jwk = publicKey.export({ format: "jwk" });
  return Buffer.from(spki).equals(exportSpki(createPublicKey({ key: jwk, format: "jwk" })));
}

/** Why this public key is too weak or too costly to certify; undefined when it is fine (P-256, P-384, RSA 2048 to 4096). */
export function findKeyFault(publicKey: KeyObject): string | undefined {
  const details = publicKey.asymmetricKeyDetails ?? {};
  switch (publicKey.asymmetricKeyType) {
    case "ec":
      if (details.namedCurve === "prime256v1" || details.namedCurve === "secp384r1") return undefined;
      return `curve ${details.namedCurve ?? "unnamed"} is not P-256 or P-384`;
    case "rsa": {
      const bits = details.modulusLength ?? 0;
      const exponent = details.publicExponent ?? 0n;
      if (bits < 2048 || bits > 4096) return `RSA key of ${bits} bits is not between 2048 and 4096`;
      if (exponent < 65_537n || exponent > 0xffff_ffffn || exponent % 2n === 0n)
        return `RSA exponent ${exponent} is not accepted`;
      return undefined;
    }
    default:
      return `key type ${publicKey.asymmetricKeyType ?? "unknown"} is not EC or RSA`;
  }
}
