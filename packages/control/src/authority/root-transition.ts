// How the mesh goes from one root certificate to another without a refused handshake. Pure.
//
//   introduced  the new root is trusted beside the old one, and the old issuer still signs: a certificate of the new issuer
//               would be refused by peers that have not heard of its root yet
//   switched    everybody has heard: the new issuer signs; the old root stays, for certificates that are still in use
//   retired     the last of them has ended: the old root goes

import { readX509, splitCertificates } from "@hairpin/shared/identity";
import type { Clock } from "@hairpin/shared/process";
import { type CaMaterial, createSigningAuthority } from "./signing-authority.ts";

export interface TrustedRoot {
  readonly pem: string;
  /** Wall time in ms since 1970. 0: trusted from the beginning. */
  readonly introducedAt: number;
  /** When it is trusted no more; undefined: it stays. */
  readonly retiresAt?: number;
}

/** What all replicas of control agree on; kept in a Secret. */
export interface TransitionState {
  /** Signs now; also after its Secret was replaced, until the new roots are known everywhere. */
  readonly signing: CaMaterial;
  readonly roots: readonly TrustedRoot[];
}

export interface TransitionOptions {
  /** Until everybody in the mesh knows a new root. */
  readonly introductionMs: number;
  /** Until the last certificate of an old issuer has ended: the longest life of one, and some more for clocks. */
  readonly retirementMs: number;
}

export interface Transition {
  readonly state: TransitionState;
  /** Wall time at which to look again; undefined: nothing is under way. */
  readonly nextAt: number | undefined;
}

/** The state that follows, given the CA that is configured now. The same state again when nothing is to be done. */
export function planTransition(
  held: TransitionState | undefined,
  configured: CaMaterial,
  clock: Clock,
  options: TransitionOptions,
): Transition {
  const now = clock.wallTime().getTime();
  const wanted = splitCertificates(configured.rootsPem);
  if (held === undefined) {
    const roots = wanted.map((pem) => ({ pem, introducedAt: 0 }));
    return { state: { signing: configured, roots }, nextAt: undefined };
  }
  const known = new Set(held.roots.map(({ pem }) => pem));
  const introduced = [
    ...held.roots,
    ...wanted.filter((pem) => !known.has(pem)).map((pem) => ({ pem, introducedAt: now })),
  ];
  const readyAt = isSame(held.signing, configured)
    ? now
    : whenKnown(configured, introduced, clock) + options.introductionMs;
  const isSwitched = readyAt <= now || hasEnded(held.signing, clock);
  const signing = isSwitched ? configured : held.signing;
  const roots = introduced
    .map((root) => retire(root, { isKept: !isSwitched || wanted.includes(root.pem), at: now + options.retirementMs }))
    .filter(({ retiresAt }) => retiresAt === undefined || retiresAt > now);
  const dates = roots.flatMap(({ retiresAt }) => (retiresAt === undefined ? [] : [retiresAt]));
  const next = Math.min(...dates, isSwitched ? Infinity : readyAt);
  return { state: { signing, roots }, nextAt: Number.isFinite(next) ? next : undefined };
}

/** All roots that are trusted, the oldest first. */
export function bundleOf({ roots }: TransitionState): string {
  return roots.map(({ pem }) => pem).join("");
}

function isSame(a: CaMaterial, b: CaMaterial): boolean {
  return (
    a.signing.certificatePem === b.signing.certificatePem &&
    a.signing.privateKeyPem === b.signing.privateKeyPem &&
    a.intermediatesPem === b.intermediatesPem
  );
}

/** When the first root was introduced that verifies this CA by itself. */
function whenKnown(material: CaMaterial, roots: readonly TrustedRoot[], clock: Clock): number {
  return Math.min(...roots.filter(({ pem }) => verifies(pem, material, clock)).map(({ introducedAt }) => introducedAt));
}

function verifies(rootPem: string, material: CaMaterial, clock: Clock): boolean {
  try {
    createSigningAuthority(material, rootPem, clock);
    return true;
  } catch {
    return false;
  }
}

function hasEnded({ signing }: CaMaterial, clock: Clock): boolean {
  return readX509(signing.certificatePem).validToDate <= clock.wallTime();
}

function retire(root: TrustedRoot, { isKept, at }: { readonly isKept: boolean; readonly at: number }): TrustedRoot {
  const { pem, introducedAt, retiresAt } = root;
  if (isKept) return { pem, introducedAt };
  return { pem, introducedAt, retiresAt: retiresAt ?? at };
}
