import { MeshState } from "@hairpin/shared/discovery";
import { systemClock } from "@hairpin/shared/process";
import { createLogger, MetricRegistry } from "@hairpin/shared/telemetry";
import { describe, expect, it } from "vitest";
import type { PodNetwork } from "../pod-network.ts";
import { loopbackSockets } from "../testing/loopback-dns.ts";
import { DnsProxy } from "./dns-proxy.ts";

function harness(readResolvConf: () => string, ipv6 = true) {
  const lines: string[] = [];
  const proxy = new DnsProxy(
    {
      mesh: new MeshState({ clock: systemClock }),
      clock: systemClock,
      logger: createLogger({ destination: { write: (line) => lines.push(line), flush() {} } }),
      metrics: new MetricRegistry(),
      readResolvConf,
    },
    { port: 0, clusterDomain: "cluster.local", ipv6 },
  );
  return { proxy, lines };
}

/** Loopback sockets, and where they were asked for. */
function network(hasIpv6: boolean) {
  const places: string[] = [];
  const value = {
    ...loopbackSockets,
    bindUdp: (address) => {
      places.push(`udp ${address.ip}`);
      return loopbackSockets.bindUdp(address);
    },
    listen: (port, options) => {
      places.push(`tcp ${options.ip}`);
      return loopbackSockets.listen(port, options);
    },
    hasIpv6: () => hasIpv6,
  } as PodNetwork;
  return { value, places };
}

const info = { name: "web-1", namespace: "ns", serviceAccount: "web" };

describe("DnsProxy", () => {
  it("says nothing when it has name servers", () => {
    const { proxy, lines } = harness(() => "nameserver 127.0.0.1\n");
    proxy.start();
    expect(lines).toEqual([]);
  });

  it.each([
    [
      "there is no resolv.conf",
      () => {
        throw new Error("ENOENT: no such file");
      },
      'error="ENOENT: no such file"',
    ],
    ["resolv.conf names nobody", () => "search example.com\n", ""],
  ])("goes on with the mesh's names when %s, and says so", (_, readResolvConf, error) => {
    const { proxy, lines } = harness(readResolvConf);
    proxy.start();
    expect(lines).toEqual([
      expect.stringContaining("\twarn\tdns\tno name server: only names of the mesh are answered"),
    ]);
    expect(lines[0]).toContain(error);
  });

  it.each([
    { podHas: true, ipv6: true, places: ["tcp 127.0.0.1", "udp 127.0.0.1", "tcp ::1", "udp ::1"] },
    { podHas: false, ipv6: true, places: ["tcp 127.0.0.1", "udp 127.0.0.1"] },
    { podHas: true, ipv6: false, places: ["tcp 127.0.0.1", "udp 127.0.0.1"] },
  ])("listens on loopback alone: IPv6 in the pod $podHas, allowed $ipv6", async ({ podHas, ipv6, places }) => {
    const { proxy } = harness(() => "", ipv6);
    const pod = network(podHas);
    const service = await proxy.startPod({ info, network: pod.value });
    expect(pod.places).toEqual(places);
    await service.close();
    await service.close();
  });

  it("leaves nothing behind when a port is taken", async () => {
    const { proxy } = harness(() => "");
    const pod = network(false);
    let closed = 0;
    const failing: PodNetwork = {
      ...pod.value,
      async listen(port, options) {
        const listener = await pod.value.listen(port, options);
        return { ...listener, address: listener.address, close: () => (closed++, listener.close()) };
      },
      bindUdp: () =>
        Promise.reject(Object.assign(new Error("bind 127.0.0.1:15053: EADDRINUSE"), { code: "EADDRINUSE" })),
    };
    await expect(proxy.startPod({ info, network: failing })).rejects.toMatchObject({ code: "EADDRINUSE" });
    expect(closed).toBe(1);
  });
});
