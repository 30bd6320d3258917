import { equalIdentity, formatSpiffeId, parseSpiffeId, type Identity } from "@hairpin/shared/model";
import { readUriSans, type SecureChannel } from "@hairpin/wire";
import { errorMessage } from "@hairpin/shared/process";
import { HboneError } from "./errors.ts";

type Side = "downstream" | "upstream";

/**
 * The identity that the peer of a TLS connection proved: the one URI SAN of its leaf, read from the DER. A certificate
 * with none, several, or one that is not an Istio SPIFFE ID is refused (X509-SVID §2; stricter than ztunnel, which takes
 * the first that parses). Throws {@link HboneError} `HBONE_PEER_IDENTITY`.
 */
export function readPeerIdentity(channel: SecureChannel, side: Side): Identity {
  const [leaf] = channel.peerCertificates;
  if (!leaf) throw refuse("The peer presented no certificate", side);
  let sans: readonly string[];
  try {
    sans = readUriSans(leaf);
  } catch (error) {
    throw refuse(`The peer's certificate cannot be read: ${errorMessage(error)}`, side, error);
  }
  const [san] = sans;
  if (san === undefined || sans.length > 1)
    throw refuse(`The peer's certificate has ${sans.length} URI SANs; exactly one is needed`, side);
  try {
    return parseSpiffeId(san);
  } catch (error) {
    throw refuse(`The peer's certificate names no workload: ${errorMessage(error)}`, side, error);
  }
}

/** Throws `HBONE_PEER_IDENTITY` unless the identity is of the trust domain. */
export function requireTrustDomain(identity: Identity, trustDomain: string, side: Side): void {
  if (identity.trustDomain === trustDomain) return;
  throw refuse(
    `The peer's trust domain ${identity.trustDomain} is not ours, ${trustDomain} (${formatSpiffeId(identity)})`,
    side,
  );
}

/** Throws `HBONE_PEER_IDENTITY` unless the identity is one of those expected. */
export function requireExpected(identity: Identity, expected: readonly Identity[], side: Side): void {
  if (expected.some((candidate) => equalIdentity(candidate, identity))) return;
  const wanted = expected.map(formatSpiffeId).join(", ");
  throw refuse(
    `identity verification error: peer did not present the expected SAN (${wanted}), got ${formatSpiffeId(identity)}`,
    side,
  );
}

function refuse(message: string, origin: Side, cause?: unknown): HboneError {
  return new HboneError(message, { code: "HBONE_PEER_IDENTITY", origin, cause });
}
