import { create, type MessageInitShape } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hairpinWaypoint } from "@hairpin/shared/api";
import type { RequestHead } from "../request-head.ts";
import { compileRouteTable } from "./route-table.ts";
import { splitTraffic } from "./split-traffic.ts";

const { EXACT, PREFIX, REGULAR_EXPRESSION } = hairpinWaypoint.MatchType;
type MatchInit = Exclude<MessageInitShape<typeof hairpinWaypoint.RouteMatchSchema>, hairpinWaypoint.RouteMatch>;

/** A route whose rules are named and have these matches. */
function route(name: string, rules: Record<string, MatchInit[]>, onlyFromNamespace = "") {
  return create(hairpinWaypoint.RouteSchema, {
    namespace: "ns",
    name,
    onlyFromNamespace,
    rules: Object.entries(rules).map(([ruleName, matches]) => ({ name: ruleName, matches })),
  });
}

function request(target: string, headers: Record<string, string> = {}, method = "GET"): RequestHead {
  const [path = "", query] = target.split("?");
  return {
    method,
    scheme: "http",
    authority: "reviews",
    path,
    query: query === undefined ? "" : `?${query}`,
    headers: Object.entries(headers).map(([name, value]) => ({ name, value })),
  };
}

const prefix = (value: string): MatchInit => ({ path: { type: PREFIX, value } });
const exact = (value: string): MatchInit => ({ path: { type: EXACT, value } });
const regex = (value: string): MatchInit => ({ path: { type: REGULAR_EXPRESSION, value } });
const header = (name: string, value: string): MatchInit => ({ headers: [{ type: EXACT, name, value }] });
const query = (name: string, value: string): MatchInit => ({ queryParams: [{ type: EXACT, name, value }] });

function chosen(routes: ReturnType<typeof route>[], head: RequestHead, clientNamespace?: string): string | undefined {
  const choice = compileRouteTable(routes).choose(head, clientNamespace);
  return choice === "default" || choice === undefined ? choice : choice.rule.name;
}

describe("RouteTable", () => {
  it("goes straight to the service when there is no route", () => {
    expect(chosen([], request("/"))).toBe("default");
  });

  it("matches everything with a rule without matches", () => {
    expect(chosen([route("r", { all: [] })], request("/x"))).toBe("all");
  });

  it("finds nothing when routes exist and none matches", () => {
    expect(chosen([route("r", { one: [exact("/one")] })], request("/two"))).toBeUndefined();
  });

  it.each<[string, Record<string, MatchInit[]>, RequestHead, string | undefined]>([
    ["a prefix is made of segments", { v2: [prefix("/v2")], rest: [prefix("/")] }, request("/v2example"), "rest"],
    ["a prefix matches its own path", { v2: [prefix("/v2")], rest: [prefix("/")] }, request("/v2"), "v2"],
    ["a trailing slash of a prefix is ignored", { v2: [prefix("/v2/")], rest: [prefix("/")] }, request("/v2"), "v2"],
    ["a prefix inside the path does not count", { v2: [prefix("/v2")] }, request("/foo/v2"), undefined],
    ["exact is exact", { one: [exact("/one")] }, request("/one/"), undefined],
    ["exact is case-sensitive", { one: [exact("/one")] }, request("/One"), undefined],
    ["exact beats a longer prefix", { long: [prefix("/one")], one: [exact("/one")] }, request("/one"), "one"],
    ["the longest prefix wins", { a: [prefix("/a")], ab: [prefix("/a/b")] }, request("/a/b/c"), "ab"],
    ["a regular expression must match the whole path", { r: [regex("/a[0-9]")] }, request("/a1/x"), undefined],
    ["a regular expression matches", { r: [regex("/a[0-9]+")] }, request("/a17"), "r"],
    ["a prefix beats a regular expression", { r: [regex("/a.*")], p: [prefix("/a")] }, request("/a"), "p"],
    ["an expression that RE2 refuses never matches", { r: [regex("(?=a)")] }, request("/a"), undefined],
    [
      "a method beats more headers",
      { h: [{ ...prefix("/"), ...header("a", "1") }], m: [{ ...prefix("/"), method: "GET" }] },
      request("/", { a: "1" }),
      "m",
    ],
    ["another method does not match", { m: [{ method: "POST" }] }, request("/"), undefined],
    [
      "more headers win",
      {
        one: [header("a", "1")],
        two: [
          {
            headers: [
              { name: "a", value: "1" },
              { name: "b", value: "2" },
            ],
          },
        ],
      },
      request("/", { a: "1", b: "2" }),
      "two",
    ],
    [
      "header names have no case, values have",
      { one: [header("Version", "One")] },
      request("/", { version: "One" }),
      "one",
    ],
    ["a header value must be whole", { one: [header("version", "on")] }, request("/", { version: "one" }), undefined],
    ["the authority matches as Host", { one: [header("Host", "reviews")] }, request("/"), "one"],
    ["a query parameter", { whale: [query("animal", "whale")] }, request("/?animal=whale&x=1"), "whale"],
    [
      "of a repeated parameter the first counts",
      { whale: [query("animal", "whale")] },
      request("/?animal=dog&animal=whale"),
      undefined,
    ],
    ["parameter names have case", { whale: [query("animal", "whale")] }, request("/?ANIMAL=whale"), undefined],
    ["an encoded parameter", { whale: [query("animal", "a b")] }, request("/?animal=a%20b"), "whale"],
    [
      "headers beat parameters",
      {
        q: [
          {
            queryParams: [
              { name: "a", value: "1" },
              { name: "b", value: "2" },
            ],
          },
        ],
        h: [header("v", "1")],
      },
      request("/?a=1&b=2", { v: "1" }),
      "h",
    ],
    [
      "a longer path beats parameters",
      { q: [query("animal", "hydra")], p: [prefix("/path5")] },
      request("/path5?animal=hydra"),
      "p",
    ],
    ["matches of a rule are OR-ed", { either: [exact("/a"), exact("/b")] }, request("/b"), "either"],
    ["fields of a match are AND-ed", { both: [{ ...exact("/a"), ...header("v", "1") }] }, request("/a"), undefined],
    [
      "of equals the first rule wins",
      { first: [header("a", "1")], second: [header("b", "1")] },
      request("/", { a: "1", b: "1" }),
      "first",
    ],
  ])("%s", (_, rules, head, expected) => {
    expect(chosen([route("r", rules)], head)).toBe(expected);
  });

  it("merges routes; of equals the route named first wins", () => {
    const routes = [
      route("old", { old: [prefix("/")] }),
      route("new", { new: [prefix("/")], deep: [prefix("/deep")] }),
    ];
    expect(chosen(routes, request("/"))).toBe("old");
    expect(chosen(routes, request("/deep"))).toBe("deep");
  });

  it("uses only the consumer routes for clients of their namespace", () => {
    const routes = [route("producer", { producer: [] }), route("consumer", { consumer: [exact("/c")] }, "client-ns")];
    expect(chosen(routes, request("/c"), "client-ns")).toBe("consumer");
    expect(chosen(routes, request("/x"), "client-ns")).toBeUndefined();
    expect(chosen(routes, request("/c"), "other")).toBe("producer");
    expect(chosen([route("consumer", { consumer: [] }, "client-ns")], request("/"), "other")).toBe("default");
  });
});

describe("splitTraffic", () => {
  it("never picks weight 0 and nothing when all are 0", () => {
    const items = [{ weight: 0 }, { weight: 3 }, { weight: 0 }];
    fc.assert(
      fc.property(fc.double({ min: 0, max: 1, noNaN: true }), (r) => splitTraffic(items, () => r) === items[1]),
    );
    expect(splitTraffic([{ weight: 0 }], () => 0.5)).toBeUndefined();
    expect(splitTraffic([], () => 0)).toBeUndefined();
  });

  it("keeps the shares", () => {
    const items = [{ weight: 70 }, { weight: 30 }];
    const picks = Array.from({ length: 1000 }, (_, i) => splitTraffic(items, () => i / 1000));
    expect(picks.filter((item) => item === items[0])).toHaveLength(700);
  });
});
