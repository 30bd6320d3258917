/**
 * The URI names of a certificate's subjectAltName, byte-exact, in order; empty when there are none. Throws
 * `CERTIFICATE_MALFORMED` or `CERTIFICATE_TOO_LARGE` (16 KiB): a certificate that is not strict DER has no identity.
 */
export function readUriSans(_der: Uint8Array): string[] {
  throw new Error("not available yet");
}
