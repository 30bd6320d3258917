// node-forge's ASN.1 codec behind strict DER (X.690 §10): what it reads must encode back to the same bytes.
import forge from "node-forge";

export type Asn1 = forge.asn1.Asn1;

const { asn1 } = forge;
const { Class, Type } = asn1;

/** As TLS stacks and istiod meet them, certificates have 1 to 4 KiB. */
const maxDerBytes = 16 * 1024;

interface ForgeParseOptions {
  readonly strict: boolean;
  readonly parseAllBytes: boolean;
  readonly decodeBitStrings: boolean;
}

// The published types know only the boolean form of the second argument.
const fromDer: (bytes: string, options: ForgeParseOptions) => Asn1 = asn1.fromDer as never;

/** Reads one DER value that fills all bytes. Throws `Error`: too large, not DER, or BER that is not DER. */
export function parseDer(bytes: Uint8Array): Asn1 {
  if (bytes.length > maxDerBytes) throw new Error(`DER of ${bytes.length} bytes is longer than ${maxDerBytes}`);
  const binary = Buffer.from(bytes).toString("latin1");
  const node = fromDer(binary, { strict: true, parseAllBytes: true, decodeBitStrings: false });
  if (asn1.toDer(node).getBytes() !== binary) throw new Error("The encoding is not DER");
  return node;
}

export function toDerBytes(node: Asn1): Uint8Array {
  return Buffer.from(asn1.toDer(node).getBytes(), "latin1");
}

/** The parts of a SEQUENCE. Throws `Error` naming `what`. */
export function childrenOf(node: Asn1 | undefined, what: string): readonly Asn1[] {
  const isList = node?.constructed === true && node.type === Type.SEQUENCE;
  if (!isList || node.tagClass !== Class.UNIVERSAL || typeof node.value === "string")
    throw new Error(`${what} is not a SEQUENCE`);
  return node.value;
}

/** The raw content of a primitive value of this universal type. Throws `Error` naming `what`. */
export function contentOf(node: Asn1 | undefined, type: forge.asn1.Type, what: string): Uint8Array {
  const isMatch = node !== undefined && node.tagClass === Class.UNIVERSAL && node.type === type && !node.constructed;
  if (!isMatch || typeof node.value !== "string") throw new Error(`${what} has the wrong type`);
  return Buffer.from(node.value, "latin1");
}

/** The bytes of a BIT STRING without unused bits. */
export function bitsOf(node: Asn1 | undefined, what: string): Uint8Array {
  const content = contentOf(node, Type.BITSTRING, what);
  if (content[0] !== 0) throw new Error(`${what} has unused bits`);
  return content.subarray(1);
}

/** Dotted text of an OBJECT IDENTIFIER. */
export function oidOf(node: Asn1 | undefined, what: string): string {
  const content = contentOf(node, Type.OID, what);
  // forge-CVE-2025-66030: arcs above 32 bits were cut. A cut arc does not encode back to the same bytes.
  const text = asn1.derToOid(Buffer.from(content).toString("latin1"));
  if (asn1.oidToDer(text).getBytes() !== Buffer.from(content).toString("latin1"))
    throw new Error(`${what} is not an object identifier`);
  return text;
}

/** The context-specific `[tag]` among the nodes, if any. */
export function findTagged(nodes: readonly Asn1[], tag: number): Asn1 | undefined {
  return nodes.find((node) => {
    const type: number = node.type;
    return node.tagClass === Class.CONTEXT_SPECIFIC && type === tag;
  });
}

export function sequence(...parts: Asn1[]): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, parts);
}

export function set(...parts: Asn1[]): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.SET, true, parts);
}

export function oid(text: string): Asn1 {
  return asn1.create(Class.UNIVERSAL, Type.OID, false, asn1.oidToDer(text).getBytes());
}

/** An unsigned number, most significant byte first. */
export function integer(bytes: Uint8Array): Asn1 {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const minimal = Buffer.from(bytes.subarray(start));
  const positive = ((minimal[0] ?? 0) & 0x80) === 0 ? minimal : Buffer.concat([Buffer.of(0), minimal]);
  return primitive(Type.INTEGER, positive);
}

export function boolean(value: boolean): Asn1 {
  return primitive(Type.BOOLEAN, Buffer.of(value ? 0xff : 0));
}

export function octetString(content: Uint8Array): Asn1 {
  return primitive(Type.OCTETSTRING, content);
}

/** `unusedBits` of the last byte do not count. */
export function bitString(content: Uint8Array, unusedBits: number = 0): Asn1 {
  return primitive(Type.BITSTRING, Buffer.concat([Buffer.of(unusedBits), content]));
}

export function utf8String(text: string): Asn1 {
  return primitive(Type.UTF8, Buffer.from(text));
}

/** RFC 5280 §4.1.2.5: UTCTime until 2049, GeneralizedTime after. Whole seconds. */
export function time(date: Date): Asn1 {
  const digits = date.toISOString().replaceAll(/[-:T]|\.\d+/g, "");
  const isShort = date.getUTCFullYear() >= 1950 && date.getUTCFullYear() < 2050;
  if (isShort) return primitive(Type.UTCTIME, Buffer.from(digits.slice(2)));
  return primitive(Type.GENERALIZEDTIME, Buffer.from(digits));
}

/** A context-specific tag is a plain number; forge's types know only the universal ones. */
function createTagged(tag: number, constructed: boolean, value: string | Asn1[]): Asn1 {
  const create: (tagClass: forge.asn1.Class, type: number, constructed: boolean, value: string | Asn1[]) => Asn1 =
    asn1.create;
  return create(Class.CONTEXT_SPECIFIC, tag, constructed, value);
}

/** `[tag]` around a value. */
export function explicit(tag: number, inner: Asn1): Asn1 {
  return createTagged(tag, true, [inner]);
}

/** `[tag]` instead of the type's own tag; primitive. */
export function implicit(tag: number, content: Uint8Array): Asn1 {
  return createTagged(tag, false, Buffer.from(content).toString("latin1"));
}

function primitive(type: forge.asn1.Type, content: Uint8Array): Asn1 {
  return asn1.create(Class.UNIVERSAL, type, false, Buffer.from(content).toString("latin1"));
}
