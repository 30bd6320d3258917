import { describe, expect, it } from "vitest";
import { formatHairpinSource, parseHairpinSource } from "./hairpin-source.ts";

const address = { ip: "10.244.1.9", port: 40123 };
const identity = { trustDomain: "cluster.local", namespace: "default", serviceAccount: "curl" };
const source: [string, string] = ["x-hairpin-source", "spiffe://cluster.local/ns/default/sa/curl"];
const forwarded: [string, string] = ["forwarded", 'for="10.244.1.9:40123"'];

describe("hairpin source", () => {
  it("carries identity and address of the caller", () => {
    expect(formatHairpinSource({ identity, address })).toEqual([source, forwarded]);
    expect(parseHairpinSource([source, forwarded])).toEqual({ identity, address });
  });

  it("says none for a caller without identity", () => {
    const headers = formatHairpinSource({ identity: undefined, address });
    expect(headers[0]).toEqual(["x-hairpin-source", "none"]);
    expect(parseHairpinSource(headers)).toEqual({ identity: undefined, address });
  });

  it.each([
    ["missing source", [forwarded], /0 x-hairpin-source/],
    ["repeated source", [source, source, forwarded], /2 x-hairpin-source/],
    ["missing address", [source], /0 forwarded/],
    ["repeated address", [source, forwarded, forwarded], /2 forwarded/],
    ["address without port", [source, ["forwarded", "for=10.0.0.1"] as [string, string]], /no for=/],
    ["identity that is none", [["x-hairpin-source", "None"] as [string, string], forwarded], /SPIFFE/],
    [
      "identity with a list",
      [["x-hairpin-source", `${source[1]},none`] as [string, string], forwarded],
      /service account/,
    ],
    ["empty identity", [["x-hairpin-source", ""] as [string, string], forwarded], /SPIFFE/],
  ])("refuses a %s", (_, headers, message) => {
    expect(() => parseHairpinSource(headers)).toThrow(message);
  });
});
