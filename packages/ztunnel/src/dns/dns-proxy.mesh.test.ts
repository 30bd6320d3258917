// The whole way: an application that asks its name server, the capture rules, our server in the pod's netns, and name
// servers that only the pod can reach.
import { execFile } from "node:child_process";
import net from "node:net";
import { promisify } from "node:util";
import { adoptUdpSocket, createListener, createUdpSocket, openNetns } from "@hairpin/native";
import { MeshState } from "@hairpin/shared/discovery";
import { systemClock } from "@hairpin/shared/process";
import { noLogger, MetricRegistry } from "@hairpin/shared/telemetry";
import { aService, aWorkload } from "@hairpin/testkit";
import { decode } from "dns-packet";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createNativePodNetwork } from "../native-pod-network.ts";
import type { PodNetwork } from "../pod-network.ts";
import type { PodService } from "../pod-proxy.ts";
import { answerWith, type FakeNameServer, serveNames } from "../testing/fake-name-server.ts";
import { createNetworkHost, type NetworkHost, type TestPod } from "../testing/network-host.ts";
import { createErrorResponse, responseCodes } from "./message.ts";
import { DnsProxy } from "./dns-proxy.ts";

/** Istio's rules for DNS (ztunnel.md §8.3), both families. */
const dnsRules = `
table inet hairpin-test-dns {
  chain output {
    type nat hook output priority -100; policy accept;
    oifname != "lo" udp dport 53 meta mark & 0xfff != 0x539 redirect to :15053
    ip daddr != 127.0.0.1 tcp dport 53 meta mark & 0xfff != 0x539 redirect to :15053
    ip6 daddr != ::1 tcp dport 53 meta mark & 0xfff != 0x539 redirect to :15053
  }
}
table inet hairpin-test-dns-raw {
  chain prerouting {
    type filter hook prerouting priority raw; policy accept;
    udp sport 53 meta mark & 0xfff != 0x539 ct zone set 1
  }
  chain output {
    type filter hook output priority raw; policy accept;
    udp dport 53 meta mark & 0xfff == 0x539 ct zone set 1
  }
}
`;

/** c-ares in a process of its own, as the application: prints what it got, by record type. */
const application = `
  const { Resolver } = require("node:dns/promises");
  const [server, ...questions] = process.argv.slice(1);
  const resolver = new Resolver({ timeout: 2000, tries: 1 });
  resolver.setServers([server]);
  Promise.all(questions.map((question) => {
    const [name, type] = question.split("/");
    return resolver.resolve(name, type).catch((error) => error.code);
  })).then((answers) => console.log(JSON.stringify(answers)));
`;

const nameServerIp = "10.77.0.53";
const headlessName = "many.ns.svc.cluster.local";
const longList = Array.from({ length: 400 }, (_, i) => `192.0.${i >> 8}.${i & 255}`);

let host: NetworkHost;
let pod: TestPod;
let network: PodNetwork;
let service: PodService;
let names: FakeNameServer;
const metrics = new MetricRegistry();

beforeAll(async () => {
  host = createNetworkHost();
  pod = host.pod("client", "10.77.0.1");
  const nameServerPod = host.pod("names", nameServerIp);
  pod.run("ip -6 addr add fd77::1/64 dev eth0 nodad; ip -6 route add default dev eth0");
  pod.run("nft -f -", dnsRules);

  const mesh = new MeshState({ clock: systemClock });
  const crowd = Array.from({ length: 200 }, (_, i) =>
    aWorkload({
      uid: `Kubernetes//Pod/ns/many-${i}`,
      name: `many-${i}`,
      addresses: [`10.1.0.${i}`],
      services: new Map([[`ns/${headlessName}`, []]]),
    }),
  );
  const client = aWorkload({ uid: "Kubernetes//Pod/ns/client", name: "client", serviceAccount: "client" });
  const dual = {
    vips: [
      { network: "", ip: "10.96.0.1" },
      { network: "", ip: "fd00:96::1" },
    ],
    ipFamilies: "DUAL",
  } as const;
  mesh.loadStateFile({
    services: [aService(dual), aService({ name: "many", hostname: headlessName, vips: [] })],
    workloads: [client, ...crowd],
    policies: [],
  });

  const place = openNetns(nameServerPod.path);
  const udp = await adoptUdpSocket(createUdpSocket({ netns: place, ip: nameServerIp, port: 53 }));
  const tcp = net.createServer().listen({ fd: createListener({ netns: place, ip: nameServerIp, port: 53 }) });
  place.close();
  names = serveNames({ ip: nameServerIp, port: 53 }, { udp, tcp }, ({ bytes, protocol }) => {
    const name = decode(bytes).questions?.[0]?.name;
    if (name === "www.example.com") return [answerWith(bytes, ["192.0.2.1"])];
    if (name !== "long.example.com") return [createErrorResponse(bytes, responseCodes.nameError)];
    return [protocol === "udp" ? answerWith(bytes, [], { flags: 0x0200 }) : answerWith(bytes, longList)];
  });

  network = createNativePodNetwork(pod.open(), {
    mark: 1337,
    reusePort: true,
    ipv6: true,
    originalSource: "best-effort",
    keepalive: { enabled: false, timeMs: 1000, intervalMs: 1000, retries: 1, userTimeoutEnabled: false },
  });
  const proxy = new DnsProxy(
    {
      mesh,
      clock: systemClock,
      logger: noLogger,
      metrics,
      readResolvConf: () => `nameserver ${nameServerIp}\n`,
    },
    { port: 15_053, clusterDomain: "cluster.local", ipv6: true },
  );
  proxy.start();
  service = await proxy.startPod({ info: { name: "client", namespace: "ns", serviceAccount: "client" }, network });
});

afterAll(async () => {
  await service?.close();
  network?.close();
  await names?.[Symbol.asyncDispose]();
  await host?.[Symbol.asyncDispose]();
});

/** Asks as the pod's application does; questions are `name/type`. */
async function ask(server: string, ...questions: readonly string[]): Promise<unknown> {
  const netns = pod.path.split("/").at(-1) ?? "";
  const { stdout } = await promisify(execFile)(
    "ip",
    ["netns", "exec", netns, process.execPath, "-e", application, server, ...questions],
    { env: { PATH: "/usr/sbin:/sbin:/usr/bin:/bin" }, timeout: 20_000 },
  );
  return JSON.parse(stdout);
}

describe("an application in a captured pod", () => {
  it("gets names of the mesh, whatever name server it asks", async () => {
    const questions = ["web.ns.svc.cluster.local/A", "web.ns.svc.cluster.local/AAAA", "web/A"];
    const expected = [["10.96.0.1"], ["fd00:96::1"], ["10.96.0.1"]];
    expect(await ask(nameServerIp, ...questions)).toEqual(expected);
    // Nobody is there.
    expect(await ask("10.77.0.99", ...questions)).toEqual(expected);
    expect(names.seen).toEqual([]);
  });

  it("gets them over IPv6 too", async () => {
    expect(await ask("[fd77::99]", "web/A", "web/AAAA")).toEqual([["10.96.0.1"], ["fd00:96::1"]]);
  });

  it("gets a list that does not fit UDP, by TCP", async () => {
    const [list] = (await ask(nameServerIp, `${headlessName}/A`)) as string[][];
    expect(new Set(list)).toEqual(new Set(Array.from({ length: 200 }, (_, i) => `10.1.0.${i}`)));
    const { body } = await metrics.expose();
    expect(body).toMatch(/istio_dns_requests_total\{request_query_type="a",request_protocol="tcp",.*\} 1\n/);
  });

  it("gets everything else from our name servers, not from its own", async () => {
    const questions = ["www.example.com/A", "long.example.com/A", "nobody.example.com/A", "www.example.com/TXT"];
    expect(await ask("10.77.0.99", ...questions)).toEqual([["192.0.2.1"], longList, "ENOTFOUND", []]);
    expect(names.seen.some(({ protocol }) => protocol === "tcp")).toBe(true);
  });

  it("asks its own name server once we are gone", async () => {
    await service.close();
    pod.run("nft delete table inet hairpin-test-dns; nft delete table inet hairpin-test-dns-raw");
    expect(await ask(nameServerIp, "www.example.com/A", "web/A")).toEqual([["192.0.2.1"], "ENOTFOUND"]);
  });
});
