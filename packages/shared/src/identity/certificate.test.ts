import { X509Certificate } from "node:crypto";
import { describe, expect, test } from "vitest";
import {
  checkIssuedChain,
  decimalSerial,
  type IssuedChain,
  isValidAt,
  readCertificateIdentity,
  readX509,
  splitCertificates,
} from "./certificate.ts";
import {
  type Asn1,
  bitString,
  boolean,
  explicit,
  implicit,
  integer,
  octetString,
  oid,
  parseDer,
  sequence,
  time,
  toDerBytes,
} from "./der.ts";
import { subjectAltName, type SubjectAltNames } from "./extension.ts";
import { buildLeaf, createTestRoot, hoursFromNow, now, web, webUri } from "./issue.test-support.ts";
import {
  createIntermediateCertificate,
  createIssuer,
  createRootCertificate,
  type AuthorityCertificate,
  type Issuer,
} from "./issue-certificate.ts";
import { createKeyPair, exportSpki, formatPrivateKey } from "./key-pair.ts";
import { openssl } from "./openssl.test-support.ts";
import { formatPem } from "./pem.ts";

const root = createTestRoot();

function derWith(names: SubjectAltNames | null): Uint8Array {
  const { pem } = buildLeaf(root.issuer, { organization: "test", names });
  return readX509(pem).raw;
}

function derWithUris(...uris: string[]): Uint8Array {
  return derWith({ uris });
}

/** A certificate that no sane builder makes: these extensions, a signature of zeros. */
function derWithExtensions(...extensions: Asn1[]): Uint8Array {
  const algorithm = sequence(oid("1.2.840.10045.4.3.2"));
  const tbs = sequence(
    explicit(0, integer(Buffer.of(2))),
    integer(Buffer.of(1)),
    algorithm,
    sequence(),
    sequence(time(hoursFromNow(-1)), time(hoursFromNow(1))),
    sequence(),
    parseDer(exportSpki(createKeyPair().publicKey)),
    ...(extensions.length > 0 ? [explicit(3, sequence(...extensions))] : []),
  );
  return toDerBytes(sequence(tbs, algorithm, bitString(Buffer.alloc(64))));
}

const sanExtension = (content: Uint8Array): Asn1 => sequence(oid("2.5.29.17"), boolean(true), octetString(content));
const uriName = (text: string): Asn1 => implicit(6, Buffer.from(text));
const td = "spiffe://cluster.local";

describe("readCertificateIdentity", () => {
  test.each<[string, Uint8Array]>([
    ["its one URI name", derWithUris(webUri)],
    [
      "its one URI name among names of other kinds",
      derWith({ uris: [webUri], dnsNames: ["web.shop.svc", td], ips: ["10.0.0.1", "fd00::1"] }),
    ],
    ["its one URI name in a certificate built by hand", derWithExtensions(subjectAltName({ uris: [webUri] }, true))],
  ])("reads %s", (_, der) => {
    expect(readCertificateIdentity(der)).toEqual(web);
  });

  test("reads what openssl issued", () => {
    const args = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", "k.pem", "-subj", "/CN=web", "-out"];
    const made = openssl([...args, "c.pem", "-addext", `subjectAltName=URI:${webUri},DNS:a.example,IP:10.0.0.1`]);
    expect(readCertificateIdentity(readX509(made.written("c.pem")).raw)).toEqual(web);
  });

  test.each<[string, Uint8Array, RegExp]>([
    ["without names", derWith(null), /0 URI names/],
    ["with a DNS name only", derWith({ dnsNames: [webUri] }), /0 URI names/],
    ["with two URI names", derWithUris(webUri, `${td}/ns/shop/sa/other`), /2 URI names/],
    ["with the same URI name twice", derWithUris(webUri, webUri), /2 URI names/],
    ["with a second URI that is no SPIFFE ID", derWithUris(webUri, "https://a.example"), /2 URI names/],
    ["with eleven URI names", derWithUris(...Array.from({ length: 11 }, () => webUri)), /11 URI names/],
    ["of another scheme", derWithUris("https://cluster.local/ns/shop/sa/web"), /is not spiffe/],
    ["with the scheme in upper case", derWithUris("SPIFFE://cluster.local/ns/shop/sa/web"), /is not spiffe/],
    ["with the trust domain in upper case", derWithUris("spiffe://Cluster.local/ns/shop/sa/web"), /bad trust domain/],
    ["without a trust domain", derWithUris("spiffe:///ns/shop/sa/web"), /is not spiffe/],
    ["with a port", derWithUris("spiffe://cluster.local:443/ns/shop/sa/web"), /bad trust domain/],
    ["with a user", derWithUris("spiffe://evil@cluster.local/ns/shop/sa/web"), /bad trust domain/],
    ["with a query", derWithUris(`${webUri}?x=1`), /bad service account/],
    ["with a fragment", derWithUris(`${webUri}#x`), /bad service account/],
    ["with a final slash", derWithUris(`${webUri}/`), /is not spiffe/],
    ["with a further segment", derWithUris(`${webUri}/x`), /is not spiffe/],
    ["with an empty segment", derWithUris(`${td}/ns//sa/web`), /is not spiffe/],
    ["with a dot segment", derWithUris(`${td}/ns/../sa/web`), /bad namespace/],
    ["with an escaped slash", derWithUris(`${td}/ns/shop%2fx/sa/web`), /bad namespace/],
    ["with a path in upper case", derWithUris(`${td}/NS/shop/SA/web`), /is not spiffe/],
    ["with ns and sa exchanged", derWithUris(`${td}/sa/web/ns/shop`), /is not spiffe/],
    ["with a NUL", derWithUris(`${webUri}\0.evil`), /bad service account/],
    ["with a NUL at its end", derWithUris(`${webUri}\0`), /bad service account/],
    ["with a line end", derWithUris(`${webUri}\n`), /bad service account|is not spiffe/],
    ["with a space before", derWithUris(` ${webUri}`), /is not spiffe/],
    ["that imitates a second name by a comma", derWithUris(`${webUri}, URI:${td}/ns/a/sa/b`), /is not spiffe|bad/],
    ["with a letter that is not ASCII", derWithUris(`${td}/ns/shop/sa/wéb`), /no identity/],
    ["of 10 KiB", derWithUris(`${td}/ns/shop/sa/${"a".repeat(10_240)}`), /longer than 2048/],
    ["that is empty", derWithUris(""), /is not spiffe/],
    ["without extensions", derWithExtensions(), /0 URI names/],
    ["with two lists of names", derWithExtensions(sanOf(webUri), sanOf(webUri)), /two subjectAltName/],
    ["with a list of names that is text", derWithExtensions(sanExtension(Buffer.from(webUri))), /no identity/],
    [
      "with bytes after the list of names",
      derWithExtensions(sanExtension(Buffer.concat([toDerBytes(sequence(uriName(webUri))), Buffer.of(5, 0)]))),
      /unexpected bytes/,
    ],
    ["with a URI built of parts", derWithExtensions(sanExtension(constructedUri())), /tag 0xa6 is no GeneralName/],
    ["in BER", longLength(derWithUris(webUri)), /no identity/],
    ["with a byte after it", Buffer.concat([derWithUris(webUri), Buffer.of(0)]), /no identity/],
    ["that is cut off", derWithUris(webUri).subarray(0, -1), /no identity/],
    ["of 20 KiB", Buffer.concat([derWithUris(webUri), Buffer.alloc(20_480)]), /no identity/],
    ["that is a public key", exportSpki(createKeyPair().publicKey), /no identity/],
    ["that is noise", Buffer.alloc(300, 0x5a), /no identity/],
    ["that is nothing", new Uint8Array(), /no identity/],
  ])("refuses a certificate %s", (_, der, reason) => {
    expect(() => readCertificateIdentity(der)).toThrow(
      expect.objectContaining({ code: "CERTIFICATE_INVALID", message: expect.stringMatching(reason) }),
    );
  });
});

const intermediate = createIntermediateCertificate(root.issuer, "below", now, createKeyPair());
const intermediateIssuer = createIssuer(intermediate);
const leaf = buildLeaf(root.issuer);
const rootPem = root.authority.certificatePem;

function check(issued: Partial<IssuedChain>, at: Date = now): ReturnType<typeof checkIssuedChain> {
  return checkIssuedChain(
    { chain: [leaf.pem], roots: [rootPem], privateKeyPem: leaf.privateKeyPem, ...issued },
    web,
    at,
  );
}

/** A leaf with its own key, and what follows it in the chain. */
function chainOf(made: ReturnType<typeof buildLeaf>, ...above: string[]): Partial<IssuedChain> {
  return { chain: [made.pem, ...above], privateKeyPem: made.privateKeyPem };
}

describe("checkIssuedChain", () => {
  test("makes a certificate of what a CA answered", () => {
    const x509 = new X509Certificate(leaf.pem);
    expect(check({})).toEqual({
      identity: web,
      chainPem: leaf.pem,
      privateKeyPem: leaf.privateKeyPem,
      rootsPem: [rootPem],
      notBefore: hoursFromNow(-1),
      notAfter: hoursFromNow(1),
      serial: BigInt(`0x${x509.serialNumber}`).toString(),
    });
  });

  test("accepts intermediates, several roots, and a root that was put into the chain as well", () => {
    const below = buildLeaf(intermediateIssuer);
    const others = [
      createTestRoot("a").authority.certificatePem,
      rootPem,
      createTestRoot("b").authority.certificatePem,
    ];
    const certificate = check({ ...chainOf(below, intermediate.certificatePem, rootPem), roots: others });
    expect(certificate.rootsPem).toEqual(others);
    expect(certificate.chainPem).toBe(below.pem + intermediate.certificatePem + rootPem);
  });

  test("accepts another root of the same name beside the right one", () => {
    const twin = createTestRoot().authority.certificatePem;
    expect(check({ roots: [twin, rootPem] }).identity).toEqual(web);
  });

  test("accepts a leaf that does not restrict its use", () => {
    const made = buildLeaf(root.issuer, { extendedKeyUsages: null });
    expect(check(chainOf(made)).identity).toEqual(web);
  });

  test("ends with the first certificate of the path that ends", () => {
    const short = shortAuthority(hoursFromNow(0.5));
    const made = buildLeaf(short.issuer, { notAfter: hoursFromNow(0.75) });
    expect(check(chainOf(made, short.pem)).notAfter).toEqual(hoursFromNow(0.5));
  });

  const other = createTestRoot("other");
  const sameName = createTestRoot();
  test.each<[string, () => Partial<IssuedChain>, RegExp]>([
    ["no leaf", () => ({ chain: [] }), /sent no certificate/],
    ["no root", () => ({ roots: [] }), /no root certificate present/],
    [
      "a leaf for somebody else",
      () => chainOf(buildLeaf(root.issuer, { names: { uris: [`${td}/ns/shop/sa/x`] } })),
      /is for spiffe:.*\/sa\/x instead of/,
    ],
    [
      "a leaf of another trust domain",
      () => chainOf(buildLeaf(root.issuer, { names: { uris: ["spiffe://td2/ns/shop/sa/web"] } })),
      /is for spiffe:\/\/td2/,
    ],
    [
      "a leaf with two identities",
      () => chainOf(buildLeaf(root.issuer, { names: { uris: [webUri, webUri] } })),
      /2 URI names/,
    ],
    ["a leaf for another key", () => ({ privateKeyPem: formatPrivateKey(createKeyPair()) }), /for another key/],
    [
      "a leaf that is a CA",
      () => chainOf(buildLeaf(root.issuer, { ca: true, keyUsages: ["keyCertSign"] })),
      /it is a CA certificate/,
    ],
    [
      "a leaf for servers only",
      () => chainOf(buildLeaf(root.issuer, { extendedKeyUsages: ["serverAuth"] })),
      /not for clientAuth/,
    ],
    [
      "a leaf for clients only",
      () => chainOf(buildLeaf(root.issuer, { extendedKeyUsages: ["clientAuth"] })),
      /not for serverAuth/,
    ],
    ["an expired leaf", () => chainOf(buildLeaf(root.issuer, { notAfter: now })), /it expired at 2026-11-21T12:00:00/],
    [
      "a leaf of tomorrow",
      () => chainOf(buildLeaf(root.issuer, { notBefore: hoursFromNow(24), notAfter: hoursFromNow(48) })),
      /valid from 2026-11-22/,
    ],
    ["a leaf that signed itself", () => chainOf(buildLeaf("self")), /ends in none of the roots/],
    ["a leaf of another CA", () => chainOf(buildLeaf(other.issuer)), /ends in none of the roots/],
    ["a leaf of a CA with the same name", () => chainOf(buildLeaf(sameName.issuer)), /ends in none of the roots/],
    ["no intermediate where one is needed", () => chainOf(buildLeaf(intermediateIssuer)), /ends in none of the roots/],
    [
      "an intermediate that signed nothing",
      () => ({ chain: [leaf.pem, intermediate.certificatePem] }),
      /certificate 1 of the chain is not signed/,
    ],
    ["intermediates in the wrong order", wrongOrder, /is not signed by the next/],
    ["a leaf as the issuer", () => chainOf(buildLeaf(leafAsIssuer()), leafIssuerPem), /is not signed by the next/],
    ["an intermediate that has ended", () => belowShort(hoursFromNow(-0.5)), /it expired/],
    ["six certificates", () => ({ chain: Array.from({ length: 6 }, () => leaf.pem) }), /6 certificates, more than 5/],
    ["a leaf that is noise", () => ({ chain: [formatPem("CERTIFICATE", Buffer.alloc(40, 1))] }), /not readable/],
    ["a root that is noise", () => ({ roots: ["hello"] }), /not readable/],
  ])("refuses %s", (_, issued, reason) => {
    expect(() => check(issued())).toThrow(
      expect.objectContaining({ code: "CERTIFICATE_INVALID", message: expect.stringMatching(reason) }),
    );
  });

  test("refuses a root that has ended, though the leaf claims to be younger", () => {
    const made = buildLeaf(root.issuer, { notAfter: hoursFromNow(200_000) });
    expect(() => check(chainOf(made), hoursFromNow(100_000))).toThrow(/it expired/);
  });
});

describe("isValidAt", () => {
  test.each([
    [-1.01, false],
    [-1, true],
    [0, true],
    [0.99, true],
    [1, false],
  ])("%d h from now in a life from -1 h to +1 h: %s", (hours, expected) => {
    expect(isValidAt(check({}), hoursFromNow(hours))).toBe(expected);
  });
});

describe("splitCertificates", () => {
  test("gives one PEM each, in order, whatever the line ends and comments between", () => {
    const text = `# first\r\n${leaf.pem.replaceAll("\n", "\r\n")}\n# second\n\n${rootPem}`;
    expect(splitCertificates(text)).toEqual([leaf.pem, rootPem]);
  });

  test("gives nothing for an empty text", () => {
    expect(splitCertificates(" \n# nothing here")).toEqual([]);
  });

  test.each([
    ["a private key among them", leaf.pem + leaf.privateKeyPem, /PRIVATE KEY where a CERTIFICATE/],
    ["half a certificate at the end", leaf.pem + rootPem.slice(0, 200), /block 2 is not well formed/],
    ["words between", `${leaf.pem}hello\n${rootPem}`, /block 2 is not well formed/],
    ["two on one line", leaf.pem.trimEnd() + rootPem, /block 1 is not well formed/],
    ["257 of them", leaf.pem.repeat(257), /more than 256 blocks/],
    ["more than a mebibyte", "\n".repeat(1_048_577), /longer than 1048576/],
  ])("refuses %s", (_, text, reason) => {
    expect(() => splitCertificates(text)).toThrow(
      expect.objectContaining({ code: "CERTIFICATE_INVALID", message: expect.stringMatching(/not readable/) }),
    );
    expect(() => splitCertificates(text)).toThrow(
      expect.objectContaining({ cause: expect.objectContaining({ message: expect.stringMatching(reason) }) }),
    );
  });

  test("reads a mebibyte of blank lines and of comments without running out of stack", () => {
    expect(splitCertificates("\n".repeat(1_000_000))).toEqual([]);
    expect(splitCertificates("#\n".repeat(500_000))).toEqual([]);
    expect(splitCertificates(`${"\t".repeat(1_000_000)}\n`)).toEqual([]);
  });
});

describe("decimalSerial", () => {
  test("is what openssl says, in decimal", () => {
    const text = openssl(["x509", "-in", "c.pem", "-noout", "-serial"], { "c.pem": leaf.pem }).text;
    const hex = /serial=([0-9A-F]+)/.exec(text)?.[1] ?? "";
    expect(decimalSerial(readX509(leaf.pem))).toBe(BigInt(`0x${hex}`).toString());
  });
});

function sanOf(uri: string): Asn1 {
  return subjectAltName({ uris: [uri] }, true);
}

/** [6] constructed, of two strings: BER's way to write a long string. */
function constructedUri(): Uint8Array {
  const inner = Buffer.concat([
    Buffer.of(0x16, 9),
    Buffer.from("spiffe://"),
    Buffer.of(0x16, 28),
    Buffer.from("cluster.local/ns/shop/sa/web"),
  ]);
  const name = Buffer.concat([Buffer.of(0xa6, inner.length), inner]);
  return Buffer.concat([Buffer.of(0x30, name.length), name]);
}

function longLength(der: Uint8Array): Uint8Array {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(der.length - 4);
  return Buffer.concat([Buffer.of(0x30, 0x84), length, der.subarray(4)]);
}

/** A CA below the root, with an end of its own. */
function shortAuthority(notAfter: Date): { readonly pem: string; readonly issuer: Issuer } {
  const made = buildLeaf(root.issuer, { organization: "short", ca: true, keyUsages: ["keyCertSign"], notAfter });
  const authority: AuthorityCertificate = { certificatePem: made.pem, privateKeyPem: made.privateKeyPem };
  return { pem: made.pem, issuer: createIssuer(authority) };
}

function belowShort(end: Date): Partial<IssuedChain> {
  const short = shortAuthority(end);
  return chainOf(buildLeaf(short.issuer), short.pem);
}

function wrongOrder(): Partial<IssuedChain> {
  const upper = createIssuer(createIntermediateCertificate(root.issuer, "upper", now, createKeyPair()));
  const lowerKey = createKeyPair();
  const lower = createIssuer(createIntermediateCertificate(upper, "lower", now, lowerKey));
  return chainOf(buildLeaf(lower), upper.certificatePem, lower.certificatePem);
}

const leafIssuerKey = createKeyPair();
const leafIssuerPem = buildLeaf(root.issuer, { organization: "leaf" }, leafIssuerKey).pem;

/** What somebody with an ordinary certificate can do: sign others with it. */
function leafAsIssuer(): Issuer {
  const pretended = createIssuer(createRootCertificate("leaf", now, leafIssuerKey));
  return { ...pretended, certificatePem: leafIssuerPem, keyIdentifier: undefined };
}
