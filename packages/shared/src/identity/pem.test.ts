import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatPem, parsePem, parsePemOf } from "./pem.ts";

const der = fc.uint8Array({ minLength: 1, maxLength: 500 });
const one = formatPem("CERTIFICATE", Buffer.from("hello"));

describe("parsePem", () => {
  test("reads back what formatPem writes, with blank lines, comments and either line end between", () => {
    const gap = fc.constantFrom("", "\n", "  \n", "# a root\n", "\r\n\r\n");
    fc.assert(
      fc.property(fc.array(fc.tuple(der, gap), { maxLength: 5 }), fc.boolean(), (parts, isDos) => {
        const text = parts.map(([bytes, before]) => before + formatPem("CERTIFICATE", bytes)).join("");
        const read = parsePem(isDos ? text.replaceAll(/\r?\n/g, "\r\n") : text);
        expect(read.map((block) => Buffer.from(block.der).toString("hex"))).toEqual(
          parts.map(([bytes]) => Buffer.from(bytes).toString("hex")),
        );
      }),
    );
  });

  test("reads a last line without its end", () => {
    expect(parsePem(one.trimEnd())).toHaveLength(1);
  });

  test.each([
    ["text before a block", `hello\n${one}`, /block 1 is not well formed/],
    ["text after a block", `${one}hello`, /block 2 is not well formed/],
    ["a block that was cut off", one.slice(0, -10), /not well formed/],
    ["another label at the end", one.replace("END CERTIFICATE", "END X509 CRL"), /not well formed/],
    ["headers in a block", one.replace("\n", "\nProc-Type: 4,ENCRYPTED\n\n"), /not well formed/],
    ["an empty block", "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n", /is not base64/],
    ["base64 without its padding", one.replace("=", ""), /is not base64/],
    ["bits that base64 ignores", one.replace("aGVsbG8=", "aGVsbG9="), /is not base64/],
    ["more than 1 MiB", "#".repeat(1024 * 1024 + 1), /longer than/],
    ["more than 256 blocks", one.repeat(257), /more than 256 blocks/],
  ])("refuses %s", (_, text, reason) => {
    expect(() => parsePem(text)).toThrow(reason);
  });

  test("ends soon on long hostile texts", () => {
    const before = performance.now();
    for (const piece of ["\n", " ", "\t\n", "#\n", "-----BEGIN CERTIFICATE-----\n", "A"]) {
      const text = piece.repeat(Math.floor((1024 * 1024) / piece.length));
      try {
        parsePem(`${text}x`.slice(0, 1024 * 1024));
      } catch {
        // Refused or read: what counts is the time.
      }
    }
    expect(performance.now() - before).toBeLessThan(2_000);
  });
});

describe("parsePemOf", () => {
  test("refuses blocks of another label", () => {
    expect(() => parsePemOf("X509 CRL", one)).toThrow("PEM has a CERTIFICATE where a X509 CRL is expected");
    expect(parsePemOf("CERTIFICATE", one)).toEqual([Buffer.from("hello")]);
  });
});
