import { X509Certificate } from "node:crypto";
import { WireError } from "../../errors.ts";
import { readUriSans } from "../../tls/peer-certificate.ts";
import { createTestCertificate, der, extension, subjectAltNameOid, uriSans } from "../../tls/test-certificates.ts";
import type { FuzzTarget } from "../fuzz.ts";

/** Names that try to pass for several, or for others. */
const spiffe = "spiffe://cluster.local/ns/a/sa/b";
const certificates = [
  [uriSans(spiffe)],
  [uriSans(spiffe, "spiffe://cluster.local/ns/c/sa/d")],
  [uriSans(`${spiffe}, URI:spiffe://other/ns/x/sa/y`)],
  [uriSans('"quoted"', "with\0nul", "\u{1}\n")],
  [extension(subjectAltNameOid, der(0x30, der(0x82, Buffer.from("a.example")), der(0x86, Buffer.from(spiffe))), true)],
  [],
].map((extensions) => createTestCertificate({ name: "fuzz", extensions }).der);

/**
 * What OpenSSL reads, or undefined when it refuses the certificate, cannot read the extension (verification would fail then), or
 * its display string leaves the names open.
 */
function readByOpenSsl(input: Uint8Array): string[] | undefined {
  let names: string | undefined;
  try {
    names = new X509Certificate(input).subjectAltName;
  } catch {
    return undefined;
  }
  if (names === undefined || names.includes('"') || names.includes("\\")) return undefined;
  return names
    .split(", ")
    .filter((name) => name.startsWith("URI:"))
    .map((name) => name.slice(4));
}

function read(input: Uint8Array): string[] | string {
  try {
    return readUriSans(input);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    return error.message;
  }
}

/** The names of a certificate are the same for us and for OpenSSL, and depend on no byte outside of it. */
export const derTarget: FuzzTarget = {
  name: "der",
  seeds: certificates,
  dictionary: [
    Buffer.from("550403", "hex"),
    Buffer.from("0603551d11", "hex"),
    Buffer.from([0x30, 0x80]),
    Buffer.from([0x30, 0x81]),
    Buffer.from([0x30, 0x82]),
    Buffer.from([0x30, 0x84, 0xff, 0xff, 0xff, 0xff]),
    Buffer.from([0x86]),
    Buffer.from([0xa3]),
    uriSans(spiffe),
  ],
  run(input) {
    const first = read(within(input, 0x00));
    const [one, other] = [JSON.stringify(first), JSON.stringify(read(within(input, 0xff)))];
    if (one !== other) throw new Error(`Bytes outside were read: ${one} or ${other}`);
    if (typeof first === "string") return;
    const theirs = readByOpenSsl(input);
    // OpenSSL reads all of the certificate and refuses more; where both read it they must see the same names.
    if (theirs !== undefined && theirs.join(" ") !== first.join(" ")) {
      throw new Error(`We read ${JSON.stringify(first)}, OpenSSL ${JSON.stringify(theirs)}`);
    }
  },
};

/** The input in the middle of other bytes. */
function within(input: Uint8Array, poison: number): Uint8Array {
  const buffer = Buffer.alloc(input.length + 64, poison);
  buffer.set(input, 32);
  return buffer.subarray(32, 32 + input.length);
}
