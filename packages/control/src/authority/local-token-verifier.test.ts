import { ManualClock } from "@hairpin/testkit";
import { SignJWT } from "jose";
import { describe, expect, test } from "vitest";
import { LocalTokenSigner, type TokenClaims } from "../testing/local-tokens.ts";
import { createLocalTokenVerifier } from "./local-token-verifier.ts";

const clock = new ManualClock();
const signer = new LocalTokenSigner();
const claims: TokenClaims = {
  namespace: "shop",
  serviceAccount: "web",
  pod: { name: "web-1", uid: "u1" },
  issuedAt: clock.wallTime(),
};
const verifier = await createLocalTokenVerifier(signer.publicKeyPem, clock);
const secondsAgo = (seconds: number): Date => new Date(clock.wallTime().getTime() - seconds * 1000);

describe("createLocalTokenVerifier", () => {
  test("reads who the bearer is and which pod the token is bound to", async () => {
    const caller = await verifier.verify(await signer.sign(claims));
    expect(caller).toEqual({ namespace: "shop", serviceAccount: "web", pod: { name: "web-1", uid: "u1" } });
  });

  test.each<[string, Partial<TokenClaims>, RegExp]>([
    ["for another audience", { audience: "api" }, /aud/],
    ["by another issuer", { issuer: "kubernetes" }, /iss/],
    ["that has expired", { issuedAt: secondsAgo(7200), lifetimeSeconds: 3600 }, /EXPIRED/],
    ["that lives longer than an hour", { lifetimeSeconds: 7200 }, /lives for 7200 s/],
    ["whose subject contradicts its claims", { subject: "system:serviceaccount:shop:admin" }, /contradicts/],
  ])("refuses a token %s", async (_, overrides, reason) => {
    const token = await signer.sign({ ...claims, ...overrides });
    await expect(verifier.verify(token)).rejects.toThrow(reason);
  });

  test("refuses a token signed by another key", async () => {
    const token = await new LocalTokenSigner().sign(claims);
    await expect(verifier.verify(token)).rejects.toMatchObject({ code: "TOKEN_REFUSED" });
  });

  test("refuses a token without a signature, and one signed with the public key as a secret", async () => {
    const parts = (await signer.sign(claims)).split(".");
    const header = Buffer.from(JSON.stringify({ alg: "none" })).toString("base64url");
    await expect(verifier.verify(`${header}.${parts[1]}.`)).rejects.toMatchObject({ code: "TOKEN_REFUSED" });
    const confused = await new SignJWT({})
      .setProtectedHeader({ alg: "HS256" })
      .sign(new TextEncoder().encode(signer.publicKeyPem));
    await expect(verifier.verify(confused)).rejects.toMatchObject({ code: "TOKEN_REFUSED" });
  });

  test.each(["", "a.b.c", "x".repeat(10_000)])("refuses what is no token (%#)", async (token) => {
    await expect(verifier.verify(token)).rejects.toMatchObject({ code: "TOKEN_REFUSED" });
  });
});
