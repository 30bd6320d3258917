import { ManualClock } from "@hairpin/testkit";
import { beforeEach, describe, expect, test } from "vitest";
import { LocalTokenSigner } from "../testing/local-tokens.ts";
import type { TokenVerifier } from "./caller.ts";
import { createTokenReviewVerifier } from "./token-review-verifier.ts";

const signer = new LocalTokenSigner();
const account = { namespace: "shop", serviceAccount: "web" };

/** What the API server says of web's token. */
const good = {
  authenticated: true,
  audiences: ["istio-ca"],
  user: {
    username: "system:serviceaccount:shop:web",
    groups: ["system:serviceaccounts", "system:serviceaccounts:shop", "system:authenticated"],
    extra: {
      "authentication.kubernetes.io/pod-name": ["web-1"],
      "authentication.kubernetes.io/pod-uid": ["uid-1"],
    },
  },
};

describe("createTokenReviewVerifier", () => {
  let clock: ManualClock;
  let asked: unknown[];
  let answer: () => Promise<unknown>;
  let verifier: TokenVerifier;
  beforeEach(() => {
    clock = new ManualClock(new Date("2026-01-01T00:00:00Z"));
    asked = [];
    answer = async () => ({ status: good });
    const review = async <T>(question: unknown): Promise<T> => {
      asked.push(question);
      return (await answer()) as T;
    };
    verifier = createTokenReviewVerifier({ api: { review }, clock });
  });
  const token = (claims: { lifetimeSeconds?: number; audience?: string } = {}): Promise<string> =>
    signer.sign({ ...account, issuedAt: clock.wallTime(), ...claims });

  test("gives the account and the pod that the API server names, asked for our audience", async () => {
    const text = await token();
    expect(await verifier.verify(text)).toEqual({ ...account, pod: { name: "web-1", uid: "uid-1" } });
    expect(asked).toEqual([
      {
        apiVersion: "authentication.k8s.io/v1",
        kind: "TokenReview",
        spec: { token: text, audiences: ["istio-ca"] },
      },
    ]);
  });

  test("asks once for many calls at the same time and for 10 s, then again", async () => {
    const text = await token();
    await Promise.all([verifier.verify(text), verifier.verify(text)]);
    await clock.advance(9_999);
    await verifier.verify(text);
    expect(asked).toHaveLength(1);
    await clock.advance(1);
    await verifier.verify(text);
    expect(asked).toHaveLength(2);
  });

  test("believes nothing past the token's own end", async () => {
    const text = await token({ lifetimeSeconds: 4 });
    await verifier.verify(text);
    await clock.advance(4_000);
    await expect(verifier.verify(text)).rejects.toThrow("Token refused: it ended at 2026-01-01T00:00:04.000Z");
  });

  test("refuses when the API server does not answer, and asks again the next time", async () => {
    answer = async () => await Promise.reject(new Error("connection refused"));
    const text = await token();
    await expect(verifier.verify(text)).rejects.toMatchObject({
      code: "TOKEN_REVIEW_FAILED",
      message: "Token could not be reviewed: connection refused",
    });
    answer = async () => ({ status: good });
    await expect(verifier.verify(text)).resolves.toMatchObject(account);
  });

  test("does not remember a refusal as a caller", async () => {
    const text = await token();
    answer = async () => ({ status: { authenticated: false, error: "token has been invalidated" } });
    await expect(verifier.verify(text)).rejects.toThrow("Token refused: token has been invalidated");
    await expect(verifier.verify(text)).rejects.toThrow("invalidated");
    expect(asked).toHaveLength(2);
  });

  test.each<[string, object, string]>([
    ["is unknown", { authenticated: false }, "the API server does not know it"],
    ["was reviewed without audiences", { ...good, audiences: undefined }, "the API server says it is for audience "],
    ["is for another audience", { ...good, audiences: ["api"] }, "the API server says it is for audience api"],
    ["is a user's", { ...good, user: { ...good.user, groups: ["admins"] } }, "is not a service account"],
    [
      "is of a strange user",
      { ...good, user: { ...good.user, username: "system:serviceaccount:shop:web:x" } },
      "its user name system:serviceaccount:shop:web:x is not that of a service account",
    ],
  ])("refuses a token that %s", async (_, status, reason) => {
    answer = async () => ({ status });
    await expect(verifier.verify(await token())).rejects.toMatchObject({
      code: "TOKEN_REFUSED",
      message: expect.stringContaining(reason),
    });
  });

  test("a token without a pod gives a caller without a pod", async () => {
    answer = async () => ({ status: { ...good, user: { ...good.user, extra: {} } } });
    expect((await verifier.verify(await token())).pod).toBeUndefined();
  });

  test.each<[string, () => Promise<string>, string]>([
    ["is no JWT", async () => "abc", "it is not a JWT"],
    ["is huge", async () => "a".repeat(20_000), "it has 20000 bytes, more than 16384"],
    ["names another audience", () => token({ audience: "api" }), "it is for audience api, not istio-ca"],
    ["has ended", () => token({ lifetimeSeconds: -1 }), "it ended at "],
  ])("refuses a token that %s without asking", async (_, text, reason) => {
    await expect(verifier.verify(await text())).rejects.toThrow(reason);
    expect(asked).toEqual([]);
  });

  test("asks 32 questions at once at most", async () => {
    const gate = Promise.withResolvers<void>();
    answer = async () => {
      await gate.promise;
      return { status: good };
    };
    const texts = await Promise.all(Array.from({ length: 40 }, (_, index) => token({ lifetimeSeconds: 100 + index })));
    const verified = Promise.all(texts.map((text) => verifier.verify(text)));
    await new Promise(setImmediate);
    expect(asked).toHaveLength(32);
    gate.resolve();
    await verified;
    expect(asked).toHaveLength(40);
  });
});
