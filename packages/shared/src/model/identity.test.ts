import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { equalIdentity, formatPrincipal, formatSpiffeId, parseSpiffeId } from "./identity.ts";

const label = fc.stringMatching(/^[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?$/);
const identity = fc.record({ trustDomain: label, namespace: label, serviceAccount: label });

describe("parseSpiffeId", () => {
  it("reads Istio's form", () => {
    expect(parseSpiffeId("spiffe://cluster.local/ns/my-ns/sa/my.account_1")).toEqual({
      trustDomain: "cluster.local",
      namespace: "my-ns",
      serviceAccount: "my.account_1",
    });
  });

  it("reads back what formatSpiffeId writes", () => {
    fc.assert(
      fc.property(identity, (one) => {
        expect(parseSpiffeId(formatSpiffeId(one))).toEqual(one);
      }),
    );
  });

  it("gives the identity only to its own text: whatever is accepted is written again byte for byte", () => {
    const piece = fc.constantFrom(
      "spiffe://",
      "ns",
      "sa",
      "/",
      "cluster.local",
      "a",
      "%2f",
      "..",
      ".",
      "A",
      ":1",
      "@",
      "?",
      "#",
      "\0",
      ",",
    );
    const text = fc.oneof(
      fc.array(piece, { maxLength: 12 }).map((parts) => parts.join("")),
      fc.tuple(identity, piece, fc.nat(60)).map(([one, extra, at]) => {
        const good = formatSpiffeId(one);
        return good.slice(0, at) + extra + good.slice(at);
      }),
    );
    fc.assert(
      fc.property(text, (candidate) => {
        let parsed;
        try {
          parsed = parseSpiffeId(candidate);
        } catch {
          return;
        }
        expect(formatSpiffeId(parsed)).toBe(candidate);
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ["no scheme", "cluster.local/ns/a/sa/b"],
    ["another scheme", "https://cluster.local/ns/a/sa/b"],
    ["an upper-case scheme", "SPIFFE://cluster.local/ns/a/sa/b"],
    ["an upper-case trust domain", "spiffe://Cluster.local/ns/a/sa/b"],
    ["an upper-case namespace", "spiffe://cluster.local/ns/A/sa/b"],
    ["an upper-case service account", "spiffe://cluster.local/ns/a/sa/B"],
    ["an empty trust domain", "spiffe:///ns/a/sa/b"],
    ["a port", "spiffe://cluster.local:443/ns/a/sa/b"],
    ["a user", "spiffe://me@cluster.local/ns/a/sa/b"],
    ["a query", "spiffe://cluster.local/ns/a/sa/b?x=y"],
    ["a fragment", "spiffe://cluster.local/ns/a/sa/b#x"],
    ["a further segment", "spiffe://cluster.local/ns/a/sa/b/x"],
    ["a missing segment", "spiffe://cluster.local/ns/a/sa"],
    ["a trailing slash", "spiffe://cluster.local/ns/a/sa/b/"],
    ["an empty segment", "spiffe://cluster.local/ns//sa/b"],
    ["a dot segment", "spiffe://cluster.local/ns/../sa/b"],
    ["percent-encoding", "spiffe://cluster.local/ns/a%2fb/sa/c"],
    ["a NUL", "spiffe://cluster.local/ns/a/sa/b\0"],
    ["a line end", "spiffe://cluster.local/ns/a/sa/b\n"],
    ["a comma", "spiffe://cluster.local/ns/a/sa/b,URI:spiffe://x/ns/a/sa/b"],
    ["a non-ASCII letter", "spiffe://cluster.local/ns/ä/sa/b"],
    ["leading blanks", " spiffe://cluster.local/ns/a/sa/b"],
    ["10 KB", `spiffe://cluster.local/ns/a/sa/${"b".repeat(10_000)}`],
    ["a segment of 254 bytes", `spiffe://cluster.local/ns/a/sa/${"b".repeat(254)}`],
  ])("refuses %s", (_, text) => {
    expect(() => parseSpiffeId(text)).toThrow(/^SPIFFE ID /);
  });
});

describe("formatPrincipal", () => {
  it("is the SPIFFE ID without its scheme", () => {
    fc.assert(
      fc.property(identity, (one) => {
        expect(`spiffe://${formatPrincipal(one)}`).toBe(formatSpiffeId(one));
      }),
    );
  });
});

describe("equalIdentity", () => {
  const base = { trustDomain: "td", namespace: "ns", serviceAccount: "sa" };
  it.each([
    [base, { ...base }, true],
    [base, { ...base, trustDomain: "x" }, false],
    [base, { ...base, namespace: "x" }, false],
    [base, { ...base, serviceAccount: "x" }, false],
    [base, undefined, false],
    [undefined, undefined, true],
  ])("%o and %o: %s", (a, b, expected) => {
    expect(equalIdentity(a, b)).toBe(expected);
    expect(equalIdentity(b, a)).toBe(expected);
  });
});
