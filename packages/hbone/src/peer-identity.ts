import { equalIdentity, formatSpiffeId, parseSpiffeId, type Identity } from "@hairpin/shared/model";
import { readUriSans, type SecureChannel } from "@hairpin/wire";
import { errorCode, errorMessage } from "@hairpin/shared/process";
import { HboneError, type HboneErrorCode } from "./errors.ts";
import { judgePeerChain } from "./peer-chain.ts";
import type { SessionSide } from "./session-metrics.ts";

/** Whom a TLS connection leads to, once nothing speaks against its certificate. */
export interface VerifiedPeer {
  readonly identity: Identity;
  /** When its chain ends. */
  readonly expiresAt: Date;
}

/**
 * Reads and judges the certificates that OpenSSL verified. Throws {@link HboneError} `HBONE_PEER_IDENTITY` or
 * `HBONE_PEER_CERTIFICATE`.
 */
export function verifyPeer(channel: SecureChannel, side: SessionSide): VerifiedPeer {
  const identity = readPeerIdentity(channel, side);
  const chain = judgePeerChain(channel.peerCertificates);
  if ("expiresAt" in chain) return { identity, expiresAt: chain.expiresAt };
  const message = `The certificate of ${formatSpiffeId(identity)} is refused: ${chain.message}`;
  throw refuse(message, side, { reason: chain.reason, code: "HBONE_PEER_CERTIFICATE" });
}

/**
 * The identity that the peer of a TLS connection proved: the one URI SAN of its leaf, read from the DER. A certificate
 * with none, several, or one that is not an Istio SPIFFE ID is refused (X509-SVID §2; stricter than ztunnel, which takes
 * the first that parses). Throws {@link HboneError} `HBONE_PEER_IDENTITY`.
 */
function readPeerIdentity(channel: SecureChannel, side: SessionSide): Identity {
  const [leaf] = channel.peerCertificates;
  if (!leaf) throw refuse("The peer presented no certificate", side, { reason: "no-certificate" });
  let sans: readonly string[];
  try {
    sans = readUriSans(leaf);
  } catch (error) {
    const message = `The peer's certificate cannot be read: ${errorMessage(error)}`;
    throw refuse(message, side, { reason: "malformed", cause: error });
  }
  const [san] = sans;
  if (san === undefined || sans.length > 1) {
    const message = `The peer's certificate has ${sans.length} URI SANs; exactly one is needed`;
    throw refuse(message, side, { reason: san === undefined ? "no-name" : "several-names" });
  }
  try {
    return parseSpiffeId(san);
  } catch (error) {
    const message = `The peer's certificate names no workload: ${errorMessage(error)}`;
    throw refuse(message, side, { reason: "bad-name", cause: error });
  }
}

/** Throws `HBONE_PEER_IDENTITY` unless the identity is of the trust domain. */
export function requireTrustDomain(identity: Identity, trustDomain: string, side: SessionSide): void {
  if (identity.trustDomain === trustDomain) return;
  const message = `The peer's trust domain ${identity.trustDomain} is not ours, ${trustDomain} (${formatSpiffeId(identity)})`;
  throw refuse(message, side, { reason: "trust-domain" });
}

/** Throws `HBONE_PEER_IDENTITY` unless the identity is one of those expected. */
export function requireExpected(identity: Identity, expected: readonly Identity[], side: SessionSide): void {
  if (expected.some((candidate) => equalIdentity(candidate, identity))) return;
  const wanted = expected.map(formatSpiffeId).join(", ");
  const got = formatSpiffeId(identity);
  const message = `identity verification error: peer did not present the expected SAN (${wanted}), got ${got}`;
  throw refuse(message, side, { reason: "unexpected-name" });
}

function refuse(
  message: string,
  origin: SessionSide,
  why: { readonly reason: string; readonly code?: HboneErrorCode; readonly cause?: unknown },
): HboneError {
  const { reason, code = "HBONE_PEER_IDENTITY", cause } = why;
  return new HboneError(message, { code, origin, cause, details: { reason } });
}

/** The word for a TLS handshake that failed, by wire's code. */
export function handshakeFailureReason(error: unknown): string {
  switch (errorCode(error)) {
    case "TLS_HANDSHAKE_TIMEOUT":
      return "handshake-timeout";
    case "TLS_HANDSHAKE_QUEUE_FULL":
      return "handshake-queue";
    case "TLS_NO_ALPN":
      return "no-alpn";
    case "TLS_NO_PEER_CERTIFICATE":
      return "no-certificate";
    default:
      return "handshake";
  }
}
