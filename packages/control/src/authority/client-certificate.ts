import { readCertificateIdentity } from "@hairpin/shared/identity";
import { formatSpiffeId, type Identity } from "@hairpin/shared/model";
import { errorMessage } from "@hairpin/shared/process";
import type { MeshConfig } from "../ambient/mesh-config.ts";
import { type Caller, tokenRefused } from "./caller.ts";

/**
 * Whose client certificate this is, in DER. That it is valid and of our own roots was checked by TLS. Throws `TOKEN_REFUSED` for
 * one that names no identity of this mesh: a server's, say.
 */
export function callerOfCertificate(der: Uint8Array, { trustDomain }: Pick<MeshConfig, "trustDomain">): Caller {
  let identity: Identity;
  try {
    identity = readCertificateIdentity(der);
  } catch (cause) {
    throw tokenRefused(`the client's certificate has no identity: ${errorMessage(cause)}`, cause);
  }
  if (identity.trustDomain !== trustDomain)
    throw tokenRefused(
      `the client's certificate is for ${formatSpiffeId(identity)}, not of trust domain ${trustDomain}`,
    );
  const { namespace, serviceAccount } = identity;
  return { namespace, serviceAccount, pod: undefined, proof: "certificate" };
}
