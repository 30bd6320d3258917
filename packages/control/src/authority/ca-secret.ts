// The Secrets that hold a CA: Istio's names of files.

import { createKeyPair, createRootCertificate, parseTrustBundle, splitCertificates } from "@hairpin/shared/identity";
import type { Clock } from "@hairpin/shared/process";
import { ControlError } from "../errors.ts";
import type { KubernetesObject } from "../collection/kubernetes-object.ts";
import { type CaMaterial, createSigningAuthority } from "./signing-authority.ts";

/** A CA that an operator plugs in; goes before ours. */
export const pluggedSecretName = "cacerts";
/** A CA that control made itself. */
export const ownSecretName = "istio-ca-secret";
const ownSecretType = "istio.io/ca-root";

export interface Secret extends KubernetesObject {
  readonly type?: string;
  /** Base64. */
  readonly data?: Readonly<Record<string, string>>;
}

/**
 * The CA of a Secret: Istio's files (`ca-cert.pem`, `ca-key.pem`, `cert-chain.pem`, `root-cert.pem`; the last two may be missing or
 * empty when the certificate is a root), or those of a `kubernetes.io/tls` Secret with `ca.crt`. Throws `CA_SECRET_INVALID` when
 * something is missing, unreadable or does not fit.
 */
export function readCaSecret(secret: Secret, clock: Clock): CaMaterial {
  const name = `${secret.metadata.namespace ?? ""}/${secret.metadata.name}`;
  const text = (key: string): string => Buffer.from(secret.data?.[key] ?? "", "base64").toString("utf8");
  const first = (...keys: readonly string[]): string => keys.map(text).find((value) => value.trim() !== "") ?? "";
  const certificatePem = first("ca-cert.pem", "tls.crt");
  const privateKeyPem = first("ca-key.pem", "tls.key");
  if (certificatePem === "" || privateKeyPem === "")
    throw new ControlError("CA_SECRET_INVALID", `Secret ${name} has no ca-cert.pem or no ca-key.pem`);
  try {
    const rootsPem = parseTrustBundle(first("root-cert.pem", "ca.crt") || certificatePem).join("");
    const material = {
      signing: { certificatePem, privateKeyPem },
      intermediatesPem: chainOf(first("cert-chain.pem"), certificatePem, rootsPem),
      rootsPem,
    };
    createSigningAuthority(material, rootsPem, clock);
    return material;
  } catch (cause) {
    throw new ControlError("CA_SECRET_INVALID", `The CA in Secret ${name} cannot be used`, { cause });
  }
}

/** Without a chain an intermediate is sent by itself: its root is the bundle's. */
function chainOf(chainPem: string, certificatePem: string, rootsPem: string): string {
  if (chainPem !== "") return chainPem;
  const roots = splitCertificates(rootsPem);
  const own = splitCertificates(certificatePem);
  return own.some((pem) => roots.includes(pem)) ? "" : own.join("");
}

/** A new self-signed CA (P-256, 10 years) as the Secret that keeps it. */
export function buildOwnSecret(namespace: string, clock: Clock): Secret {
  const { certificatePem, privateKeyPem } = createRootCertificate("hairpin", clock.wallTime(), createKeyPair());
  const encode = (text: string): string => Buffer.from(text).toString("base64");
  return {
    apiVersion: "v1",
    kind: "Secret",
    metadata: { name: ownSecretName, namespace, labels: { "istio.io/config": "true" } },
    type: ownSecretType,
    data: {
      "ca-cert.pem": encode(certificatePem),
      "ca-key.pem": encode(privateKeyPem),
      "root-cert.pem": encode(certificatePem),
      "cert-chain.pem": "",
    },
  };
}
