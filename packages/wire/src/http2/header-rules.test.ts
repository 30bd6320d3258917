import { describe, expect, it } from "vitest";
import { headerList } from "./header-field.ts";
import { checkRequestHead, checkResponseHead, findTrailerProblem } from "./header-rules.ts";

type Fields = (readonly [string, string])[];
const GET: Fields = [
  [":method", "GET"],
  [":scheme", "https"],
  [":path", "/a?b=c"],
  [":authority", "shop.example:8080"],
];

function changed(name: string, value: string | undefined): Fields {
  if (value === undefined) return GET.filter(([known]) => known !== name);
  return GET.map(([known, old]) => [known, known === name ? value : old] as const);
}

describe("checkRequestHead", () => {
  it.each<[string, Fields]>([
    ["an ordinary request", GET],
    ["no :authority but host", [...changed(":authority", undefined), ["host", "shop.example"]]],
    ["host that equals :authority but for case", [...GET, ["host", "SHOP.example:8080"]]],
    ["an IPv6 authority", changed(":authority", "[::1]:80")],
    ["te: trailers", [...GET, ["te", "trailers"]]],
    [
      "OPTIONS *",
      [
        [":method", "OPTIONS"],
        [":scheme", "http"],
        [":path", "*"],
        [":authority", "a"],
      ],
    ],
    [
      "CONNECT with its two fields",
      [
        [":method", "CONNECT"],
        [":authority", "10.0.0.7:8080"],
      ],
    ],
    ["a path with brackets, as browsers send it", changed(":path", "/a[0]|{x}")],
  ])("accepts %s", (_, fields) => {
    expect(checkRequestHead(headerList(fields), false).problem).toBeUndefined();
  });

  it.each<[string, Fields, RegExp]>([
    ["no :method", changed(":method", undefined), /needs :method/],
    ["a method that is no token", changed(":method", "GE T"), /token/],
    ["no :scheme", changed(":scheme", undefined), /:scheme/],
    ["no :path", changed(":path", undefined), /:path/],
    ["an empty :path", changed(":path", ""), /:path/],
    ["a path without slash", changed(":path", "a"), /begin with/],
    ["* for GET", changed(":path", "*"), /begin with/],
    ["a fragment in the path", changed(":path", "/a#b"), /forbidden/],
    ["a space in the path", changed(":path", "/a b"), /forbidden/],
    ["raw 8-bit bytes in the path", changed(":path", "/\u00e9"), /forbidden/],
    ["user information in the authority", changed(":authority", "me@shop"), /host and port/],
    ["a path in the authority", changed(":authority", "shop/x"), /host and port/],
    ["an empty authority", changed(":authority", ""), /host and port/],
    ["host that differs from :authority", [...GET, ["host", "other.example"]], /differs/],
    ["two hosts", [...GET, ["host", "shop.example:8080"], ["host", "shop.example:8080"]], /repeated/],
    ["a repeated pseudo field", [...GET, [":path", "/b"]], /repeated/],
    ["a pseudo field after a regular one", [...GET.slice(0, 3), ["accept", "*/*"], ...GET.slice(3)], /after a regular/],
    ["an unknown pseudo field", [...GET, [":foo", "1"]], /not allowed here/],
    [":status", [...GET, [":status", "200"]], /not allowed here/],
    ["connection", [...GET, ["connection", "close"]], /connection-specific/],
    ["transfer-encoding", [...GET, ["transfer-encoding", "chunked"]], /connection-specific/],
    ["upgrade", [...GET, ["upgrade", "h2c"]], /connection-specific/],
    ["keep-alive", [...GET, ["keep-alive", "5"]], /connection-specific/],
    ["proxy-connection", [...GET, ["proxy-connection", "x"]], /connection-specific/],
    ["te with more than trailers", [...GET, ["te", "gzip, trailers"]], /te may only/],
    ["a signed content-length", [...GET, ["content-length", "+1"]], /not a number/],
    ["a list as content-length", [...GET, ["content-length", "1, 1"]], /not a number/],
    ["two content-lengths", [...GET, ["content-length", "1"], ["content-length", "1"]], /repeated/],
    ["a content-length beyond all doubles", [...GET, ["content-length", "9999999999999999"]], /not a number/],
    [
      "CONNECT with :path",
      [
        [":method", "CONNECT"],
        [":authority", "a:1"],
        [":path", "/"],
      ],
      /CONNECT must not/,
    ],
    [
      "CONNECT with :scheme",
      [
        [":method", "CONNECT"],
        [":authority", "a:1"],
        [":scheme", "http"],
      ],
      /CONNECT must not/,
    ],
    ["CONNECT without authority", [[":method", "CONNECT"]], /needs :authority/],
    [":protocol that was not agreed", [...changed(":method", "CONNECT"), [":protocol", "websocket"]], /not agreed/],
  ])("refuses %s", (_, fields, problem) => {
    expect(checkRequestHead(headerList(fields), false).problem).toMatch(problem);
  });

  it("takes extended CONNECT when it was agreed", () => {
    const fields: Fields = [[":method", "CONNECT"], [":protocol", "websocket"], ...GET.slice(1)];
    expect(checkRequestHead(headerList(fields), true).problem).toBeUndefined();
    expect(checkRequestHead(headerList([[":protocol", "websocket"], ...GET]), true).problem).toMatch(/CONNECT only/);
  });

  it("tells method and content-length", () => {
    const facts = checkRequestHead(headerList([...GET, ["content-length", "12"]]), false);
    expect(facts).toMatchObject({ method: "GET", contentLength: 12 });
  });
});

describe("checkResponseHead", () => {
  it.each(["100", "103", "200", "404", "599"])("accepts %s", (status) => {
    expect(checkResponseHead(headerList({ ":status": status }))).toMatchObject({
      problem: undefined,
      status: Number(status),
    });
  });

  it.each<[string, Fields]>([
    ["no status", []],
    ["101", [[":status", "101"]]],
    ["a status of two digits", [[":status", "20"]]],
    ["600", [[":status", "600"]]],
    [
      "two statuses",
      [
        [":status", "200"],
        [":status", "200"],
      ],
    ],
    [
      "a request's pseudo field",
      [
        [":status", "200"],
        [":path", "/"],
      ],
    ],
    [
      "connection",
      [
        [":status", "200"],
        ["connection", "close"],
      ],
    ],
  ])("refuses %s", (_, fields) => {
    expect(checkResponseHead(headerList(fields)).problem).toBeDefined();
  });
});

describe("findTrailerProblem", () => {
  it("accepts regular fields", () => {
    expect(findTrailerProblem(headerList({ "grpc-status": "0" }))).toBeUndefined();
  });

  it.each([":status", ":path", "content-length", "host", "connection"])("refuses %s", (name) => {
    expect(findTrailerProblem(headerList([[name, "1"]]))).toBeDefined();
  });
});
