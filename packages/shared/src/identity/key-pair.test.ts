import { createPublicKey, generateKeyPairSync, type KeyObject } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  createKeyPair,
  exportSpki,
  findKeyFault,
  formatPrivateKey,
  isCanonicalSpki,
  parseKeyPair,
} from "./key-pair.ts";
import { openssl } from "./openssl.test-support.ts";

describe("KeyPair", () => {
  test("is a new P-256 pair each time", () => {
    const [first, second] = [createKeyPair(), createKeyPair()];
    expect(first.privateKey.asymmetricKeyDetails).toEqual({ namedCurve: "prime256v1" });
    expect(first.publicKey.equals(second.publicKey)).toBe(false);
  });

  test("is written as PKCS#8 that openssl reads, and read back as the same pair", () => {
    const keyPair = createKeyPair();
    const pem = formatPrivateKey(keyPair);
    expect(pem).toMatch(/^-----BEGIN PRIVATE KEY-----\n/);
    expect(openssl(["pkey", "-in", "key.pem", "-noout", "-text"], { "key.pem": pem }).text).toContain(
      "ASN1 OID: prime256v1",
    );
    const read = parseKeyPair(pem);
    expect(read.publicKey.equals(keyPair.publicKey)).toBe(true);
    expect(read.privateKey.equals(keyPair.privateKey)).toBe(true);
  });

  test.each([
    ["SEC1", ["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem"], "EC PRIVATE KEY"],
    ["PKCS#1", ["genrsa", "-traditional", "-out", "key.pem", "2048"], "RSA PRIVATE KEY"],
  ])("is read from %s, as openssl writes it", (_, args, label) => {
    const pem = openssl(args).written("key.pem");
    expect(pem).toContain(`-----BEGIN ${label}-----`);
    expect(findKeyFault(parseKeyPair(pem).publicKey)).toBeUndefined();
  });

  test.each([
    ["", "empty"],
    ["-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "noise"],
    ["hello", "no PEM"],
  ])("is not read from a text that is %j (%s)", (pem) => {
    expect(() => parseKeyPair(pem)).toThrow();
  });
});

/** A public key that no generator needs minutes for: only its numbers matter here. */
function rsaKey(bits: number, exponent: string): KeyObject {
  const modulus = Buffer.alloc(bits / 8, 0xa5);
  return createPublicKey({ key: { kty: "RSA", n: modulus.toString("base64url"), e: exponent }, format: "jwk" });
}

describe("findKeyFault", () => {
  test.each<[string, () => KeyObject]>([
    ["P-256", () => createKeyPair().publicKey],
    ["P-384", () => generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey],
    ["RSA of 2048 bits", () => rsaKey(2048, "AQAB")],
    ["RSA of 4096 bits", () => rsaKey(4096, "AQAB")],
  ])("accepts %s", (_, key) => {
    expect(findKeyFault(key())).toBeUndefined();
  });

  test.each<[string, () => KeyObject, RegExp]>([
    ["P-224", () => generateKeyPairSync("ec", { namedCurve: "secp224r1" }).publicKey, /curve secp224r1 is not/],
    ["P-521", () => generateKeyPairSync("ec", { namedCurve: "secp521r1" }).publicKey, /curve secp521r1 is not/],
    ["secp256k1", () => generateKeyPairSync("ec", { namedCurve: "secp256k1" }).publicKey, /curve secp256k1 is not/],
    ["Ed25519", () => generateKeyPairSync("ed25519").publicKey, /type ed25519/],
    ["X25519", () => generateKeyPairSync("x25519").publicKey, /type x25519/],
    ["RSA-PSS", () => generateKeyPairSync("rsa-pss", { modulusLength: 2048 }).publicKey, /type rsa-pss/],
    ["RSA of 1024 bits", () => rsaKey(1024, "AQAB"), /RSA key of 1024 bits/],
    ["RSA of 2040 bits", () => rsaKey(2040, "AQAB"), /RSA key of 2040 bits/],
    ["RSA of 4104 bits", () => rsaKey(4104, "AQAB"), /RSA key of 4104 bits/],
    ["RSA of 16384 bits", () => rsaKey(16_384, "AQAB"), /RSA key of 16384 bits/],
    ["RSA with exponent 3", () => rsaKey(2048, "Aw"), /exponent 3 /],
    ["RSA with an even exponent", () => rsaKey(2048, "AQAC"), /exponent 65538 /],
    ["RSA with an exponent of 40 bits", () => rsaKey(2048, "AQAAAAE"), /exponent 4294967297 /],
  ])("names what is wrong with %s", (_, key, reason) => {
    expect(findKeyFault(key())).toMatch(reason);
  });
});

describe("isCanonicalSpki", () => {
  test.each<[string, () => KeyObject]>([
    ["P-256", () => createKeyPair().publicKey],
    ["P-384", () => generateKeyPairSync("ec", { namedCurve: "P-384" }).publicKey],
    ["RSA", () => rsaKey(2048, "AQAB")],
  ])("is true of what node:crypto writes for %s", (_, key) => {
    const publicKey = key();
    expect(isCanonicalSpki(exportSpki(publicKey), publicKey)).toBe(true);
  });

  test.each([
    ["a curve spelled out", ["-param_enc", "explicit"]],
    ["a compressed point", ["-conv_form", "compressed"]],
  ])("is false of %s, though the curve is P-256", (_, args) => {
    const spki = createPublicKey(spkiOf(args));
    expect(findKeyFault(spki)).toBeUndefined();
    expect(isCanonicalSpki(exportSpki(spki), spki)).toBe(false);
  });
});

/** The public half of a new P-256 key as openssl writes it with these options. */
function spkiOf(args: readonly string[]): string {
  const key = openssl(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem"]).written("key.pem");
  return openssl(["ec", "-in", "key.pem", "-pubout", ...args, "-out", "public.pem"], { "key.pem": key }).written(
    "public.pem",
  );
}
