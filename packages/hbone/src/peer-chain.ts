import { X509Certificate } from "node:crypto";
import { findKeyFault, isAcceptedSignature } from "@hairpin/shared/identity";
import { errorMessage } from "@hairpin/shared/process";

/** Certificates of a peer, without the root: a leaf and four above it. */
const maxPeerChainLength = 5;

export type ChainFaultReason = "malformed" | "chain-too-long" | "ca-certificate" | "weak-key" | "weak-signature";

/** Why a chain is refused that OpenSSL found in order. */
export interface ChainFault {
  readonly reason: ChainFaultReason;
  readonly message: string;
}

/** A peer's chain that passed, or why it did not. */
export type PeerChain = { readonly expiresAt: Date } | ChainFault;

/**
 * Judges a verified chain (DER, leaf first) by what OpenSSL's defaults let pass: CA certificates as leaves (X509-SVID §4.1), keys
 * other than P-256, P-384 and RSA of 2048 to 4096 bits, signatures other than ECDSA and RSA with SHA-2, long chains. The root is
 * ours and may be anything. `expiresAt`: when the first certificate of the chain ends.
 */
export function judgePeerChain(certificates: readonly Uint8Array[]): PeerChain {
  let chain: X509Certificate[];
  try {
    chain = certificates.map((der) => new X509Certificate(der));
  } catch (error) {
    return { reason: "malformed", message: `a certificate cannot be read: ${errorMessage(error)}` };
  }
  const expiresAt = new Date(Math.min(...chain.map((certificate) => certificate.validToDate.getTime())));
  const issued = chain.filter(
    (certificate) => certificate.subject === "" || certificate.subject !== certificate.issuer,
  );
  return findFault(chain, issued) ?? { expiresAt };
}

function findFault(chain: readonly X509Certificate[], issued: readonly X509Certificate[]): ChainFault | undefined {
  if (chain[0]?.ca === true) return { reason: "ca-certificate", message: "it is a CA's, not a workload's" };
  if (issued.length > maxPeerChainLength)
    return { reason: "chain-too-long", message: `its chain is longer than ${maxPeerChainLength}` };
  for (const certificate of issued) {
    const keyFault = findKeyFault(certificate.publicKey);
    if (keyFault !== undefined) return { reason: "weak-key", message: keyFault };
    const { signatureAlgorithmOid: oid, signatureAlgorithm: name = oid } = certificate;
    if (!isAcceptedSignature(oid)) return { reason: "weak-signature", message: `signature algorithm ${name}` };
  }
  return undefined;
}
