import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  cidrContains,
  formatIp,
  formatSocketAddress,
  ipBytes,
  isLoopback,
  parseCidr,
  parseIp,
  tryParseIp,
  tryParseSocketAddress,
} from "./address.ts";

const byte = fc.integer({ min: 0, max: 255 });
const ipv4Text = fc.array(byte, { minLength: 4, maxLength: 4 }).map((bytes) => bytes.join("."));
const ipv6Bytes = fc.uint8Array({ minLength: 16, maxLength: 16 });

/** All 8 groups in full: the slow, obvious spelling. */
function longForm(bytes: Uint8Array): string {
  const hex = Buffer.from(bytes).toString("hex");
  return (hex.match(/.{4}/g) ?? []).join(":");
}

describe("parseIp", () => {
  it.each([
    ["10.0.0.1", "10.0.0.1"],
    ["0.0.0.0", "0.0.0.0"],
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
    ["0:0:0:0:0:0:0:0", "::"],
    ["2001:DB8::0001", "2001:db8::1"],
    // RFC 5952 §4.2.2 and §4.2.3: one zero group stays, the longest run goes, the first of equals.
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0:0:1:0:0:0:1", "2001:0:0:1::1"],
    ["2001:db8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["::ffff:10.1.2.3", "10.1.2.3"],
    ["::FFFF:a01:203", "10.1.2.3"],
    ["::10.1.2.3", "::a01:203"],
    ["64:ff9b::192.0.2.33", "64:ff9b::c000:221"],
  ])("reads %s as %s", (text, canonical) => {
    expect(parseIp(text)).toBe(canonical);
  });

  it.each([
    "",
    " ",
    "10.0.0",
    "10.0.0.256",
    "010.0.0.1",
    "10.0.0.1 ",
    "0x0a.0.0.1",
    "167772161",
    "1.2.3.4.5",
    ":::",
    "1::2::3",
    "fe80::1%eth0",
    "[::1]",
    "g::1",
    "12345::",
    "1:2:3:4:5:6:7",
    "localhost",
  ])("refuses %j", (text) => {
    expect(tryParseIp(text)).toBeUndefined();
    expect(() => parseIp(text)).toThrow(JSON.stringify(text));
  });

  it("gives every spelling of an IPv6 address the same text, which reads back to the same bytes", () => {
    fc.assert(
      fc.property(ipv6Bytes, (bytes) => {
        const text = formatIp(bytes);
        expect(parseIp(longForm(bytes))).toBe(text);
        expect(parseIp(text)).toBe(text);
        if (text.includes(":")) expect(ipBytes(text)).toEqual(bytes);
      }),
    );
  });

  it("agrees with the platform's URL parser on what is canonical IPv6", () => {
    fc.assert(
      fc.property(ipv6Bytes, (bytes) => {
        const text = formatIp(bytes);
        fc.pre(text.includes(":"));
        expect(`[${text}]`).toBe(new URL(`http://[${longForm(bytes)}]/`).hostname);
      }),
    );
  });

  it("holds an IPv4-mapped address as its IPv4", () => {
    fc.assert(
      fc.property(ipv4Text, (text) => {
        expect(parseIp(`::ffff:${text}`)).toBe(text);
      }),
    );
  });

  it("never throws anything but its own error", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        expect(tryParseIp(text) ?? "none").toBeTypeOf("string");
      }),
    );
  });
});

describe("tryParseSocketAddress", () => {
  it.each([
    ["10.0.0.1:80", { ip: "10.0.0.1", port: 80 }],
    ["[fd00::1]:65535", { ip: "fd00::1", port: 65_535 }],
    ["[::ffff:10.0.0.1]:1", { ip: "10.0.0.1", port: 1 }],
  ])("reads %s", (text, address) => {
    expect(tryParseSocketAddress(text)).toEqual(address);
  });

  it.each([
    "10.0.0.1",
    "10.0.0.1:",
    "10.0.0.1:0",
    "10.0.0.1:65536",
    "10.0.0.1:080",
    "10.0.0.1:+80",
    "10.0.0.1:80 ",
    "[10.0.0.1]:80",
    "[fd00::1%eth0]:80",
    "fd00::1:80",
    "[fd00::1]80",
    "[[::1]]:80",
    "example.com:80",
    "10.0.0.1:80:80",
    "",
  ])("is undefined for %j", (text) => {
    expect(tryParseSocketAddress(text)).toBeUndefined();
  });

  it("reads back what formatSocketAddress writes", () => {
    const ip = fc.oneof(
      ipv4Text,
      ipv6Bytes.map((bytes) => formatIp(bytes)),
    );
    fc.assert(
      fc.property(ip, fc.integer({ min: 1, max: 65_535 }), (ip, port) => {
        expect(tryParseSocketAddress(formatSocketAddress({ ip, port }))).toEqual({ ip, port });
      }),
    );
  });
});

describe("parseCidr", () => {
  it.each([
    ["10.0.0.0/8", { ip: "10.0.0.0", prefixLength: 8 }],
    ["10.0.0.1", { ip: "10.0.0.1", prefixLength: 32 }],
    ["fd00::1", { ip: "fd00::1", prefixLength: 128 }],
    ["::/0", { ip: "::", prefixLength: 0 }],
    ["::ffff:10.0.0.0/104", { ip: "10.0.0.0", prefixLength: 8 }],
  ])("reads %s", (text, cidr) => {
    expect(parseCidr(text)).toEqual(cidr);
  });

  // A mapped range shorter than 96 bits is not an IPv4 range: held as one it would be another range.
  it.each([
    "10.0.0.0/33",
    "10.0.0.0/",
    "10.0.0.0/-1",
    "10.0.0.0/8/8",
    "10.0.0.0/08",
    "::/129",
    "::ffff:10.0.0.0/24",
    "a/8",
  ])("refuses %s", (text) => {
    expect(() => parseCidr(text)).toThrow(/is not/);
  });
});

describe("cidrContains", () => {
  it.each([
    ["10.0.0.0/8", "10.255.0.1", true],
    ["10.0.0.0/8", "11.0.0.1", false],
    ["10.1.2.3/31", "10.1.2.2", true],
    ["10.1.2.3/31", "10.1.2.4", false],
    ["0.0.0.0/0", "255.255.255.255", true],
    ["0.0.0.0/0", "::1", false],
    ["::/0", "10.0.0.1", false],
    ["fd00::/9", "fd7f::1", true],
    ["fd00::/9", "fd80::1", false],
  ])("%s contains %s: %s", (cidr, ip, expected) => {
    expect(cidrContains(parseCidr(cidr), ip)).toBe(expected);
  });

  it("agrees with comparing the bits one by one", () => {
    const bits = (ip: string): string => [...ipBytes(ip)].map((one) => one.toString(2).padStart(8, "0")).join("");
    fc.assert(
      fc.property(ipv4Text, ipv4Text, fc.integer({ min: 0, max: 32 }), (range, ip, prefixLength) => {
        const expected = bits(range).slice(0, prefixLength) === bits(ip).slice(0, prefixLength);
        expect(cidrContains({ ip: range, prefixLength }, ip)).toBe(expected);
        expect(cidrContains({ ip: range, prefixLength }, range)).toBe(true);
      }),
    );
  });
});

describe("isLoopback", () => {
  it.each([
    ["127.0.0.1", true],
    ["127.255.0.1", true],
    ["::1", true],
    ["128.0.0.1", false],
    ["12.7.0.1", false],
    ["::", false],
  ])("%s: %s", (ip, expected) => {
    expect(isLoopback(ip)).toBe(expected);
  });
});
