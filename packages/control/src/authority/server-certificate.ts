import {
  type Issuer,
  createKeyPair,
  formatPrivateKey,
  issueServerCertificate,
  maxTtlMs,
} from "@hairpin/shared/identity";
import type { Clock } from "@hairpin/shared/process";

export interface ServerCertificate {
  readonly certificateChainPem: string;
  readonly privateKeyPem: string;
  readonly notAfter: Date;
}

/**
 * The certificate of our own ports, by our own CA, with the names that istiod's has: clients of either reach the other. 90 days,
 * or as long as the CA lives.
 */
export function issueOwnServerCertificate(
  issuer: Issuer,
  names: { readonly rootNamespace: string; readonly clusterDomain: string; readonly ips: readonly string[] },
  clock: Clock,
): ServerCertificate {
  const keyPair = createKeyPair();
  const services = ["istiod", "istiod-remote", "istio-pilot"].map((name) => `${name}.${names.rootNamespace}.svc`);
  const dnsNames = services.flatMap((name) => [name, `${name}.${names.clusterDomain}`]);
  const request = { publicKey: keyPair.publicKey, names: { dnsNames, ips: [...names.ips] }, ttlMs: maxTtlMs };
  const issued = issueServerCertificate(issuer, request, clock.wallTime());
  return { certificateChainPem: issued.pem, privateKeyPem: formatPrivateKey(keyPair), notAfter: issued.notAfter };
}
