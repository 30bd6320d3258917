import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  clusterDnsIp,
  controlIp,
  defaultIpv4Ranges,
  defaultIpv6Ranges,
  findFreeIp,
  planNodeAddresses,
} from "./address-plan.ts";

describe("planNodeAddresses", () => {
  it("gives every node a share of the pod range and its own address on the bridge", () => {
    expect(planNodeAddresses(defaultIpv4Ranges, 2)).toEqual({
      family: 4,
      nodeIp: "172.30.0.3",
      nodePrefixLength: 24,
      podRange: { ip: "10.244.2.0", prefixLength: 24 },
      gatewayIp: "10.244.2.1",
    });
    expect(planNodeAddresses(defaultIpv6Ranges, 1)).toMatchObject({
      family: 6,
      podRange: { ip: "fd00:10:244:1::", prefixLength: 64 },
      gatewayIp: "fd00:10:244:1::1",
    });
  });

  it("says which range is too small", () => {
    expect(() => planNodeAddresses({ ...defaultIpv4Ranges, pods: "10.1.0.0/23" }, 2)).toThrow(
      "Pod range 10.1.0.0/23 has no /24 for node 2",
    );
  });
});

describe("service addresses", () => {
  it("are the tenth for DNS and the fifteenth for control", () => {
    expect([clusterDnsIp(defaultIpv4Ranges), controlIp(defaultIpv4Ranges)]).toEqual(["10.96.0.10", "10.96.0.15"]);
    expect(clusterDnsIp(defaultIpv6Ranges)).toBe("fd00:10:96::a");
  });
});

describe("findFreeIp", () => {
  const range = { ip: "10.0.0.0", prefixLength: 28 };

  it("gives out every address of a range once, and then none", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 14 }), (from) => {
        const taken = new Set<string>();
        for (;;) {
          const found = findFreeIp(range, (ip) => taken.has(ip), { reserved: 2, from });
          if (found === undefined) break;
          expect(taken.has(found.ip)).toBe(false);
          taken.add(found.ip);
        }
        expect(taken.size).toBe(13);
        expect([...taken].every((ip) => Number(ip.split(".")[3]) >= 2 && Number(ip.split(".")[3]) <= 14)).toBe(true);
      }),
    );
  });
});
