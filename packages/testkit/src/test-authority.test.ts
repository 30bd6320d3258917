import { type Certificate, checkIssuedChain, readX509, splitCertificates } from "@hairpin/shared/identity";
import { describe, expect, test } from "vitest";
import { type CertificateOverrides, TestAuthority } from "./test-authority.ts";

const authority = new TestAuthority();
const web = authority.identity("shop/web");

/** What the mesh's own check says of it. */
function check(certificate: Certificate): string {
  try {
    const chain = splitCertificates(certificate.chainPem);
    checkIssuedChain({ chain, roots: certificate.rootsPem, privateKeyPem: certificate.privateKeyPem }, web, new Date());
    return "good";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
}

describe("TestAuthority", () => {
  test.each([
    ["directly", authority],
    ["by an intermediate", new TestAuthority({ intermediate: true })],
    ["below a given root", new TestAuthority({ root: authority.root, intermediate: true })],
  ])("issues good certificates %s", (_, by) => {
    expect(check(by.issue("shop/web"))).toBe("good");
  });

  test.each<[string, CertificateOverrides, RegExp]>([
    ["expired", { expired: true }, /it expired/],
    ["not yet valid", { notYetValid: true }, /it is valid from/],
    ["over since a moment", { notAfter: new Date(Date.now() - 1000) }, /it expired/],
    ["with a second identity", { extraUris: ["spiffe://x/ns/a/sa/b"] }, /2 URI names/],
    ["without an identity", { uris: [] }, /0 URI names/],
    ["with a DNS name only", { uris: [], dnsNames: ["web"] }, /0 URI names/],
    ["of another trust domain", { wrongTrustDomain: true }, /instead of/],
    ["that is a CA", { ca: true }, /CA certificate/],
    ["for servers only", { extendedKeyUsages: ["serverAuth"] }, /not for clientAuth/],
    ["signed by itself", { selfSigned: true }, /none of the roots/],
    ["for peers with another root", { roots: [new TestAuthority().rootPem] }, /none of the roots/],
  ])("issues a certificate %s when asked", (_, overrides, reason) => {
    expect(check(authority.issue(web, overrides))).toMatch(reason);
  });

  test("leaves intermediates out when asked, and of what signed itself", () => {
    const by = new TestAuthority({ intermediate: true });
    expect(check(by.issue(web, { withoutIntermediates: true }))).toMatch(/none of the roots/);
    expect(splitCertificates(by.issue(web, { selfSigned: true }).chainPem)).toHaveLength(1);
  });

  test("issues certificates for servers by name and address", () => {
    const leaf = readX509(authority.issueServer({ dnsNames: ["a.example"], ips: ["127.0.0.1"] }).certificatePem);
    expect([leaf.checkHost("a.example"), leaf.checkIP("127.0.0.1")]).toEqual(["a.example", "127.0.0.1"]);
  });

  test("two of one trust domain do not trust each other", () => {
    expect(check({ ...authority.issue(web), rootsPem: [new TestAuthority().rootPem] })).toMatch(/none of the roots/);
  });

  test("takes names short and as SPIFFE IDs", () => {
    expect(authority.identity("spiffe://td/ns/a/sa/b")).toEqual({
      trustDomain: "td",
      namespace: "a",
      serviceAccount: "b",
    });
    expect(web).toEqual({ trustDomain: "cluster.local", namespace: "shop", serviceAccount: "web" });
  });
});
