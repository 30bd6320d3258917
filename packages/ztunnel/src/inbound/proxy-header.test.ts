import { describe, expect, it } from "vitest";
import { proxyHeader } from "./proxy-header.ts";

const identity = { trustDomain: "td", namespace: "n", serviceAccount: "s" };

describe("proxyHeader", () => {
  it("lays out version 2 for IPv4 with the caller's identity", () => {
    const header = proxyHeader({
      source: { ip: "10.0.0.1", port: 0x1234 },
      destination: { ip: "10.1.0.1", port: 80 },
      identity,
    });
    const spiffe = "spiffe://td/ns/n/sa/s";
    expect(Buffer.from(header).toString("hex")).toBe(
      `0d0a0d0a000d0a515549540a2111${(12 + 3 + spiffe.length).toString(16).padStart(4, "0")}` +
        `0a0000010a01000112340050d000${spiffe.length.toString(16)}${Buffer.from(spiffe).toString("hex")}`,
    );
  });

  it("has no identity for a plaintext caller, and IPv4-mapped addresses when the families differ", () => {
    const header = Buffer.from(
      proxyHeader({
        source: { ip: "10.0.0.1", port: 1 },
        destination: { ip: "fd00::1", port: 2 },
        identity: undefined,
      }),
    );
    expect(header[13]).toBe(0x21);
    expect(header.readUInt16BE(14)).toBe(36);
    expect(header.length).toBe(52);
    expect(header.subarray(16, 32).toString("hex")).toBe("00000000000000000000ffff0a000001");
  });
});
