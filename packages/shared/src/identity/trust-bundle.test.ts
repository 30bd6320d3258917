import { describe, expect, test } from "vitest";
import { buildLeaf, createTestRoot } from "./issue.test-support.ts";
import { equalTrustBundle, parseTrustBundle } from "./trust-bundle.ts";
import { openssl } from "./openssl.test-support.ts";

const one = createTestRoot("one");
const a = one.authority.certificatePem;
const b = createTestRoot("two").authority.certificatePem;

describe("parseTrustBundle", () => {
  test("gives each root once, in order", () => {
    expect(parseTrustBundle(`# roots\n${b}\n${a}${b}${a.replaceAll("\n", "\r\n")}`)).toEqual([b, a]);
  });

  const leaf = buildLeaf(one.issuer);
  const many = Array.from({ length: 65 }, (_, index) => createTestRoot(`root ${index}`).authority.certificatePem);
  test("takes 64 roots", () => {
    expect(parseTrustBundle(many.slice(1).join(""))).toHaveLength(64);
  });

  test.each([
    ["that is empty", "", /it has no certificate/],
    ["of comments", "# none\n", /it has no certificate/],
    ["that is no PEM", "hello", /not readable/],
    ["with a root that was cut off", a + b.slice(0, 300), /not readable/],
    ["with a leaf", a + leaf.pem, /certificate 2 is not a CA certificate/],
    ["with a private key", a + leaf.privateKeyPem, /not readable/],
    ["with a root that is noise", `-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n`, /not readable/],
    ["with 65 roots", many.join(""), /65 roots, more than 64/],
  ])("refuses a bundle %s", (_, pem, reason) => {
    expect(() => parseTrustBundle(pem)).toThrow(
      expect.objectContaining({ code: "TRUST_BUNDLE_INVALID", message: expect.stringMatching(reason) }),
    );
  });

  test("refuses a root of version 1, which does not say that it is a CA", () => {
    const key = openssl(["genrsa", "-out", "k.pem", "2048"]).written("k.pem");
    const csr = openssl(["req", "-new", "-key", "k.pem", "-subj", "/O=old", "-out", "r.pem"], { "k.pem": key });
    const args = ["x509", "-req", "-in", "r.pem", "-signkey", "k.pem", "-out", "c.pem"];
    const old = openssl(args, { "k.pem": key, "r.pem": csr.written("r.pem") }).written("c.pem");
    expect(() => parseTrustBundle(old)).toThrow(/certificate 1 is not a CA certificate/);
  });
});

describe("equalTrustBundle", () => {
  test.each([
    [[a, b], [b, a], true],
    [[a, b], [a, b, a], true],
    [[a], [a, b], false],
    [[a, b], [a], false],
    [[a], [b], false],
    [[], [], true],
  ])("compares sets (%#)", (left, right, expected) => {
    expect(equalTrustBundle(left, right)).toBe(expected);
  });
});
