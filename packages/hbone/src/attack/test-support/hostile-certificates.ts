// Certificates that a mesh's CA would never issue, below a root that our side trusts.
import { generateKeyPairSync, type KeyObject, randomBytes, sign } from "node:crypto";
import type { TlsMaterial } from "@hairpin/wire";
import { der, extension, uriSans } from "@hairpin/wire/test-support/certificates";
import type { SessionSide } from "../../session-metrics.ts";

const hour = 3_600_000;
const sequence = (...contents: readonly (Uint8Array | readonly number[])[]): Buffer => der(0x30, ...contents);

type Hash = "sha256" | "sha1" | "md5";
/** Ends of the signature OIDs below 1.2.840.10045.4 and 1.2.840.113549.1.1. */
const ecdsaWith: Readonly<Record<Hash, readonly number[]>> = { sha256: [3, 2], sha1: [1], md5: [] };
const rsaWith: Readonly<Record<Hash, number>> = { sha256: 11, sha1: 5, md5: 4 };

interface Keys {
  readonly privateKey: KeyObject;
  readonly publicKey: KeyObject;
}

interface HostileCertificate {
  readonly name: string;
  readonly pem: string;
  readonly privateKey: KeyObject;
}

/** What is wrong with a certificate, or right. */
export interface CertificateChanges {
  readonly name?: string;
  /** Default: the root. Undefined: signed by itself. */
  readonly issuer?: HostileCertificate | undefined;
  readonly ca?: boolean;
  /** Default: a new P-256 pair. */
  readonly keys?: Keys;
  /** Default sha256. */
  readonly hash?: Hash;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
  /** 1 serverAuth, 2 clientAuth. Default: both. */
  readonly uses?: readonly (1 | 2)[];
  /** Besides constraints and usage. Default: none. */
  readonly extensions?: readonly Uint8Array[];
}

const ec = (namedCurve: string): Keys => generateKeyPairSync("ec", { namedCurve });
const rsa = (modulusLength: number): Keys => generateKeyPairSync("rsa", { modulusLength });

function algorithmOf(key: KeyObject, hash: Hash): Buffer {
  if (key.asymmetricKeyType === "rsa")
    return sequence(der(0x06, [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, rsaWith[hash]]), der(0x05));
  return sequence(der(0x06, [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, ...ecdsaWith[hash]]));
}

function commonName(name: string): Buffer {
  return sequence(der(0x31, sequence(der(0x06, [0x55, 4, 3]), der(0x0c, Buffer.from(name)))));
}

function time(date: Date): Buffer {
  return der(0x18, Buffer.from(date.toISOString().replaceAll(/[-:T]|\.\d+/g, "")));
}

export function makeCertificate(changes: CertificateChanges): HostileCertificate {
  const { name = "leaf", keys = ec("P-256"), hash = "sha256", uses = [1, 2], ca = false } = changes;
  const issuer = "issuer" in changes ? changes.issuer : root;
  const signingKey = issuer?.privateKey ?? keys.privateKey;
  const algorithm = algorithmOf(signingKey, hash);
  const constraints = extension([0x55, 0x1d, 0x13], sequence(...(ca ? [der(0x01, [0xff])] : [])), true);
  const usage = extension([0x55, 0x1d, 0x25], sequence(...uses.map((use) => der(0x06, [0x2b, 6, 1, 5, 5, 7, 3, use]))));
  const tbs = sequence(
    der(0xa0, der(0x02, [2])),
    der(0x02, [1, ...randomBytes(7)]),
    algorithm,
    commonName(issuer?.name ?? name),
    sequence(
      time(changes.notBefore ?? new Date(Date.now() - hour)),
      time(changes.notAfter ?? new Date(Date.now() + hour)),
    ),
    commonName(name),
    keys.publicKey.export({ type: "spki", format: "der" }),
    der(0xa3, sequence(constraints, ...(ca ? [] : [usage]), ...(changes.extensions ?? []))),
  );
  const bytes = sequence(tbs, algorithm, der(0x03, [0], sign(hash, tbs, signingKey)));
  const lines = bytes.toString("base64").match(/.{1,64}/g) ?? [];
  const pem = `-----BEGIN CERTIFICATE-----\n${lines.join("\n")}\n-----END CERTIFICATE-----\n`;
  return { name, pem, privateKey: keys.privateKey };
}

const root: HostileCertificate = makeCertificate({ name: "mesh root", issuer: undefined, ca: true });
const rsaRoot: HostileCertificate = makeCertificate({ name: "rsa root", issuer: undefined, ca: true, keys: rsa(2048) });

/** Material of one side: its chain, and the roots that both sides trust. */
export function materialOf(leaf: HostileCertificate, above: readonly HostileCertificate[] = []): TlsMaterial {
  return {
    certificateChain: [leaf, ...above].map(({ pem }) => pem).join(""),
    privateKey: leaf.privateKey.export({ type: "pkcs8", format: "pem" }),
    roots: [root.pem, rsaRoot.pem],
  };
}

/** Material of a leaf with this name, as good as `changes` let it be. */
export function leafOf(uri: string, changes: CertificateChanges = {}): TlsMaterial {
  return materialOf(makeCertificate({ extensions: [uriSans(uri)], ...changes }));
}

/** A leaf below `length` authorities. */
function below(length: number, uri: string, change: CertificateChanges = {}): TlsMaterial {
  const above: HostileCertificate[] = [];
  for (let i = 0; i < length; i++)
    above.unshift(makeCertificate({ name: `authority ${i}`, issuer: above[0] ?? root, ca: true, ...change }));
  return materialOf(makeCertificate({ issuer: above[0] ?? root, extensions: [uriSans(uri)] }), above);
}

export interface CertificateCase {
  readonly name: string;
  /** Label of `hairpin_hbone_peers_refused_total`, by whose connection it is. */
  readonly reason: Readonly<Record<SessionSide, string>>;
  /** What the error says. */
  readonly says: RegExp;
  readonly material: (uri: string) => TlsMaterial;
}

const always = (reason: string): CertificateCase["reason"] => ({ downstream: reason, upstream: reason });
const handshake = (name: string, says: RegExp, material: (uri: string) => TlsMaterial): CertificateCase => ({
  name,
  reason: always("handshake"),
  says,
  material,
});
const ofKey = (name: string, keys: Keys, says: RegExp, reason = always("weak-key")): CertificateCase => ({
  name,
  reason,
  says,
  material: (uri) => leafOf(uri, { keys }),
});
/** TLS 1.3 has no signature scheme for the key: a client has no certificate to show then, and a server ends the handshake. */
const cannotSign = { downstream: "no-certificate", upstream: "handshake" };
const notOfTls13 = /did not return a certificate|handshake failure/;
const past = new Date(Date.now() - hour / 2);
const future = new Date(Date.now() + hour / 2);

/** I1: what must not open a session, whichever side shows it. */
export const certificateCases: readonly CertificateCase[] = [
  handshake("of another root", /unable to|self.signed/i, (uri) =>
    leafOf(uri, { issuer: makeCertificate({ name: "other root", issuer: undefined, ca: true }) }),
  ),
  handshake("of a root with the name of ours", /signature|unable to/i, (uri) =>
    leafOf(uri, { issuer: makeCertificate({ name: "mesh root", issuer: undefined, ca: true }) }),
  ),
  handshake("signed by itself, with the name of our root", /self.signed|unable to|signature/i, (uri) =>
    leafOf(uri, { name: "mesh root", issuer: undefined }),
  ),
  handshake("that has expired", /expired/i, (uri) => leafOf(uri, { notAfter: past })),
  handshake("that is not valid yet", /not yet valid/i, (uri) => leafOf(uri, { notBefore: future })),
  handshake("below an authority that has expired", /expired/i, (uri) => below(1, uri, { notAfter: past })),
  handshake("below a workload's certificate", /CA|unable to|purpose/i, (uri) => below(1, uri, { ca: false })),
  handshake("signed with MD5", /md|digest|signature/i, (uri) => leafOf(uri, { issuer: rsaRoot, hash: "md5" })),
  { name: "of a CA", reason: always("ca-certificate"), says: /CA/, material: (uri) => leafOf(uri, { ca: true }) },
  {
    name: "below five authorities",
    reason: always("chain-too-long"),
    says: /longer than 5/,
    material: (uri) => below(5, uri),
  },
  {
    name: "below ten authorities",
    reason: always("chain-too-long"),
    says: /longer than 5/,
    material: (uri) => below(10, uri),
  },
  ofKey("with a key on P-224", ec("P-224"), notOfTls13, cannotSign),
  ofKey("with a key on P-521", ec("P-521"), /secp521r1/),
  ofKey("with a key on secp256k1", ec("secp256k1"), notOfTls13, cannotSign),
  ofKey("with an Ed25519 key", generateKeyPairSync("ed25519"), /ed25519/),
  ofKey("with an RSA key of 1024 bits", rsa(1024), /key too (weak|small)/i, always("handshake")),
  {
    name: "below an authority with a key on P-224",
    reason: always("weak-key"),
    says: /secp224r1/,
    material: (uri) => below(1, uri, { keys: ec("P-224") }),
  },
  handshake("signed with SHA-1 by an EC key", /too weak/i, (uri) => leafOf(uri, { hash: "sha1" })),
  handshake("signed with SHA-1 by an RSA key", /too weak/i, (uri) => leafOf(uri, { issuer: rsaRoot, hash: "sha1" })),
];

/** What must be accepted in both roles. */
export const goodCertificates: readonly Pick<CertificateCase, "name" | "material">[] = [
  { name: "on P-256", material: (uri) => leafOf(uri) },
  { name: "on P-384", material: (uri) => leafOf(uri, { keys: ec("P-384") }) },
  { name: "with an RSA key of 2048 bits", material: (uri) => leafOf(uri, { keys: rsa(2048) }) },
  { name: "signed by an RSA key", material: (uri) => leafOf(uri, { issuer: rsaRoot }) },
  { name: "below four authorities", material: (uri) => below(4, uri) },
];
