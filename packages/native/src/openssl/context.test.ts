import { generateKeyPairSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { OpensslContext, type OpensslMaterial } from "./context.ts";
import { libssl } from "./libssl.ts";
import { liveOpensslObjects } from "./live-objects.ts";
import { withPrivateKey } from "./pem.ts";

const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const pkcs8 = privateKey.export({ type: "pkcs8", format: "pem" });
const encrypted = privateKey.export({ type: "pkcs8", format: "pem", cipher: "aes-256-cbc", passphrase: "secret" });
const brokenPem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";

describe("libssl", () => {
  it("finds every symbol in this Node", () => {
    expect(libssl().OpenSSL_version(0)).toMatch(/^OpenSSL 3\./);
    expect(Object.values(libssl()).every((call) => typeof call === "function")).toBe(true);
  });
});

describe("OpensslContext", () => {
  it.each<{ what: string; material: Partial<OpensslMaterial>; message: RegExp }>([
    { what: "no root", material: { roots: [] }, message: /No root certificate/ },
    { what: "text that is no certificate", material: { certificateChain: "x" }, message: /chain: no PEM certificate/ },
    { what: "a certificate that is no DER", material: { certificateChain: brokenPem }, message: /certificate chain: / },
  ])("refuses $what, and frees what it had made", ({ material, message }) => {
    const whole = { certificateChain: brokenPem, privateKey: pkcs8, roots: [brokenPem], ...material };
    expect(() => new OpensslContext(whole)).toThrow(
      expect.objectContaining({ code: "OPENSSL_BAD_MATERIAL", message: expect.stringMatching(message) }),
    );
    expect(liveOpensslObjects()).toEqual({ contexts: 0, connections: 0, temporaries: 0 });
  });
});

describe("withPrivateKey", () => {
  it("reads a key, and refuses an encrypted one without asking the terminal for a password", () => {
    const keys: number[] = [];
    withPrivateKey(pkcs8, (key) => keys.push(key));
    expect(keys[0]).toBeGreaterThan(0);
    expect(() => withPrivateKey(encrypted, (key) => keys.push(key))).toThrow(
      expect.objectContaining({ code: "OPENSSL_BAD_MATERIAL" }),
    );
    expect(keys).toHaveLength(1);
    expect(liveOpensslObjects().temporaries).toBe(0);
  });
});
