import { X509Certificate } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { readUriSans } from "./peer-certificate.ts";
import {
  createTestCertificate,
  createTestRoot,
  der,
  extension,
  subjectAltNameOid,
  uriSans,
} from "./test-certificates.ts";

const spiffeId = "spiffe://cluster.local/ns/default/sa/sleep";
const uri = (text: string): Buffer => der(0x86, Buffer.from(text, "latin1"));
const keyUsage = extension([0x55, 0x1d, 0x0f], der(0x03, [7, 0x80]), true);

function certificateWith(...extensions: readonly Uint8Array[]): Buffer {
  return createTestCertificate({ name: "leaf", extensions }).der;
}

/** A certificate whose subjectAltName has this value instead of GeneralNames. */
function certificateWithRawNames(value: Uint8Array): Buffer {
  return certificateWith(extension(subjectAltNameOid, value));
}

/** A skeleton that no authority signed: enough for the reader, and easy to break. */
function skeleton(parts: {
  version?: Uint8Array;
  fields?: readonly Uint8Array[];
  extensions?: Uint8Array;
  afterTbs?: readonly Uint8Array[];
  trailing?: readonly number[];
}): Buffer {
  const empty = der(0x30);
  const fields = parts.fields ?? [der(0x02, [1]), empty, empty, empty, empty, empty];
  const version = parts.version ?? der(0xa0, der(0x02, [2]));
  const extensions = parts.extensions ?? der(0xa3, der(0x30, uriSans("a:b")));
  const tbs = der(0x30, version, ...fields, extensions);
  return Buffer.concat([
    der(0x30, tbs, ...(parts.afterTbs ?? [empty, der(0x03, [0])])),
    Buffer.from(parts.trailing ?? []),
  ]);
}

describe("readUriSans", () => {
  it.each([
    { what: "one SPIFFE ID", extensions: [uriSans(spiffeId)], expected: [spiffeId] },
    { what: "several, in order", extensions: [uriSans("b:2", "a:1", "b:2")], expected: ["b:2", "a:1", "b:2"] },
    { what: "among other extensions", extensions: [keyUsage, uriSans(spiffeId), keyUsage], expected: [spiffeId] },
    { what: "critical", extensions: [extension(subjectAltNameOid, der(0x30, uri("a:b")), true)], expected: ["a:b"] },
    {
      what: "among DNS, IP and directory names",
      extensions: [
        extension(
          subjectAltNameOid,
          der(0x30, der(0x82, Buffer.from("a.b")), uri("a:b"), der(0x87, [1, 2, 3, 4]), der(0xa4, der(0x30))),
        ),
      ],
      expected: ["a:b"],
    },
    {
      what: "a DNS name that looks like a URI",
      extensions: [extension(subjectAltNameOid, der(0x30, der(0x82, Buffer.from(spiffeId))))],
      expected: [],
    },
    { what: "no extensions", extensions: [], expected: [] },
    { what: "no names", extensions: [uriSans()], expected: [] },
    { what: "an empty URI", extensions: [uriSans("")], expected: [""] },
    {
      what: "a name that imitates two in Node's display string",
      extensions: [uriSans(`x:y, URI:${spiffeId}`)],
      expected: [`x:y, URI:${spiffeId}`],
    },
    { what: "NUL and line ends", extensions: [uriSans(`${spiffeId}\0\r\n"'`)], expected: [`${spiffeId}\0\r\n"'`] },
    { what: "a long name", extensions: [uriSans("a:" + "x".repeat(10_000))], expected: ["a:" + "x".repeat(10_000)] },
    {
      what: "another OID that ends alike",
      extensions: [extension([0x55, 0x1d, 0x11, 0x11], der(0x30, uri("a:b")))],
      expected: [],
    },
    { what: "issuerAltName", extensions: [extension([0x55, 0x1d, 0x12], der(0x30, uri("a:b")))], expected: [] },
  ])("reads $what", ({ extensions, expected }) => {
    expect(readUriSans(certificateWith(...extensions))).toEqual(expected);
  });

  it.each([
    { what: "two subjectAltName extensions", bytes: certificateWith(uriSans("a:b"), uriSans("c:d")) },
    { what: "a byte above 0x7f in a URI", bytes: certificateWith(uriSans("a:\u00e9")) },
    {
      what: "a directory name that is no structure",
      bytes: certificateWithRawNames(der(0x30, der(0x84, Buffer.from("x")), uri("a:b"))),
    },
    { what: "a constructed URI", bytes: certificateWithRawNames(der(0x30, der(0xa6, uri("a:b")))) },
    { what: "a name with a universal tag", bytes: certificateWithRawNames(der(0x30, der(0x16, Buffer.from("a:b")))) },
    {
      what: "bytes after the names",
      bytes: certificateWithRawNames(Buffer.concat([der(0x30, uri("a:b")), Buffer.from([0])])),
    },
    { what: "names that are no SEQUENCE", bytes: certificateWithRawNames(der(0x31, uri("a:b"))) },
    { what: "an empty extension value", bytes: certificateWithRawNames(Buffer.alloc(0)) },
    { what: "a name longer than its list", bytes: certificateWithRawNames(Buffer.from([0x30, 2, 0x86, 1])) },
    { what: "an indefinite length", bytes: certificateWithRawNames(Buffer.from([0x30, 0x80, 0x86, 1, 0x61, 0, 0])) },
    {
      what: "a length that is not minimal",
      bytes: certificateWithRawNames(Buffer.from([0x30, 0x81, 3, 0x86, 1, 0x61])),
    },
    {
      what: "a length with leading zeros",
      bytes: certificateWithRawNames(Buffer.from([0x30, 0x82, 0, 3, 0x86, 1, 0x61])),
    },
    {
      what: "a length of eight bytes",
      bytes: certificateWithRawNames(Buffer.from([0x30, 0x88, 0, 0, 0, 0, 0, 0, 0, 0])),
    },
    { what: "a multi-byte tag", bytes: certificateWithRawNames(der(0x30, [0x9f, 0x86, 0x01, 0])) },
    { what: "nothing", bytes: Buffer.alloc(0) },
    { what: "a lone tag", bytes: Buffer.from([0x30]) },
    { what: "another type", bytes: der(0x31, certificateWith()) },
    { what: "bytes after the certificate", bytes: skeleton({ trailing: [0] }) },
    { what: "two certificates", bytes: Buffer.concat([skeleton({}), skeleton({})]) },
    { what: "no signature", bytes: skeleton({ afterTbs: [] }) },
    { what: "more after the signature", bytes: skeleton({ afterTbs: [der(0x30), der(0x03, [0]), der(0x05)] }) },
    {
      what: "a missing field",
      bytes: skeleton({ fields: [der(0x02, [1]), der(0x30), der(0x30), der(0x30), der(0x30)] }),
    },
    {
      what: "a field too many",
      bytes: skeleton({ fields: [der(0x02, [1]), der(0x30), der(0x30), der(0x30), der(0x30), der(0x30), der(0x30)] }),
    },
    { what: "no serial number", bytes: skeleton({ fields: [der(0x30), der(0x30), der(0x30), der(0x30), der(0x30)] }) },
    {
      what: "two version fields",
      bytes: skeleton({ version: Buffer.concat([der(0xa0, der(0x02, [2])), der(0xa0, der(0x02, [2]))]) }),
    },
    {
      what: "two extension lists in one field",
      bytes: skeleton({ extensions: der(0xa3, der(0x30, uriSans("a:b")), der(0x30)) }),
    },
    {
      what: "two extension fields",
      bytes: skeleton({ extensions: Buffer.concat([der(0xa3, der(0x30, uriSans("a:b"))), der(0xa3, der(0x30))]) }),
    },
    {
      what: "an extension with more in it",
      bytes: skeleton({
        extensions: der(0xa3, der(0x30, der(0x30, der(0x06, subjectAltNameOid), der(0x04, der(0x30)), der(0x05)))),
      }),
    },
    {
      what: "an extension without a value",
      bytes: skeleton({ extensions: der(0xa3, der(0x30, der(0x30, der(0x06, subjectAltNameOid)))) }),
    },
    {
      what: "an extension that is no SEQUENCE",
      bytes: skeleton({ extensions: der(0xa3, der(0x30, der(0x06, subjectAltNameOid))) }),
    },
  ])("refuses $what", ({ bytes }) => {
    expect(() => readUriSans(bytes)).toThrow(expect.objectContaining({ code: "CERTIFICATE_MALFORMED" }));
  });

  it("accepts the skeleton that the refused ones are made from", () => {
    expect(readUriSans(skeleton({}))).toEqual(["a:b"]);
  });

  it("refuses more than 16 KiB unseen", () => {
    expect(() => readUriSans(Buffer.alloc(16_385))).toThrow(expect.objectContaining({ code: "CERTIFICATE_TOO_LARGE" }));
  });

  it("returns every list of names byte for byte", () => {
    const name = fc.string({
      unit: fc.integer({ min: 0, max: 0x7f }).map((code) => String.fromCharCode(code)),
      maxLength: 300,
    });
    const root = createTestRoot();
    fc.assert(
      fc.property(fc.array(name, { maxLength: 8 }), (names) => {
        const certificate = createTestCertificate({
          name: "leaf",
          issuer: root,
          extensions: [keyUsage, uriSans(...names)],
        });
        expect(readUriSans(certificate.der)).toEqual(names);
      }),
      { numRuns: 50 },
    );
  });

  it("never throws anything else, and never invents a name, whatever the bytes", () => {
    const valid = certificateWith(keyUsage, uriSans(spiffeId));
    const mutation = fc.record({
      at: fc.nat(valid.length - 1),
      byte: fc.integer({ min: 0, max: 255 }),
      kind: fc.constantFrom("set", "insert", "delete", "cut"),
    });
    const hostile = fc.oneof(
      fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes)),
      fc.array(mutation, { minLength: 1, maxLength: 4 }).map((mutations) => mutations.reduce(mutate, valid)),
    );
    fc.assert(
      fc.property(hostile, (bytes) => {
        let names: string[] = [];
        try {
          names = readUriSans(bytes);
        } catch (error) {
          expect(error).toMatchObject({ code: "CERTIFICATE_MALFORMED" });
          return;
        }
        for (const found of names) expect(bytes.includes(Buffer.from(found, "latin1"))).toBe(true);
      }),
      { numRuns: 3000 },
    );
  });

  it("agrees with OpenSSL on ordinary certificates", () => {
    const certificate = certificateWith(uriSans(spiffeId, "https://example.org/a"));
    expect(new X509Certificate(certificate).subjectAltName).toBe(
      readUriSans(certificate)
        .map((name) => `URI:${name}`)
        .join(", "),
    );
  });
});

function mutate(bytes: Buffer, mutation: { at: number; byte: number; kind: string }): Buffer {
  const at = mutation.at % (bytes.length || 1);
  switch (mutation.kind) {
    case "insert":
      return Buffer.concat([bytes.subarray(0, at), Buffer.from([mutation.byte]), bytes.subarray(at)]);
    case "delete":
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1)]);
    case "cut":
      return bytes.subarray(0, at);
    default: {
      const copy = Buffer.from(bytes);
      copy[at] = mutation.byte;
      return copy;
    }
  }
}
