import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { canonicalTarget, loosePath } from "./canonical-path.ts";

describe("canonicalTarget", () => {
  it.each([
    ["/", "/", ""],
    ["*", "*", ""],
    ["/a/b?x=1?y#".replace("#", ""), "/a/b", "?x=1?y"],
    ["/a/./b/../c", "/a/c", ""],
    ["/a/..", "/", ""],
    ["/a/.", "/a/", ""],
    ["/../../a", "/a", ""],
    ["/a/%2e%2E/b", "/b", ""],
    ["/%61dmin", "/admin", ""],
    ["/a%2fb", "/a%2Fb", ""],
    ["/a%5cb", "/a%5Cb", ""],
    ["/a\\b\\..\\c", "/a/c", ""],
    ["//a//b", "//a//b", ""],
    ["/a;x=1/b", "/a;x=1/b", ""],
    ["/a?b=/../c", "/a", "?b=/../c"],
    ["/...", "/...", ""],
  ])("brings %s to %s and leaves the query %s", (target, path, query) => {
    expect(canonicalTarget(target)).toEqual({ path, query });
  });

  it.each([
    "",
    "a",
    "/a#b",
    "/a b",
    "/\u00e9",
    "/a\tb",
    "/%",
    "/%4",
    "/%zz",
    "/a%00b",
    "http://a/b",
    "/a\u007f",
    "/a/..%2fb",
    "/a/%2e%2e%2Fb",
    "/a/b%5C..",
    "/a/..;x=1/b",
    "/a/.;/b",
  ])("refuses %j", (target) => {
    expect(canonicalTarget(target)).toBeUndefined();
  });

  it("gives a form that does not change when brought into it again", () => {
    const target = fc.stringMatching(/^\/[a-z./%25eEfF\\;?-]{0,30}$/);
    fc.assert(
      fc.property(target, (text) => {
        const once = canonicalTarget(text);
        if (once) expect(canonicalTarget(once.path + once.query)).toEqual(once);
      }),
    );
  });
});

describe("loosePath", () => {
  it.each([
    ["/a/b", undefined],
    ["/a;x=1/b;y", "/a/b"],
    ["//a///b", "/a/b"],
    ["/a%2Fb%5Cc", "/a/b/c"],
    ["/a;x%2Fb", "/a/b"],
  ])("%s is read by careless servers as %s", (path, loose) => {
    expect(loosePath(path)).toBe(loose);
  });
});
