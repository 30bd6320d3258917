import { describe, expect, it } from "vitest";
import { formatHairpinSource, parseHairpinSource } from "./hairpin-source.ts";

const address = { ip: "10.244.1.9", port: 40123 };
const identity = { trustDomain: "cluster.local", namespace: "default", serviceAccount: "curl" };
const source = { name: "x-hairpin-source", value: "spiffe://cluster.local/ns/default/sa/curl" };
const forwarded = { name: "forwarded", value: 'for="10.244.1.9:40123"' };

describe("hairpin source", () => {
  it("carries identity and address of the caller", () => {
    expect(formatHairpinSource({ identity, address })).toEqual([source, forwarded]);
    expect(parseHairpinSource([source, forwarded])).toEqual({ identity, address });
  });

  it("says none for a caller without identity", () => {
    const headers = formatHairpinSource({ identity: undefined, address });
    expect(headers[0]).toEqual({ name: "x-hairpin-source", value: "none" });
    expect(parseHairpinSource(headers)).toEqual({ identity: undefined, address });
  });

  it.each([
    ["missing source", [forwarded], /0 x-hairpin-source/],
    ["repeated source", [source, source, forwarded], /2 x-hairpin-source/],
    ["missing address", [source], /0 forwarded/],
    ["repeated address", [source, forwarded, forwarded], /2 forwarded/],
    ["address without port", [source, { name: "forwarded", value: "for=10.0.0.1" }], /no for=/],
    ["identity that is none", [{ ...source, value: "None" }, forwarded], /SPIFFE/],
    ["identity with a list", [{ ...source, value: `${source.value},none` }, forwarded], /service account/],
    ["empty identity", [{ ...source, value: "" }, forwarded], /SPIFFE/],
  ])("refuses a %s", (_, headers, message) => {
    expect(() => parseHairpinSource(headers)).toThrow(message);
  });
});
