import type { TlsMaterial } from "@hairpin/wire";
import type { Certificate } from "./certificate.ts";

/** What a TLS engine makes a context of. */
export function createTlsMaterial(certificate: Certificate): TlsMaterial {
  return {
    certificateChain: certificate.chainPem,
    privateKey: certificate.privateKeyPem,
    roots: certificate.rootsPem,
  };
}
