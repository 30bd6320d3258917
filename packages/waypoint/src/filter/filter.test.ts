import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { describe, expect, it } from "vitest";
import { hairpinWaypoint } from "@hairpin/shared/api";
import type { RequestHead } from "../request-head.ts";
import { compileFilters, runRequestFilters, runResponseFilters } from "./order.ts";
import { modifyPath } from "./path-modifier.ts";

type RedirectInit = Exclude<MessageInitShape<typeof hairpinWaypoint.RedirectSchema>, hairpinWaypoint.Redirect>;
type FilterCase = hairpinWaypoint.Filter["filter"];

function filters(...cases: FilterCase[]) {
  return compileFilters(cases.map((filter) => create(hairpinWaypoint.FilterSchema, { filter })));
}

const modifier = (init: { set?: [string, string][]; add?: [string, string][]; remove?: string[] }) =>
  create(hairpinWaypoint.HeaderModifierSchema, {
    set: (init.set ?? []).map(([name, value]) => ({ name, value })),
    add: (init.add ?? []).map(([name, value]) => ({ name, value })),
    remove: init.remove ?? [],
  });

const head: RequestHead = {
  method: "GET",
  scheme: "http",
  authority: "reviews:8080",
  path: "/foo/bar",
  query: "?q=1",
  headers: [
    { name: "x-a", value: "1" },
    { name: "x-b", value: "2" },
  ],
};
const context = { pathPrefix: "/foo", port: 8080 };

function path(kind: "replaceFullPath" | "replacePrefixMatch", value: string) {
  return create(hairpinWaypoint.PathModifierSchema, { modifier: { case: kind, value } });
}

describe("header modifiers", () => {
  it("set, add and remove without regard to case, and keep the rest", () => {
    const result = runRequestFilters(
      filters({
        case: "requestHeaderModifier",
        value: modifier({
          set: [
            ["X-A", "new"],
            ["x-n", "3"],
          ],
          add: [["X-B", "more"]],
          remove: ["x-gone"],
        }),
      }),
      { ...head, headers: [...head.headers, { name: "x-gone", value: "" }, { name: "x-kept", value: "k" }] },
      context,
    );
    expect(
      result.kind === "continue" && Object.fromEntries(result.head.headers.map(({ name, value }) => [name, value])),
    ).toEqual({
      "x-a": "new",
      "x-b": "2,more",
      "x-n": "3",
      "x-kept": "k",
    });
  });

  it("leave the fields alone that frame the message", () => {
    const value = modifier({
      set: [
        ["Content-Length", "0"],
        ["Transfer-Encoding", "x"],
        [":path", "/x"],
      ],
    });
    const result = runRequestFilters(filters({ case: "requestHeaderModifier", value }), head, context);
    expect(result.kind === "continue" && result.head).toEqual(head);
  });

  it("change the authority by host", () => {
    const result = runRequestFilters(
      filters({ case: "requestHeaderModifier", value: modifier({ set: [["Host", "other"]] }) }),
      head,
      context,
    );
    expect(result.kind === "continue" && result.head.authority).toBe("other");
  });

  it("change responses in reverse order, and give every added set-cookie its own line", () => {
    const two = filters(
      { case: "responseHeaderModifier", value: modifier({ set: [["x", "outer"]] }) },
      { case: "responseHeaderModifier", value: modifier({ set: [["x", "inner"]], add: [["set-cookie", "b=2"]] }) },
    );
    expect(runResponseFilters(two, [{ name: "set-cookie", value: "a=1" }])).toEqual([
      { name: "set-cookie", value: "a=1" },
      { name: "set-cookie", value: "b=2" },
      { name: "x", value: "outer" },
    ]);
  });
});

describe("request redirect", () => {
  const redirect = (init: RedirectInit) =>
    ({ case: "requestRedirect", value: create(hairpinWaypoint.RedirectSchema, init) }) as const;

  it.each<[string, RedirectInit, number, string]>([
    ["keeps what is not replaced", {}, 302, "http://reviews:8080/foo/bar?q=1"],
    ["hostname", { hostname: "example.org" }, 302, "http://example.org:8080/foo/bar?q=1"],
    ["status", { statusCode: 301 }, 301, "http://reviews:8080/foo/bar?q=1"],
    ["scheme brings its port", { scheme: "https" }, 302, "https://reviews/foo/bar?q=1"],
    ["port", { port: 8443 }, 302, "http://reviews:8443/foo/bar?q=1"],
    ["default port is left out", { port: 80 }, 302, "http://reviews/foo/bar?q=1"],
    ["scheme and port", { scheme: "https", port: 8443 }, 302, "https://reviews:8443/foo/bar?q=1"],
    ["prefix", { path: path("replacePrefixMatch", "/xyz") }, 302, "http://reviews:8080/xyz/bar?q=1"],
    ["full path", { path: path("replaceFullPath", "/xyz") }, 302, "http://reviews:8080/xyz?q=1"],
  ])("%s", (_, init, status, location) => {
    expect(runRequestFilters(filters(redirect(init)), head, context)).toMatchObject({
      kind: "respond",
      status,
      headers: [{ name: "location", value: location }],
    });
  });

  it("ends the chain", () => {
    const result = runRequestFilters(filters(redirect({}), { case: "unsupported", value: "later" }), head, context);
    expect(result).toMatchObject({ kind: "respond", status: 302 });
  });
});

describe("url rewrite", () => {
  it("replaces host and path and keeps the query", () => {
    const value = create(hairpinWaypoint.UrlRewriteSchema, {
      hostname: "one.example",
      path: path("replacePrefixMatch", "/"),
    });
    expect(runRequestFilters(filters({ case: "urlRewrite", value }), head, context)).toMatchObject({
      kind: "continue",
      head: { authority: "one.example", path: "/bar", query: "?q=1" },
    });
  });

  it.each([
    ["/foo/bar", "/foo", "/xyz", "/xyz/bar"],
    ["/foo/bar", "/foo", "/xyz/", "/xyz/bar"],
    ["/foo", "/foo", "/xyz", "/xyz"],
    ["/foo/", "/foo", "/xyz", "/xyz/"],
    ["/foo/bar", "/foo", "", "/bar"],
    ["/foo/", "/foo", "", "/"],
    ["/foo", "/foo", "", "/"],
    ["/foo/", "/foo", "/", "/"],
    ["/foo", "/foo", "/", "/"],
    ["/foo/bar", "/", "/xyz", "/xyz/foo/bar"],
  ])("%s with prefix %s replaced by %j is %s", (given, prefix, replacement, expected) => {
    expect(modifyPath(given, path("replacePrefixMatch", replacement), prefix)).toBe(expected);
  });
});

describe("a filter that is not supported", () => {
  it("is answered 500 and not skipped", () => {
    expect(runRequestFilters(filters({ case: "unsupported", value: "CORS" }), head, context)).toMatchObject({
      kind: "respond",
      status: 500,
      body: "filter CORS is not supported\n",
    });
    expect(runRequestFilters(filters({ case: undefined }), head, context)).toMatchObject({ status: 500 });
  });
});
