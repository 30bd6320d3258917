import { generateKeyPairSync, sign, X509Certificate } from "node:crypto";
import fc from "fast-check";
import forge from "node-forge";
import { describe, expect, test } from "vitest";
import { createCsr, verifyCsr } from "./csr.ts";
import {
  attributes,
  ecdsaSha256,
  extensionRequest,
  greedyAttributes,
  nestedDer,
  requestDer,
  type RequestParts,
  requestPem,
} from "./csr.test-support.ts";
import {
  type Asn1,
  bitString,
  explicit,
  integer,
  octetString,
  oid,
  parseDer,
  sequence,
  toDerBytes,
  utf8String,
} from "./der.ts";
import { IdentityError } from "./errors.ts";
import { createIssuer, createRootCertificate, issueCertificate } from "./issue-certificate.ts";
import { createKeyPair, exportSpki } from "./key-pair.ts";
import { openssl } from "./openssl.test-support.ts";
import { formatPem, parsePem } from "./pem.ts";

const web = { trustDomain: "cluster.local", namespace: "shop", serviceAccount: "web" };
const keyPair = createKeyPair();
const good = createCsr(web, keyPair);
const goodDer = parsePem(good)[0]?.der ?? new Uint8Array();
const goodInfo = (): Asn1 => {
  const node = parseDer(goodDer);
  return (node.value as Asn1[])[0] as Asn1;
};

describe("createCsr", () => {
  test("makes a request that openssl verifies: empty subject, one critical URI name", () => {
    const { ok, text } = openssl(["req", "-in", "r.pem", "-noout", "-verify", "-text"], { "r.pem": good });
    expect(ok, text).toBe(true);
    expect(text).toMatch(/self-signature verify OK/);
    expect(text).toMatch(/Subject: *\n/);
    expect(text).toMatch(
      /X509v3 Subject Alternative Name: critical\n *URI:spiffe:\/\/cluster\.local\/ns\/shop\/sa\/web\n/,
    );
    expect(text).toMatch(/ASN1 OID: prime256v1/);
    expect(text).toMatch(/Signature Algorithm: ecdsa-with-SHA256/);
  });

  test("makes a request that our own authority accepts, for the same key", () => {
    expect(verifyCsr(good).publicKey.equals(keyPair.publicKey)).toBe(true);
  });
});

const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const weakRsa = generateKeyPairSync("rsa", { modulusLength: 1024 });
const cubicRsa = generateKeyPairSync("rsa", { modulusLength: 2048, publicExponent: 3 });
const p384 = generateKeyPairSync("ec", { namedCurve: "P-384" });
const p521 = generateKeyPairSync("ec", { namedCurve: "P-521" });
const p224 = generateKeyPairSync("ec", { namedCurve: "secp224r1" });
const k256 = generateKeyPairSync("ec", { namedCurve: "secp256k1" });
const ed25519 = generateKeyPairSync("ed25519");
const nullNode = parseDer(Buffer.of(5, 0));
const rsaSha256 = sequence(oid("1.2.840.113549.1.1.11"), nullNode);

describe("verifyCsr accepts", () => {
  test.each<[string, RequestParts]>([
    ["no attributes at all", { rest: [] }],
    ["a subject, which it ignores", { subject: commonName("cluster-admin") }],
    ["foreign names and CA:true, which it ignores", { rest: [greedyAttributes] }],
    ["10 KiB of attributes, which it ignores", { rest: [attributes(octetString(Buffer.alloc(10_240)))] }],
    ["attributes nested 100 deep", { rest: [attributes(parseDer(nestedDer(100)))] }],
    ["RSA of 2048 bits", { keyPair: rsa, algorithm: rsaSha256 }],
    ["RSA without the NULL (RFC 4055 §5)", { keyPair: rsa, algorithm: sequence(oid("1.2.840.113549.1.1.11")) }],
    [
      "P-384 with SHA-384",
      {
        keyPair: p384,
        algorithm: sequence(oid("1.2.840.10045.4.3.3")),
        sign: (bytes, key) => sign("sha384", bytes, key),
      },
    ],
    ["P-256 with SHA-512", { algorithm: sequence(oid("1.2.840.10045.4.3.4")), sign: (b, k) => sign("sha512", b, k) }],
  ])("%s", (_, parts) => {
    const pair = parts.keyPair ?? keyPair;
    expect(verifyCsr(requestPem({ keyPair, ...parts })).publicKey.equals(pair.publicKey)).toBe(true);
  });

  test.each([
    ["the older label", good.replaceAll("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")],
    ["CRLF line ends", good.replaceAll("\n", "\r\n")],
    ["no final newline", good.trimEnd()],
    ["blank lines around", `\n\n${good}\n\n`],
    ["one long line of base64", good.replace(/(?<=-\n)[^-]+(?=\n-)/, (body) => body.replaceAll("\n", ""))],
  ])("%s", (_, pem) => {
    expect(verifyCsr(pem).publicKey.equals(keyPair.publicKey)).toBe(true);
  });

  test.each([
    ["EC", ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"], "ec"],
    ["RSA", ["-newkey", "rsa:2048"], "rsa"],
  ])("an %s request made by openssl", (_, algorithm, type) => {
    const args = ["req", "-new", ...algorithm, "-nodes", "-keyout", "key.pem", "-subj", "/CN=x", "-out", "r.pem"];
    const pem = openssl([...args, "-addext", "subjectAltName=DNS:a.example"]).written("r.pem");
    expect(verifyCsr(pem).publicKey.asymmetricKeyType).toBe(type);
  });

  test("a greedy request, and nothing of its wishes is in the certificate", () => {
    const root = createIssuer(createRootCertificate("test", new Date(), createKeyPair()));
    const { publicKey } = verifyCsr(requestPem({ rest: [greedyAttributes], subject: commonName("ztunnel") }));
    const { pem } = issueCertificate(root, { publicKey, identity: web, ttlMs: 3_600_000 }, new Date());
    const certificate = new X509Certificate(pem);
    expect(certificate.subject).toBeUndefined();
    expect(certificate.subjectAltName).toBe("URI:spiffe://cluster.local/ns/shop/sa/web");
    expect(certificate.ca).toBe(false);
  });
});

const body = good.split("\n").slice(1, -2).join("\n");
const pemOf = (label: string, text: string, end = label): string =>
  `-----BEGIN ${label}-----\n${text}\n-----END ${end}-----\n`;
const csrPem = (der: Uint8Array): string => formatPem("CERTIFICATE REQUEST", der);
const changed = (index: number, value: number): string => {
  const der = Buffer.from(goodDer);
  der[index] = value;
  return csrPem(der);
};

describe("verifyCsr refuses the text", () => {
  test.each<[string, string, RegExp]>([
    ["that is empty", "", /exactly one block/],
    ["that is no PEM", "hello", /not well formed/],
    ["that is bare base64", body, /not well formed/],
    ["of a certificate", pemOf("CERTIFICATE", body), /has a CERTIFICATE where/],
    ["of a private key", pemOf("PRIVATE KEY", body), /has a PRIVATE KEY where/],
    ["with a label in lower case", pemOf("certificate request", body), /not well formed/],
    ["with labels that differ", pemOf("CERTIFICATE REQUEST", body, "CERTIFICATE"), /not well formed/],
    ["without an end", good.slice(0, good.indexOf("-----END")), /not well formed/],
    ["with two requests", good + good, /exactly one block/],
    ["with a request and a certificate", good + pemOf("CERTIFICATE", body), /exactly one block/],
    ["with words before the block", `hello\n${good}`, /not well formed/],
    ["with words after the block", `${good}hello\n`, /not well formed/],
    ["with a NUL after the block", `${good}\0`, /not well formed/],
    ["with an empty block", pemOf("CERTIFICATE REQUEST", ""), /not well formed|not base64/],
    [
      "with a header in the block",
      pemOf("CERTIFICATE REQUEST", `Proc-Type: 4,ENCRYPTED\n\n${body}`),
      /not well formed/,
    ],
    ["with a letter that base64 has not", pemOf("CERTIFICATE REQUEST", `*${body.slice(1)}`), /not well formed/],
    ["in base64url", pemOf("CERTIFICATE REQUEST", `_${body.slice(1)}`), /not well formed/],
    ["with padding in the middle", pemOf("CERTIFICATE REQUEST", `MII=${body.slice(4)}`), /not base64/],
    ["with a letter too few", pemOf("CERTIFICATE REQUEST", "MIIB"), /DER|bytes/],
    ["with bits behind the padding", pemOf("CERTIFICATE REQUEST", "MAB="), /not base64/],
    ["longer than 24 KiB", pemOf("CERTIFICATE REQUEST", "A".repeat(24 * 1024)), /longer than 24576/],
    ["of 10 MiB", "\n".repeat(10 * 1024 * 1024), /longer than 24576/],
  ])("%s", (_, pem, reason) => {
    expectRefused(pem, reason);
  });
});

describe("verifyCsr refuses the encoding", () => {
  test.each<[string, () => string, RegExp]>([
    ["with a byte after the request", () => csrPem(Buffer.concat([goodDer, Buffer.of(0)])), /DER|parsed/],
    ["with a second request after it", () => csrPem(Buffer.concat([goodDer, goodDer])), /DER|parsed/],
    ["that is cut off", () => csrPem(goodDer.subarray(0, -1)), /DER|bytes/],
    ["of noise", () => csrPem(Buffer.alloc(200, 0x5a)), /refused/],
    ["with an indefinite length", () => csrPem(indefinite(goodDer)), /not DER|length/],
    ["with a length that is longer than needed", () => csrPem(longLength(goodDer)), /not DER/],
    ["with a tag of two bytes", () => changed(0, 0x3f), /not a SEQUENCE|DER/],
    [
      "larger than 16 KiB",
      () => requestPem({ rest: [attributes(octetString(Buffer.alloc(16_300)))] }),
      /longer than 16384/,
    ],
    ["nested 400 deep in its attributes", () => requestWithDeepAttributes(400), /depth|deep/],
    ["nested 4000 deep", () => csrPem(nestedDer(4000)), /depth|deep/],
    ["of a SET", () => changed(0, 0x31), /request is not a SEQUENCE/],
    ["of an OCTET STRING", () => changed(0, 0x04), /request is not a SEQUENCE/],
    ["of a public key", () => csrPem(exportSpki(keyPair.publicKey)), /2 parts instead of 3/],
    ["with a fourth part", () => requestPem({ tail: [nullNode] }), /4 parts instead of 3/],
    ["without a signature", () => csrPem(toDerBytes(sequence(goodInfo(), ecdsaSha256))), /2 parts instead of 3/],
    ["of version 2", () => requestPem({ version: integer(Buffer.of(1)) }), /version is not 1/],
    ["of a version of 100 bytes", () => requestPem({ version: integer(Buffer.alloc(100, 1)) }), /version is not 1/],
    ["without a version", () => requestPem({ info: sequence(sequence(), spkiNode(), attributes()) }), /version/],
    ["without a key", () => requestPem({ info: sequence(integer(Buffer.of(0)), sequence()) }), /no public key/],
    ["with a subject that is text", () => requestPem({ subject: utf8String("x") }), /subject is not a SEQUENCE/],
    ["with two lists of attributes", () => requestPem({ rest: [attributes(), attributes()] }), /parts that no request/],
    [
      "with attributes under another tag",
      () => requestPem({ rest: [explicit(1, sequence())] }),
      /parts that no request/,
    ],
  ])("%s", (_, pem, reason) => {
    expectRefused(pem(), reason);
  });
});

describe("verifyCsr refuses the key", () => {
  test.each<[string, () => string, RegExp]>([
    ["RSA of 1024 bits", () => requestPem({ keyPair: weakRsa, algorithm: rsaSha256 }), /RSA key of 1024 bits/],
    ["RSA with exponent 3", () => requestPem({ keyPair: cubicRsa, algorithm: rsaSha256 }), /exponent 3 /],
    ["RSA of 16384 bits, before it costs anything", () => requestPem({ spki: hugeRsa() }), /RSA key of 16384 bits/],
    ["P-224", () => requestPem({ keyPair: p224 }), /secp224r1/],
    ["P-521", () => requestPem({ keyPair: p521 }), /secp521r1/],
    ["secp256k1", () => requestPem({ keyPair: k256 }), /secp256k1/],
    [
      "Ed25519",
      () => requestPem({ keyPair: ed25519, algorithm: sequence(oid("1.3.101.112")), sign: (b, k) => sign(null, b, k) }),
      /type ed25519/,
    ],
    ["P-256 spelled out", () => requestOf(["-param_enc", "explicit"]), /not encoded as a named curve/],
    ["P-256 with a compressed point", () => requestOf(["-conv_form", "compressed"]), /not encoded as a named curve/],
    [
      "a point that is not on the curve",
      () => requestPem({ spki: withPoint((p) => (p[40] = (p[40] ?? 0) ^ 1)) }),
      /refused/,
    ],
    ["the point at infinity", () => requestPem({ spki: ecSpki(Buffer.of(0)) }), /refused/],
    ["no point", () => requestPem({ spki: ecSpki(Buffer.alloc(0)) }), /refused/],
    ["a byte after the point", () => requestPem({ spki: ecSpki(Buffer.concat([point(), Buffer.of(0)])) }), /refused/],
    [
      "an unknown algorithm",
      () => requestPem({ spki: sequence(sequence(oid("1.2.3")), bitString(point())) }),
      /refused/,
    ],
    ["an empty key", () => requestPem({ spki: sequence() }), /refused/],
    ["a key that is text", () => requestPem({ spki: utf8String("key") }), /refused/],
    ["a certificate in place of the key", () => requestPem({ spki: parseDer(goodDer) }), /refused/],
  ])("%s", (_, pem, reason) => {
    expectRefused(pem(), reason);
  });
});

describe("verifyCsr refuses the proof", () => {
  test.each<[string, () => string, RegExp]>([
    [
      "signed by another key",
      () => requestPem({ sign: (bytes) => sign("sha256", bytes, keyPair.privateKey) }),
      /possession/,
    ],
    ["of a request whose key was exchanged", exchangedKey, /possession/],
    ["of a request whose names were exchanged", exchangedNames, /possession/],
    ["that is empty", () => requestPem({ signature: bitString(Buffer.alloc(0)) }), /possession|refused/],
    ["that is zeros", () => requestPem({ signature: bitString(Buffer.alloc(70)) }), /possession|refused/],
    [
      "with r and s of zero",
      () => requestPem({ signature: bitString(Buffer.from("3006020100020100", "hex")) }),
      /possession/,
    ],
    ["with one bit changed", () => changed(goodDer.length - 1, (goodDer.at(-1) ?? 0) ^ 1), /possession/],
    [
      "with a byte after it",
      () => requestPem({ sign: (b, k) => Buffer.concat([sign("sha256", b, k), Buffer.of(0)]) }),
      /possession|refused/,
    ],
    [
      "as bare r and s",
      () => requestPem({ sign: (bytes, key) => sign("sha256", bytes, { key, dsaEncoding: "ieee-p1363" }) }),
      /possession|refused/,
    ],
    ["with unused bits", () => requestPem({ signature: bitString(Buffer.alloc(70), 1) }), /unused bits/],
    [
      "as an OCTET STRING",
      () => requestPem({ signature: octetString(Buffer.alloc(70)) }),
      /signature has the wrong type/,
    ],
    [
      "by SHA-1",
      () => requestPem({ algorithm: sequence(oid("1.2.840.10045.4.1")), sign: (b, k) => sign("sha1", b, k) }),
      /1\.2\.840\.10045\.4\.1 is not accepted/,
    ],
    [
      "by MD5 and RSA",
      () =>
        requestPem({
          keyPair: rsa,
          algorithm: sequence(oid("1.2.840.113549.1.1.4"), nullNode),
          sign: (b, k) => sign("md5", b, k),
        }),
      /is not accepted/,
    ],
    [
      "by SHA-256, which calls it SHA-384",
      () => requestPem({ algorithm: sequence(oid("1.2.840.10045.4.3.3")) }),
      /possession/,
    ],
    ["by an algorithm of the other kind of key", () => requestPem({ algorithm: rsaSha256 }), /does not fit the key/],
    [
      "by ECDSA with parameters",
      () => requestPem({ algorithm: sequence(oid("1.2.840.10045.4.3.2"), nullNode) }),
      /parameters/,
    ],
    [
      "by RSA with text for parameters",
      () => requestPem({ keyPair: rsa, algorithm: sequence(oid("1.2.840.113549.1.1.11"), utf8String("x")) }),
      /parameters/,
    ],
    ["by no algorithm", () => requestPem({ algorithm: sequence() }), /signature algorithm/],
    ["by an algorithm that is text", () => requestPem({ algorithm: utf8String("ecdsa") }), /signature algorithm/],
  ])("%s", (_, pem, reason) => {
    expectRefused(pem(), reason);
  });
});

describe("verifyCsr, whatever comes", () => {
  const requests = [
    { der: goodDer, key: keyPair.publicKey },
    { der: requestDer({ keyPair: rsa, algorithm: rsaSha256, rest: [greedyAttributes] }), key: rsa.publicKey },
    { der: requestDer({ keyPair: p384, rest: [attributes(extensionRequest())] }), key: p384.publicKey },
  ];
  const change = fc.record({
    at: fc.nat(),
    kind: fc.constantFrom("set", "insert", "remove", "repeat"),
    byte: fc.oneof(fc.nat(255), fc.constantFrom(0, 0x30, 0x31, 0x7f, 0x80, 0x81, 0xa0, 0xff)),
    length: fc.integer({ min: 1, max: 24 }),
  });

  test.each(requests.map((request, index) => [index, request] as const))(
    "a damaged request %d is refused, or it still is for the key that signed it",
    (_, { der, key }) => {
      fc.assert(
        fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
          const outcome = tryVerify(csrPem(changes.reduce(damage, Buffer.from(der))));
          expect(outcome instanceof IdentityError ? outcome.code : outcome.equals(key)).toBeOneOf([
            "CSR_INVALID",
            true,
          ]);
        }),
        { numRuns: 600 },
      );
    },
  );

  test("random bytes and random text are refused with the one code", () => {
    const pem = fc.oneof(
      fc.string({ maxLength: 2000, unit: "binary" }),
      fc.uint8Array({ minLength: 1, maxLength: 400 }).map(csrPem),
    );
    fc.assert(
      fc.property(pem, (text) => {
        expect(tryVerify(text)).toMatchObject({ code: "CSR_INVALID" });
      }),
    );
  });
});

type Change = { readonly at: number; readonly kind: string; readonly byte: number; readonly length: number };

function damage(der: Buffer, { at, kind, byte, length }: Change): Buffer {
  const index = at % (der.length + 1);
  const [head, tail] = [der.subarray(0, index), der.subarray(index)];
  if (kind === "insert") return Buffer.concat([head, Buffer.of(byte), tail]);
  if (kind === "remove") return Buffer.concat([head, tail.subarray(length)]);
  if (kind === "repeat") return Buffer.concat([head, tail.subarray(0, length), tail]);
  return Buffer.concat([head, Buffer.of(byte), tail.subarray(1)]);
}

function tryVerify(pem: string): IdentityError | ReturnType<typeof verifyCsr>["publicKey"] {
  try {
    return verifyCsr(pem).publicKey;
  } catch (error) {
    if (error instanceof IdentityError) return error;
    throw error;
  }
}

function expectRefused(pem: string, reason: RegExp): void {
  const outcome = tryVerify(pem);
  expect(outcome).toMatchObject({
    code: "CSR_INVALID",
    origin: "downstream",
    message: expect.stringMatching(/^Certificate request refused: /),
  });
  expect((outcome as IdentityError).message).toMatch(reason);
}

function commonName(text: string): Asn1 {
  const set = forge.asn1.create(forge.asn1.Class.UNIVERSAL, forge.asn1.Type.SET, true, [
    sequence(oid("2.5.4.3"), utf8String(text)),
  ]);
  return sequence(set);
}

function spkiNode(): Asn1 {
  return parseDer(exportSpki(keyPair.publicKey));
}

/** The uncompressed point of our key: 04, x, y. */
function point(): Buffer {
  return Buffer.from(exportSpki(keyPair.publicKey)).subarray(-65);
}

function ecSpki(content: Uint8Array): Asn1 {
  return sequence(sequence(oid("1.2.840.10045.2.1"), oid("1.2.840.10045.3.1.7")), bitString(content));
}

function withPoint(edit: (content: Buffer) => void): Asn1 {
  const content = Buffer.from(point());
  edit(content);
  return ecSpki(content);
}

function hugeRsa(): Asn1 {
  const key = sequence(integer(Buffer.alloc(2048, 0xa5)), integer(Buffer.from("010001", "hex")));
  return sequence(sequence(oid("1.2.840.113549.1.1.1"), nullNode), bitString(toDerBytes(key)));
}

/** A request by openssl for a P-256 key written with these options. */
function requestOf(encoding: readonly string[]): string {
  const plain = openssl(["ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", "key.pem"]).written("key.pem");
  const key = openssl(["ec", "-in", "in.pem", ...encoding, "-out", "key.pem"], { "in.pem": plain }).written("key.pem");
  const request = openssl(["req", "-new", "-key", "key.pem", "-subj", "/CN=x", "-out", "r.pem"], { "key.pem": key });
  expect(request.ok, request.text).toBe(true);
  return request.written("r.pem");
}

/** Our proof under somebody else's key: the attack that proof of possession is for. */
function exchangedKey(): string {
  const victim = createKeyPair();
  const [, algorithm, signature] = parseDer(goodDer).value as Asn1[];
  const info = sequence(integer(Buffer.of(0)), sequence(), parseDer(exportSpki(victim.publicKey)), attributes());
  return csrPem(toDerBytes(sequence(info, algorithm as Asn1, signature as Asn1)));
}

function exchangedNames(): string {
  const [, algorithm, signature] = parseDer(goodDer).value as Asn1[];
  const info = sequence(integer(Buffer.of(0)), sequence(), spkiNode(), greedyAttributes);
  return csrPem(toDerBytes(sequence(info, algorithm as Asn1, signature as Asn1)));
}

/** The outer SEQUENCE with indefinite length and an end mark: BER, not DER. */
function indefinite(der: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.of(0x30, 0x80), der.subarray(headerLength(der)), Buffer.of(0, 0)]);
}

/** The outer length in four bytes where two or three would do. */
function longLength(der: Uint8Array): Uint8Array {
  const content = der.subarray(headerLength(der));
  const length = Buffer.alloc(4);
  length.writeUInt32BE(content.length);
  return Buffer.concat([Buffer.of(0x30, 0x84), length, content]);
}

function headerLength(der: Uint8Array): number {
  const first = der[1] ?? 0;
  return first < 0x80 ? 2 : 2 + (first & 0x7f);
}

/** Too deep for our own encoder: spliced in as bytes. */
function requestWithDeepAttributes(depth: number): string {
  const marker = Buffer.alloc(nestedDer(depth).length - 4, 0x77);
  const der = Buffer.from(requestDer({ keyPair, rest: [attributes(octetString(marker))] }));
  const at = der.indexOf(marker) - 4;
  nestedDer(depth).forEach((byte, index) => (der[at + index] = byte));
  return csrPem(der);
}
