// Service account tokens of the local mesh: ES256 JWTs bound to one pod.

import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomUUID, sign } from "node:crypto";

export interface TokenSubject {
  readonly namespace: string;
  readonly serviceAccount: { readonly name: string; readonly uid: string };
  readonly pod: { readonly name: string; readonly uid: string };
  readonly node: { readonly name: string; readonly uid: string };
}

export interface TokenRequest {
  readonly audience: string;
  readonly lifetimeSeconds: number;
}

const issuer = "hairpin-local";
/** No token lives longer. */
export const maxTokenLifetimeSeconds = 3600;
/** Kubernetes' own lower limit. */
const minTokenLifetimeSeconds = 600;

export class TokenIssuer {
  readonly #key: KeyObject;
  readonly #keyId: string;
  readonly #wallTime: () => Date;

  constructor(wallTime: () => Date = () => new Date()) {
    this.#key = createPrivateKey(
      generateKeyPairSync("ec", {
        namedCurve: "P-256",
        privateKeyEncoding: { type: "pkcs8", format: "pem" },
        publicKeyEncoding: { type: "spki", format: "pem" },
      }).privateKey,
    );
    this.#keyId = randomUUID();
    this.#wallTime = wallTime;
  }

  /** PEM of the key that verifies the tokens. */
  get publicKeyPem(): string {
    return createPublicKey(this.#key).export({ type: "spki", format: "pem" });
  }

  /** The token and when it ends; the lifetime is kept between ten minutes and an hour. */
  issue(subject: TokenSubject, request: TokenRequest): { readonly token: string; readonly expiresAt: Date } {
    const issuedAt = Math.floor(this.#wallTime().getTime() / 1000);
    const lifetime = Math.min(Math.max(request.lifetimeSeconds, minTokenLifetimeSeconds), maxTokenLifetimeSeconds);
    const { namespace, serviceAccount, pod, node } = subject;
    const claims = {
      iss: issuer,
      aud: [request.audience],
      sub: `system:serviceaccount:${namespace}:${serviceAccount.name}`,
      iat: issuedAt,
      nbf: issuedAt,
      exp: issuedAt + lifetime,
      jti: randomUUID(),
      "kubernetes.io": { namespace, node, pod, serviceaccount: serviceAccount },
    };
    const signed = `${encodePart({ alg: "ES256", kid: this.#keyId, typ: "JWT" })}.${encodePart(claims)}`;
    const signature = sign("sha256", Buffer.from(signed), { key: this.#key, dsaEncoding: "ieee-p1363" });
    return { token: `${signed}.${signature.toString("base64url")}`, expiresAt: new Date(claims.exp * 1000) };
  }
}

function encodePart(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString("base64url");
}
