import { describe, expect, it } from "vitest";
import { parseNameServers } from "./name-servers.ts";

describe("parseNameServers", () => {
  it.each([
    ["one", "nameserver 10.96.0.10\n", ["10.96.0.10"]],
    ["search and options besides", "search a b\nnameserver 10.0.0.1\noptions ndots:5\n", ["10.0.0.1"]],
    ["several in order", "nameserver 10.0.0.2\nnameserver fd00::1\n", ["10.0.0.2", "fd00::1"]],
    [
      "three at most",
      "nameserver 1.1.1.1\nnameserver 1.1.1.2\nnameserver 1.1.1.3\nnameserver 1.1.1.4",
      ["1.1.1.1", "1.1.1.2", "1.1.1.3"],
    ],
    ["tabs and a carriage return", "\tnameserver\t10.0.0.1\r\n", ["10.0.0.1"]],
    ["one twice", "nameserver 10.0.0.1\nnameserver 10.0.0.1\n", ["10.0.0.1"]],
    ["comments", "# nameserver 10.0.0.1\n;nameserver 10.0.0.2\nnameserver 10.0.0.3 # here\n", ["10.0.0.3"]],
    ["no address", "nameserver dns.example.com\nnameserver\nnameserver fe80::1%eth0\n", []],
    ["another keyword", "nameservers 10.0.0.1\n", []],
    ["nothing", "", []],
  ])("reads %s", (_, text, expected) => {
    expect(parseNameServers(text)).toEqual(expected);
  });
});
