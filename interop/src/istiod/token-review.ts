import { createPublicKey, type KeyObject, verify } from "node:crypto";

interface Claims {
  readonly sub: string;
  readonly aud: readonly string[];
  /** Seconds since 1970. */
  readonly exp: number;
  readonly "kubernetes.io": {
    readonly namespace: string;
    readonly pod: { readonly name: string; readonly uid: string };
    readonly serviceaccount: { readonly uid: string };
  };
}

interface TokenReviewSpec {
  readonly token: string;
  readonly audiences?: readonly string[];
}

/** Reviews the local mesh's tokens, which the key (PEM, SPKI) signs; gives `status` as the API server of a cluster writes it. */
export function createTokenReview(publicKeyPem: string): (spec: unknown) => object {
  const key = createPublicKey(publicKeyPem);
  return (spec) => {
    const { token, audiences = [] } = spec as TokenReviewSpec;
    const claims = readClaims(token, key);
    if (claims === undefined) return { authenticated: false, error: "the signature is not the mesh's" };
    if (claims.exp * 1000 < Date.now()) return { authenticated: false, error: "the token has expired" };
    if (!audiences.some((audience) => claims.aud.includes(audience)))
      return { authenticated: false, error: `the token is for ${claims.aud.join(", ")}` };
    const { namespace, pod, serviceaccount } = claims["kubernetes.io"];
    return {
      authenticated: true,
      audiences,
      user: {
        username: claims.sub,
        uid: serviceaccount.uid,
        groups: ["system:serviceaccounts", `system:serviceaccounts:${namespace}`, "system:authenticated"],
        extra: {
          "authentication.kubernetes.io/pod-name": [pod.name],
          "authentication.kubernetes.io/pod-uid": [pod.uid],
        },
      },
    };
  };
}

function readClaims(token: string, key: KeyObject): Claims | undefined {
  const [header = "", payload = "", signature = ""] = token.split(".");
  const signed = Buffer.from(`${header}.${payload}`);
  const isSigned = verify("sha256", signed, { key, dsaEncoding: "ieee-p1363" }, Buffer.from(signature, "base64url"));
  return isSigned ? (JSON.parse(Buffer.from(payload, "base64url").toString()) as Claims) : undefined;
}
