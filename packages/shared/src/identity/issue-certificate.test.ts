import { generateKeyPairSync, type X509Certificate } from "node:crypto";
import { describe, expect, test } from "vitest";
import { createCertificateAuthority } from "./certificate-authority.ts";
import { checkIssuedChain, readCertificateIdentity, readX509 } from "./certificate.ts";
import { createCsr } from "./csr.ts";
import { buildLeaf, createTestRoot, hoursFromNow, now, web, webUri } from "./issue.test-support.ts";
import {
  type AuthorityCertificate,
  createIntermediateCertificate,
  createIssuer,
  createRootCertificate,
  issueCertificate,
  type Issuer,
  issueServerCertificate,
} from "./issue-certificate.ts";
import { createKeyPair, formatPrivateKey, type KeyPair, parseKeyPair } from "./key-pair.ts";
import { openssl } from "./openssl.test-support.ts";

const day = 24 * 3_600_000;
const verifyAt = ["-attime", String(now.getTime() / 1000)];
const root = createTestRoot();
const rootPem = root.authority.certificatePem;
const intermediate = createIntermediateCertificate(root.issuer, "below", now, createKeyPair());
const keyPair = createKeyPair();

function issue(issuer: Issuer = root.issuer, ttlMs: number = day, at: Date = now): X509Certificate {
  return readX509(issueCertificate(issuer, { publicKey: keyPair.publicKey, identity: web, ttlMs }, at).pem);
}

function describeByOpenssl(pem: string): string {
  return openssl(["x509", "-in", "c.pem", "-noout", "-text"], { "c.pem": pem }).text;
}

function verifyByOpenssl(
  leafPem: string,
  options: { readonly untrusted?: string; readonly purpose?: string } = {},
): string {
  const { untrusted, purpose = "sslserver" } = options;
  const args = ["verify", "-x509_strict", "-check_ss_sig", "-purpose", purpose, ...verifyAt, "-CAfile", "root.pem"];
  const more = untrusted === undefined ? [] : ["-untrusted", "between.pem"];
  const files = { "leaf.pem": leafPem, "root.pem": rootPem, "between.pem": untrusted ?? "" };
  return openssl([...args, ...more, "leaf.pem"], files).text;
}

describe("issueCertificate", () => {
  test("has istiod's profile, as openssl reads it", () => {
    const text = describeByOpenssl(issue().toString());
    expect(text).toMatch(/Version: 3 \(0x2\)/);
    expect(text).toMatch(/Subject: *\n/);
    expect(text).toMatch(/Issuer: O ?= ?cluster\.local\n/);
    expect(text).toMatch(/X509v3 Key Usage: critical\n *Digital Signature, Key Encipherment *\n/);
    expect(text).toMatch(
      /X509v3 Extended Key Usage: *\n *TLS Web Server Authentication, TLS Web Client Authentication *\n/,
    );
    expect(text).toMatch(/X509v3 Basic Constraints: critical\n *CA:FALSE *\n/);
    expect(text).toMatch(new RegExp(`X509v3 Subject Alternative Name: critical\\n *URI:${webUri}\\n`));
    expect(text.match(/X509v3 [A-Z][A-Za-z ]+:/g)).toHaveLength(5);
    expect(text).toMatch(/Signature Algorithm: ecdsa-with-SHA256/);
  });

  test("says the same to node:crypto", () => {
    const leaf = issue();
    expect(leaf.ca).toBe(false);
    expect(leaf.subject).toBeUndefined();
    expect(leaf.subjectAltName).toBe(`URI:${webUri}`);
    expect(leaf.keyUsage).toEqual(["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]);
    expect(leaf.publicKey.equals(keyPair.publicKey)).toBe(true);
    expect(leaf.verify(readX509(rootPem).publicKey)).toBe(true);
    expect(readCertificateIdentity(leaf.raw)).toEqual(web);
  });

  test.each(["sslserver", "sslclient"])("is strictly verified by openssl as %s", (purpose) => {
    expect(verifyByOpenssl(issue().toString(), { purpose })).toBe("leaf.pem: OK\n");
  });

  test.each(["sslserver", "sslclient"])("below an intermediate it is strictly verified as %s", (purpose) => {
    const leaf = issue(createIssuer(intermediate)).toString();
    expect(verifyByOpenssl(leaf, { purpose, untrusted: intermediate.certificatePem })).toBe("leaf.pem: OK\n");
    expect(verifyByOpenssl(leaf, { purpose })).toMatch(/unable to get local issuer certificate/);
  });

  test("is not accepted as an issuer by openssl", () => {
    const organization = "leaf";
    const pretender = createKeyPair();
    const leafPem = buildLeaf(root.issuer, { organization }, pretender).pem;
    const pretended = createIssuer(createRootCertificate(organization, now, pretender));
    const below = issueCertificate(pretended, { publicKey: keyPair.publicKey, identity: web, ttlMs: day }, now).pem;
    expect(verifyByOpenssl(below, { untrusted: leafPem })).toMatch(/invalid CA certificate|unable to get/);
  });

  test.each<[string, () => KeyPair, string]>([
    ["P-256", createKeyPair, "ecdsa-with-SHA256"],
    ["P-384", () => generateKeyPairSync("ec", { namedCurve: "P-384" }), "ecdsa-with-SHA256"],
    ["RSA", () => generateKeyPairSync("rsa", { modulusLength: 2048 }), "sha256WithRSAEncryption"],
  ])("is verified below a root with a key of kind %s", (_, create, algorithm) => {
    const authority = createRootCertificate("test", now, create());
    const leaf = issue(createIssuer(authority)).toString();
    expect(describeByOpenssl(leaf)).toContain(`Signature Algorithm: ${algorithm}`);
    const files = { "leaf.pem": leaf, "root.pem": authority.certificatePem };
    const args = ["verify", "-x509_strict", ...verifyAt, "-CAfile", "root.pem", "leaf.pem"];
    expect(openssl(args, files).text).toBe("leaf.pem: OK\n");
  });

  test("is verified below a root made by openssl, whose name has several parts", () => {
    const args = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/C=CH/O=Ünïted/OU=Mesh/CN=root", "-utf8"];
    const key = openssl(["genrsa", "-out", "key.pem", "2048"]).written("key.pem");
    const selfSign = [
      "-key",
      "key.pem",
      "-days",
      "3650",
      "-addext",
      "keyUsage=critical,keyCertSign",
      "-out",
      "root.pem",
    ];
    const theirs = openssl([...args.filter((one) => !/^-?(newkey|rsa:2048|nodes)$/.test(one)), ...selfSign], {
      "key.pem": key,
    });
    const issuer = createIssuer({ certificatePem: theirs.written("root.pem"), privateKeyPem: key });
    const leaf = issue(issuer, 3_600_000, new Date()).toString();
    const files = { "leaf.pem": leaf, "root.pem": theirs.written("root.pem") };
    expect(openssl(["verify", "-x509_strict", "-CAfile", "root.pem", "leaf.pem"], files).text).toBe("leaf.pem: OK\n");
  });

  test("has a serial of 128 random bits, always positive", () => {
    const serials = Array.from({ length: 200 }, () => BigInt(`0x${issue().serialNumber}`));
    expect(new Set(serials).size).toBe(200);
    expect(serials.every((one) => one > 0n && one < 2n ** 128n)).toBe(true);
    // Each bit is set in some and clear in others: in 200 draws one that is not would be no accident.
    const all = serials.reduce((a, b) => a | b, 0n);
    const none = serials.reduce((a, b) => a & b, 2n ** 128n - 1n);
    expect([all, none]).toEqual([2n ** 128n - 1n, 0n]);
  });

  test("tells when it begins and ends, and its serial", () => {
    const issued = issueCertificate(root.issuer, { publicKey: keyPair.publicKey, identity: web, ttlMs: day }, now);
    expect(issued.notBefore).toEqual(new Date("2026-11-21T11:58:00Z"));
    expect(issued.notAfter).toEqual(new Date("2026-11-22T12:00:00Z"));
    expect(issued.serial).toBe(BigInt(`0x${readX509(issued.pem).serialNumber}`).toString());
  });

  test.each([
    [1000, 1000],
    [3_600_000, 3_600_000],
    [90 * day, 90 * day],
    [0, day],
    [-1, day],
    [Number.NEGATIVE_INFINITY, day],
    [Number.NaN, day],
  ])("asked for %d ms it lives %d ms, and two minutes before", (ttlMs, expected) => {
    const leaf = issue(root.issuer, ttlMs);
    expect(leaf.validFromDate).toEqual(new Date(now.getTime() - 120_000));
    expect(leaf.validToDate.getTime() - now.getTime()).toBe(expected);
  });

  test.each([90 * day + 1, 365 * day, Number.POSITIVE_INFINITY])("is refused when asked for %d ms", (ttlMs) => {
    expect(() => issue(root.issuer, ttlMs)).toThrow(expect.objectContaining({ code: "CERTIFICATE_TTL_TOO_LONG" }));
  });

  test("ends with its issuer at the latest", () => {
    const end = root.issuer.certificate.validToDate;
    const late = new Date(end.getTime() - 3_600_000);
    expect(issue(root.issuer, day, late).validToDate).toEqual(end);
  });

  test("is refused once the issuer has ended", () => {
    const end = root.issuer.certificate.validToDate;
    expect(() => issue(root.issuer, day, end)).toThrow(expect.objectContaining({ code: "ISSUER_EXPIRED" }));
  });

  test("crosses the year 2050, where the notation of time changes (RFC 5280 §4.1.2.5)", () => {
    const authority = createRootCertificate("test", new Date("2045-06-01T00:00:00Z"), createKeyPair());
    expect(readX509(authority.certificatePem).validToDate).toEqual(new Date("2055-05-30T00:00:00Z"));
    const at = new Date("2049-12-31T23:30:00Z");
    expect(issue(createIssuer(authority), day, at).validToDate).toEqual(new Date("2050-01-01T23:30:00Z"));
  });

  test.each<[string, Partial<typeof web>]>([
    ["a slash in the service account", { serviceAccount: "web/x" }],
    ["a namespace that brings its own account", { namespace: "shop/sa/admin" }],
    ["a NUL", { serviceAccount: "web\0" }],
    ["an escaped slash", { namespace: "a%2fb" }],
    ["a dot segment", { namespace: ".." }],
    ["an empty account", { serviceAccount: "" }],
    ["an empty trust domain", { trustDomain: "" }],
    ["a trust domain with a port", { trustDomain: "cluster.local:80" }],
    ["letters that are not ASCII", { serviceAccount: "wéb" }],
  ])("is refused for an identity with %s", (_, parts) => {
    const request = { publicKey: keyPair.publicKey, identity: { ...web, ...parts }, ttlMs: day };
    expect(() => issueCertificate(root.issuer, request, now)).toThrow(
      expect.objectContaining({ code: "CERTIFICATE_INVALID" }),
    );
  });

  test.each<[string, KeyPair]>([
    ["RSA of 1024 bits", generateKeyPairSync("rsa", { modulusLength: 1024 })],
    ["P-224", generateKeyPairSync("ec", { namedCurve: "secp224r1" })],
    ["Ed25519", generateKeyPairSync("ed25519")],
  ])("is refused for a key of kind %s", (_, { publicKey }) => {
    expect(() => issueCertificate(root.issuer, { publicKey, identity: web, ttlMs: day }, now)).toThrow(
      expect.objectContaining({ code: "CERTIFICATE_INVALID", message: expect.stringMatching(/^Key refused: /) }),
    );
  });
});

describe("issueServerCertificate", () => {
  test("carries host names and addresses that openssl matches", () => {
    const names = { dnsNames: ["istiod.istio-system.svc", "*.a.example"], ips: ["127.0.0.1", "fd00::7"] };
    const { pem } = issueServerCertificate(root.issuer, { publicKey: keyPair.publicKey, names, ttlMs: day }, now);
    expect(describeByOpenssl(pem)).toMatch(
      /critical\n *DNS:istiod\.istio-system\.svc, DNS:\*\.a\.example, IP Address:127\.0\.0\.1, IP Address:FD00:0:0:0:0:0:0:7\n/,
    );
    const leaf = readX509(pem);
    expect(leaf.checkHost("istiod.istio-system.svc")).toBeDefined();
    expect(leaf.checkIP("127.0.0.1")).toBeDefined();
    expect(leaf.checkHost("istiod.other.svc")).toBeUndefined();
    expect(verifyByOpenssl(pem)).toBe("leaf.pem: OK\n");
  });
});

describe("createRootCertificate", () => {
  test("is a CA for ten years that openssl strictly verifies", () => {
    const text = describeByOpenssl(rootPem);
    expect(text).toMatch(/X509v3 Key Usage: critical\n *Certificate Sign, CRL Sign *\n/);
    expect(text).toMatch(/X509v3 Basic Constraints: critical\n *CA:TRUE *\n/);
    expect(text).toMatch(/X509v3 Subject Key Identifier/);
    expect(text).not.toMatch(/Extended Key Usage|Alternative Name/);
    expect(verifyByOpenssl(rootPem, { purpose: "any" })).toBe("leaf.pem: OK\n");
    const { validFromDate, validToDate } = readX509(rootPem);
    expect([validFromDate, validToDate]).toEqual([
      new Date(now.getTime() - 120_000),
      new Date(now.getTime() + 3650 * day),
    ]);
  });

  test("keeps the key it was given", () => {
    const made = createRootCertificate("x", now, keyPair);
    expect(made.privateKeyPem).toBe(formatPrivateKey(keyPair));
    expect(readX509(made.certificatePem).checkPrivateKey(parseKeyPair(made.privateKeyPem).privateKey)).toBe(true);
  });
});

describe("createIntermediateCertificate", () => {
  test("may sign leaves only, and ends with its issuer", () => {
    const text = describeByOpenssl(intermediate.certificatePem);
    expect(text).toMatch(/CA:TRUE, pathlen:0/);
    expect(text).toMatch(/X509v3 Authority Key Identifier/);
    expect(verifyByOpenssl(intermediate.certificatePem, { purpose: "any" })).toBe("leaf.pem: OK\n");
    expect(readX509(intermediate.certificatePem).validToDate).toEqual(readX509(rootPem).validToDate);
  });

  test("below another one is refused by openssl", () => {
    const second = createIntermediateCertificate(createIssuer(intermediate), "third", now, createKeyPair());
    const leaf = issue(createIssuer(second)).toString();
    const untrusted = second.certificatePem + intermediate.certificatePem;
    expect(verifyByOpenssl(leaf, { untrusted })).toMatch(/path length constraint exceeded/);
  });
});

describe("createIssuer", () => {
  const ed25519 = generateKeyPairSync("ed25519");
  const leaf = buildLeaf(root.issuer);
  const ed25519Root = (): AuthorityCertificate => {
    const key = formatPrivateKey(ed25519);
    const args = ["req", "-x509", "-key", "key.pem", "-subj", "/O=ed25519", "-out", "root.pem"];
    return { certificatePem: openssl(args, { "key.pem": key }).written("root.pem"), privateKeyPem: key };
  };
  test.each<[string, () => AuthorityCertificate, RegExp]>([
    ["a leaf", () => ({ certificatePem: leaf.pem, privateKeyPem: leaf.privateKeyPem }), /is not a CA certificate/],
    ["another key", () => ({ certificatePem: rootPem, privateKeyPem: leaf.privateKeyPem }), /does not fit/],
    ["a key that is noise", () => ({ certificatePem: rootPem, privateKeyPem: "hello" }), /private key is not readable/],
    [
      "a certificate that is noise",
      () => ({ certificatePem: "hello", privateKeyPem: leaf.privateKeyPem }),
      /not readable/,
    ],
    ["a key that cannot sign as peers expect", ed25519Root, /of type ed25519 instead of EC or RSA/],
  ])("refuses %s", (_, authority, reason) => {
    expect(() => createIssuer(authority())).toThrow(
      expect.objectContaining({ code: "CERTIFICATE_INVALID", message: expect.stringMatching(reason) }),
    );
  });
});

describe("createCertificateAuthority", () => {
  const other = createTestRoot("other").authority.certificatePem;
  const clock = { now: () => 0, wallTime: () => now, setTimer: () => ({ cancel: () => {} }) };

  test("answers leaf, intermediates one each, and all roots last", () => {
    const authority = createCertificateAuthority({
      authority: intermediate,
      intermediatesPem: intermediate.certificatePem,
      rootBundlePem: rootPem + other,
      clock,
    });
    const answer = authority.sign(createCsr(web, keyPair), { identity: web, ttlMs: day });
    expect(answer.slice(1)).toEqual([intermediate.certificatePem, rootPem + other]);
    const issued = { chain: answer.slice(0, -1), roots: [rootPem], privateKeyPem: formatPrivateKey(keyPair) };
    expect(checkIssuedChain(issued, web, now).identity).toEqual(web);
  });

  test("answers leaf and roots when it is a root itself", () => {
    const authority = createCertificateAuthority({ authority: root.authority, rootBundlePem: rootPem, clock });
    expect(authority.sign(createCsr(web, keyPair), { identity: web, ttlMs: day })).toHaveLength(2);
  });

  test("signs the identity that was granted, whatever the request names", () => {
    const authority = createCertificateAuthority({ authority: root.authority, rootBundlePem: rootPem, clock });
    const csr = createCsr({ ...web, serviceAccount: "admin" }, keyPair);
    const [leaf = ""] = authority.sign(csr, { identity: web, ttlMs: day });
    expect(readCertificateIdentity(readX509(leaf).raw)).toEqual(web);
  });

  test.each<[string, Partial<Parameters<typeof createCertificateAuthority>[0]>, string]>([
    ["an intermediate that clients will not be sent", { authority: intermediate }, "CERTIFICATE_INVALID"],
    ["a root that is not in the bundle", { rootBundlePem: other }, "CERTIFICATE_INVALID"],
    [
      "an intermediate whose root is not in the bundle",
      { authority: intermediate, intermediatesPem: intermediate.certificatePem, rootBundlePem: other },
      "CERTIFICATE_INVALID",
    ],
    ["intermediates that begin with another", { intermediatesPem: intermediate.certificatePem }, "CERTIFICATE_INVALID"],
    ["an empty bundle", { rootBundlePem: "" }, "TRUST_BUNDLE_INVALID"],
  ])("refuses %s", (_, options, code) => {
    expect(() =>
      createCertificateAuthority({ authority: root.authority, rootBundlePem: rootPem, clock, ...options }),
    ).toThrow(expect.objectContaining({ code }));
  });

  test("accepts another certificate of its own key: a root that is being replaced", () => {
    const key = parseKeyPair(root.authority.privateKeyPem);
    const crossSigned = createRootCertificate("cluster.local", hoursFromNow(-1), key).certificatePem;
    const authority = createCertificateAuthority({ authority: root.authority, rootBundlePem: crossSigned, clock });
    expect(authority.rootBundlePem).toBe(crossSigned);
  });
});
