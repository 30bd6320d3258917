import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { decodeInternetAddress, encodeInternetAddress, encodeUnixAddress } from "./socket-address.ts";

describe("encodeInternetAddress", () => {
  it("lays out sockaddr_in", () => {
    expect([...encodeInternetAddress("10.1.2.3", 8080)]).toEqual([
      2, 0, 0x1f, 0x90, 10, 1, 2, 3, 0, 0, 0, 0, 0, 0, 0, 0,
    ]);
  });

  it("lays out sockaddr_in6", () => {
    const bytes = encodeInternetAddress("fd00::1", 443);
    expect(bytes.length).toBe(28);
    expect([...bytes.subarray(0, 10)]).toEqual([10, 0, 1, 187, 0, 0, 0, 0, 0xfd, 0]);
    expect(bytes[23]).toBe(1);
  });

  it.each(["", "localhost", "10.0.0", "1.2.3.4.5", "fe80::1%eth0", "::g"])("refuses %j", (text) => {
    expect(() => encodeInternetAddress(text, 1)).toThrow(expect.objectContaining({ code: "ERR_INVALID_ADDRESS" }));
  });
});

describe("decodeInternetAddress", () => {
  it("gives an IPv4-mapped address as its IPv4", () => {
    expect(decodeInternetAddress(encodeInternetAddress("::ffff:10.0.0.9", 1))).toEqual({ ip: "10.0.0.9", port: 1 });
  });

  it("does not know other families", () => {
    expect(decodeInternetAddress(encodeUnixAddress("/tmp/socket-path-of-some-length"))).toBeUndefined();
  });

  it("gives back every IPv4 address and port", () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.integer({ min: 0, max: 65535 }), (ip, port) => {
        expect(decodeInternetAddress(encodeInternetAddress(ip, port))).toEqual({ ip, port });
      }),
    );
  });

  it("reads every form of an IPv6 address to the same bytes as its canonical form", () => {
    fc.assert(
      fc.property(fc.ipV6(), (text) => {
        const first = encodeInternetAddress(text, 1);
        const canonical = decodeInternetAddress(first);
        if (canonical === undefined || !canonical.ip.includes(":")) return;
        expect(encodeInternetAddress(canonical.ip, 1)).toEqual(first);
      }),
    );
  });
});

describe("encodeUnixAddress", () => {
  it("ends the path with a zero byte", () => {
    expect([...encodeUnixAddress("/a")]).toEqual([1, 0, 0x2f, 0x61, 0]);
  });

  it.each(["", "/x".repeat(60), "/a\0b"])("refuses a path that the kernel would cut: %j", (path) => {
    expect(() => encodeUnixAddress(path)).toThrow(expect.objectContaining({ code: "ERR_UNIX_PATH_TOO_LONG" }));
  });
});
