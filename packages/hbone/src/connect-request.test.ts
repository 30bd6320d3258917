import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { formatIp, formatSocketAddress } from "@hairpin/shared/model";
import {
  formatBaggage,
  formatConnectAuthority,
  formatForwarded,
  parseBaggage,
  parseConnectAuthority,
  parseForwarded,
  type WorkloadBaggage,
} from "./connect-request.ts";

const ipBytes = fc.oneof(
  fc.uint8Array({ minLength: 4, maxLength: 4 }),
  fc.uint8Array({ minLength: 16, maxLength: 16 }),
);
const socketAddress = fc.record({ ip: ipBytes.map(formatIp), port: fc.integer({ min: 1, max: 65535 }) });
const token = fc.stringMatching(/^[A-Za-z0-9][A-Za-z0-9._-]{0,20}$/);

describe("parseConnectAuthority", () => {
  it.each([
    ["10.0.0.7:8080", { kind: "address", address: { ip: "10.0.0.7", port: 8080 } }],
    ["[fd00::1]:80", { kind: "address", address: { ip: "fd00::1", port: 80 } }],
    ["[::ffff:10.0.0.7]:80", { kind: "address", address: { ip: "10.0.0.7", port: 80 } }],
    [
      "reviews.default.svc.cluster.local:9080",
      { kind: "hostname", hostname: "reviews.default.svc.cluster.local", port: 9080 },
    ],
    ["Reviews:80", { kind: "hostname", hostname: "reviews", port: 80 }],
  ])("reads %s", (text, expected) => {
    expect(parseConnectAuthority(text)).toEqual(expected);
  });

  it.each([
    ["no port", "10.0.0.7"],
    ["port 0", "10.0.0.7:0"],
    ["port too large", "10.0.0.7:65536"],
    ["port with leading zero", "10.0.0.7:080"],
    ["signed port", "host:+80"],
    ["zone id", "[fe80::1%eth0]:80"],
    ["unbracketed IPv6", "fd00::1:80"],
    ["bracketed IPv4", "[10.0.0.7]:80:"],
    ["decimal IP", "2130706433:80"],
    ["short IP", "127.1:80"],
    ["hexadecimal IP", "0x7f000001:80"],
    ["hexadecimal last label", "10.0.0.0x1:80"],
    ["octet too large", "10.0.0.256:80"],
    ["user information", "user@host:80"],
    ["path", "host:80/x"],
    ["empty label", "a..b:80"],
    ["trailing dot", "host.:80"],
    ["control byte", "ho\u0000st:80"],
    ["white space", " host:80"],
    ["label over 63 bytes", `${"a".repeat(64)}:80`],
    ["name over 253 bytes", `${"a.".repeat(130)}a:80`],
    ["empty", ""],
  ])("refuses %s", (_, text) => {
    expect(parseConnectAuthority(text)).toBeUndefined();
  });

  it("reads back every socket address that it writes", () => {
    fc.assert(
      fc.property(socketAddress, (address) => {
        const authority = { kind: "address", address } as const;
        expect(parseConnectAuthority(formatConnectAuthority(authority))).toEqual(authority);
      }),
    );
  });

  it("never throws, and what it accepts is written as one line without blanks", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const authority = parseConnectAuthority(text);
        if (authority) expect(formatConnectAuthority(authority)).toMatch(/^[!-~]+:[0-9]+$/);
      }),
    );
  });
});

describe("Forwarded", () => {
  it("is written as ztunnel writes it", () => {
    const address = { ip: "10.0.0.1", port: 41000 };
    expect(formatForwarded({ for: address })).toBe('for="10.0.0.1:41000"');
    expect(formatForwarded({ for: address, host: "a.b" })).toBe('for="10.0.0.1:41000";host=a.b');
  });

  it.each([
    ["bare token", "for=10.0.0.1:41000", { for: { ip: "10.0.0.1", port: 41000 } }],
    ["quoted host", 'host="a.b"', { host: "a.b" }],
    ["upper-case names", 'For="10.0.0.1:1";HOST=x', { for: { ip: "10.0.0.1", port: 1 }, host: "x" }],
    ["several hops: the nearest", 'for="10.0.0.1:1", for="10.0.0.2:2"', { for: { ip: "10.0.0.2", port: 2 } }],
    ["separators inside quotes", 'host="a;b,c";for="10.0.0.1:1"', { host: "a;b,c", for: { ip: "10.0.0.1", port: 1 } }],
    ["escapes", 'host="a\\"b"', { host: 'a"b' }],
    ["obfuscated for", "for=_hidden;host=x", { host: "x" }],
  ])("reads %s", (_, text, expected) => {
    expect(parseForwarded(text)).toEqual(expected);
  });

  it.each(["", "for", "for=", 'for="10.0.0.1:1', "for=a;for=b", "=x", "for=a b", 'for="a"b'])("refuses %j", (text) => {
    expect(parseForwarded(text)).toBeUndefined();
  });

  it("reads back what it writes", () => {
    fc.assert(
      fc.property(socketAddress, token, (address, host) => {
        expect(parseForwarded(formatForwarded({ for: address, host }))).toEqual({ for: address, host });
      }),
    );
  });

  it("never throws, and an address it returns is canonical", () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        const address = parseForwarded(`for="${text}"`)?.for;
        if (address) expect(parseForwarded(formatForwarded({ for: address }))?.for).toEqual(address);
        if (address) expect(formatSocketAddress(address)).toMatch(/^[0-9a-f:.[\]]+$/);
      }),
    );
  });
});

describe("baggage", () => {
  it("is written in ztunnel's order without empty members", () => {
    const text = formatBaggage({
      clusterName: "Kubernetes",
      namespace: "default",
      workloadName: "reviews",
      workloadType: "deployment",
      serviceName: "reviews",
      serviceVersion: "v1",
      region: "r",
      zone: "",
    });
    expect(text).toBe(
      "k8s.cluster.name=Kubernetes,k8s.namespace.name=default,k8s.deployment.name=reviews,service.name=reviews,service.version=v1,cloud.region=r",
    );
  });

  it("passes over what it does not know, keeps the first of repeated keys and reads all lines", () => {
    const lines = [
      "a=b,k8s.namespace.name=one;p=1,broken,=x",
      "k8s.namespace.name=two,service.name = s ,cloud.region=",
    ];
    expect(parseBaggage(lines)).toEqual({ namespace: "one", serviceName: "s" });
  });

  it("reads at most 8 KiB", () => {
    expect(parseBaggage([`x=${"y".repeat(9000)}`, "service.name=late"])).toEqual({});
  });

  it("reads back what it writes", () => {
    const baggage = fc.record<WorkloadBaggage>(
      {
        clusterName: token,
        namespace: token,
        workloadName: token,
        workloadType: fc.constantFrom("deployment", "cronjob", "pod", "job"),
        serviceName: token,
        serviceVersion: token,
        region: token,
        zone: token,
      },
      { requiredKeys: ["workloadName", "workloadType"] },
    );
    fc.assert(
      fc.property(baggage, (value) => {
        expect(parseBaggage([formatBaggage(value)])).toEqual(value);
      }),
    );
  });

  it("never throws", () => {
    fc.assert(fc.property(fc.array(fc.string()), (lines) => void parseBaggage(lines)));
  });
});
