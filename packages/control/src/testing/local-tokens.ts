import { type KeyObject, generateKeyPairSync } from "node:crypto";
import { SignJWT } from "jose";

/** What a token says; every part can be wrong. */
export interface TokenClaims {
  readonly namespace: string;
  readonly serviceAccount: string;
  readonly pod?: { readonly name: string; readonly uid: string };
  readonly issuer?: string;
  readonly audience?: string;
  readonly subject?: string;
  readonly issuedAt?: Date;
  readonly lifetimeSeconds?: number;
}

/** Signs tokens as the local mesh does. */
export class LocalTokenSigner {
  readonly #privateKey: KeyObject;
  readonly publicKeyPem: string;

  constructor() {
    const { privateKey, publicKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    this.#privateKey = privateKey;
    this.publicKeyPem = publicKey.export({ type: "spki", format: "pem" });
  }

  async sign(claims: TokenClaims): Promise<string> {
    const { namespace, serviceAccount, pod } = claims;
    const issuedAt = Math.floor((claims.issuedAt ?? new Date()).getTime() / 1000);
    const bound = pod === undefined ? {} : { pod, node: { name: "node-a", uid: "node-uid" } };
    return await new SignJWT({
      "kubernetes.io": { namespace, serviceaccount: { name: serviceAccount, uid: "sa-uid" }, ...bound },
    })
      .setProtectedHeader({ alg: "ES256", kid: "local" })
      .setIssuer(claims.issuer ?? "hairpin-local")
      .setAudience(claims.audience ?? "istio-ca")
      .setSubject(claims.subject ?? `system:serviceaccount:${namespace}:${serviceAccount}`)
      .setIssuedAt(issuedAt)
      .setExpirationTime(issuedAt + (claims.lifetimeSeconds ?? 3600))
      .sign(this.#privateKey);
  }
}
