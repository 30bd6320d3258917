import { readX509, splitCertificates } from "./certificate.ts";
import { IdentityError } from "./errors.ts";

/** More roots than any mesh has; each costs every handshake. */
const maxRoots = 64;

/**
 * The roots of a PEM bundle, one PEM each, without repetitions. Throws `TRUST_BUNDLE_INVALID`: empty, unreadable, more than 64, or
 * one that is not a CA certificate.
 */
export function parseTrustBundle(pem: string): readonly string[] {
  let roots: string[];
  try {
    roots = [...new Set(splitCertificates(pem))];
    if (roots.length === 0) throw new Error("it has no certificate");
    if (roots.length > maxRoots) throw new Error(`it has ${roots.length} roots, more than ${maxRoots}`);
    const other = roots.findIndex((root) => !readX509(root).ca);
    if (other >= 0) throw new Error(`certificate ${other + 1} is not a CA certificate`);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new IdentityError("TRUST_BUNDLE_INVALID", `Trust bundle refused: ${reason}`, { cause });
  }
  return roots;
}

/** The same roots, in whatever order? */
export function equalTrustBundle(a: readonly string[], b: readonly string[]): boolean {
  const left = new Set(a);
  return left.size === new Set(b).size && b.every((root) => left.has(root));
}
