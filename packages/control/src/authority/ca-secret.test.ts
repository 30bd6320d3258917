import { createKeyPair, formatPrivateKey } from "@hairpin/shared/identity";
import { ManualClock, TestAuthority } from "@hairpin/testkit";
import { describe, expect, test } from "vitest";
import { buildOwnSecret, readCaSecret, type Secret } from "./ca-secret.ts";

const clock = new ManualClock(new Date());
const root = new TestAuthority({ now: clock.wallTime() });
const below = new TestAuthority({ intermediate: true, root: root.signing, now: clock.wallTime() });

function secretOf(files: Readonly<Record<string, string>>): Secret {
  const data = Object.fromEntries(Object.entries(files).map(([key, text]) => [key, btoa(text)]));
  return { apiVersion: "v1", kind: "Secret", metadata: { name: "cacerts", namespace: "istio-system" }, data };
}

const { certificatePem, privateKeyPem } = below.signing;
const plugged = { "ca-cert.pem": certificatePem, "ca-key.pem": privateKeyPem, "root-cert.pem": root.rootPem };

describe("readCaSecret", () => {
  test.each<[string, Readonly<Record<string, string>>]>([
    ["with its chain", { ...plugged, "cert-chain.pem": certificatePem }],
    [
      "with the root in its chain, as Istio's tools write it",
      { ...plugged, "cert-chain.pem": certificatePem + root.rootPem },
    ],
    ["without a chain", plugged],
    ["as cert-manager writes it", { "tls.crt": certificatePem, "tls.key": privateKeyPem, "ca.crt": root.rootPem }],
  ])("reads an intermediate %s", (_, files) => {
    const material = readCaSecret(secretOf(files), clock);
    expect(material.rootsPem).toBe(root.rootPem);
    expect(material.intermediatesPem.startsWith(certificatePem)).toBe(true);
    expect(material.signing).toEqual({ certificatePem, privateKeyPem });
  });

  test("reads what control made itself, with the empty files that Istio leaves", () => {
    const material = readCaSecret(buildOwnSecret("istio-system", clock), clock);
    expect(material.intermediatesPem).toBe("");
    expect(material.rootsPem).toBe(material.signing.certificatePem);
  });

  test.each<[string, Readonly<Record<string, string>>, RegExp]>([
    ["nothing", {}, /^Secret istio-system\/cacerts has no ca-cert.pem or no ca-key.pem$/],
    ["no key", { "ca-cert.pem": certificatePem }, /has no ca-cert.pem or no ca-key.pem/],
    ["a key that does not fit", { ...plugged, "ca-key.pem": formatPrivateKey(createKeyPair()) }, /cannot be used/],
    ["a root that does not verify it", { ...plugged, "root-cert.pem": new TestAuthority().rootPem }, /cannot be used/],
    ["a certificate that is none", { ...plugged, "ca-cert.pem": "hello" }, /cannot be used/],
  ])("refuses a Secret with %s", (_, files, message) => {
    expect(() => readCaSecret(secretOf(files), clock)).toThrow(
      expect.objectContaining({ code: "CA_SECRET_INVALID", message: expect.stringMatching(message) }) as Error,
    );
  });
});
