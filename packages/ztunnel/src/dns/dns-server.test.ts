import { Resolver } from "node:dns/promises";
import { once } from "node:events";
import net from "node:net";
import type { Service, Workload } from "@hairpin/shared/model";
import { aService, aWorkload, eventually, ManualClock } from "@hairpin/testkit";
import { decode } from "dns-packet";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { answerWith, framed, startNameServer } from "../testing/fake-name-server.ts";
import { addressesIn, askTcp, askUdp, queryFor, startLoopbackDns } from "../testing/loopback-dns.ts";
import { createErrorResponse, readHeader, responseCodes } from "./message.ts";

const hostname = "web.ns.svc.cluster.local";
const headlessName = "many.ns.svc.cluster.local";
const web = aService({ hostname, vips: [{ network: "", ip: "10.96.0.1" }] });
const many: Service = aService({ name: "many", hostname: headlessName, vips: [] });
const client = aWorkload({ canonicalName: "client", canonicalRevision: "v1" });
const crowd: readonly Workload[] = Array.from({ length: 300 }, (_, i) =>
  aWorkload({
    uid: `Kubernetes//Pod/ns/many-${i}`,
    name: `many-${i}`,
    addresses: [`10.1.${i >> 8}.${i & 255}`],
    services: new Map([[`ns/${headlessName}`, []]]),
  }),
);
const mesh = { services: [web, many], workloads: [client, ...crowd] };

/** c-ares: a resolver that shares no code with us. */
function resolver(port: number): Resolver {
  const made = new Resolver({ timeout: 2000, tries: 1 });
  made.setServers([`127.0.0.1:${port}`]);
  return made;
}

function whenClosed(socket: net.Socket): Promise<void> {
  socket.on("error", () => {});
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

/** Every answer, in the order of arrival, until the server ends the connection. */
async function readAll(socket: net.Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  for await (const chunk of socket as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks);
}

describe("a pod's DNS server", () => {
  it("answers names of the mesh by UDP and TCP", async () => {
    await using dns = await startLoopbackDns(mesh);
    const byUdp = await askUdp(dns.port, queryFor(hostname));
    expect(decode(byUdp)).toMatchObject({ id: 4711, rcode: "NOERROR", flag_aa: true });
    expect(addressesIn(byUdp)).toEqual(["10.96.0.1"]);
    const [byTcp = Buffer.alloc(0)] = await askTcp(dns.port, queryFor("web"));
    expect(addressesIn(byTcp)).toEqual(["10.96.0.1"]);
  });

  it("is understood by another resolver: addresses, none of a family, a long list by TCP, an unknown name", async () => {
    await using server = await startNameServer(({ bytes }) => [createErrorResponse(bytes, responseCodes.nameError)]);
    await using dns = await startLoopbackDns({ ...mesh, nameServers: [server.address] });
    const ask = resolver(dns.port);
    expect(await ask.resolve4(hostname, { ttl: true })).toEqual([{ address: "10.96.0.1", ttl: 30 }]);
    await expect(ask.resolve6(hostname)).rejects.toMatchObject({ code: "ENODATA" });
    const all = await ask.resolve4(headlessName);
    expect(all.toSorted()).toEqual(crowd.flatMap(({ addresses }) => addresses).toSorted());
    await expect(ask.resolve4("unknown.example.com")).rejects.toMatchObject({ code: "ENOTFOUND" });
  });

  it("sends everything else to the name servers", async () => {
    await using server = await startNameServer(({ bytes }) => [answerWith(bytes, ["192.0.2.1"])]);
    await using dns = await startLoopbackDns({ ...mesh, nameServers: [server.address] });
    expect(addressesIn(await askUdp(dns.port, queryFor("www.example.com")))).toEqual(["192.0.2.1"]);
    await askUdp(dns.port, queryFor(hostname, "SRV"));
    await askTcp(dns.port, queryFor(hostname, "TXT"));
    expect(server.seen.map(({ bytes }) => decode(bytes).questions?.[0])).toMatchObject([
      { name: "www.example.com", type: "A" },
      { name: hostname, type: "SRV" },
      { name: hostname, type: "TXT" },
    ]);
  });

  it("answers SERVFAIL when nobody can be asked", async () => {
    await using dns = await startLoopbackDns(mesh);
    expect(decode(await askUdp(dns.port, queryFor("www.example.com")))).toMatchObject({ id: 4711, rcode: "SERVFAIL" });
  });

  it("refuses zone transfers, and sessions that it does not know", async () => {
    await using server = await startNameServer(({ bytes }) => [answerWith(bytes, [])]);
    await using dns = await startLoopbackDns({ ...mesh, nameServers: [server.address] });
    const [transfer = Buffer.alloc(0)] = await askTcp(dns.port, queryFor("example.com", "AXFR"));
    expect(decode(transfer)).toMatchObject({ rcode: "REFUSED" });
    const session = Buffer.from("000130000000000000000000", "hex");
    expect(readHeader(await askUdp(dns.port, session))).toMatchObject({ opcode: 6, responseCode: 4 });
    expect(server.seen).toEqual([]);
  });

  it("shuffles: clients take the first", async () => {
    await using dns = await startLoopbackDns(mesh);
    const [whole = Buffer.alloc(0)] = await askTcp(dns.port, queryFor(headlessName));
    const inOrder = crowd.flatMap(({ addresses }) => addresses);
    expect(addressesIn(whole)).not.toEqual(inOrder);
    expect(addressesIn(whole).toSorted()).toEqual(inOrder.toSorted());
  });
});

describe("a pod that is not known", () => {
  const clock = new ManualClock();

  it("gets its answer once it is", async () => {
    await using dns = await startLoopbackDns({ services: [web], clock });
    const answered = askUdp(dns.port, queryFor("web"));
    await eventually(() => expect(dns.pending.taken).toBe(1));
    dns.mesh.loadStateFile({ services: [], workloads: [client], policies: [] });
    expect(addressesIn(await answered)).toEqual(["10.96.0.1"]);
    expect(dns.pending.taken).toBe(0);
  });

  it("gets SERVFAIL after 5 s", async () => {
    await using dns = await startLoopbackDns({ services: [web], clock });
    const answered = askUdp(dns.port, queryFor("web"));
    await eventually(() => expect(clock.nextTimerMs).toBe(5000));
    await clock.advance(5000);
    expect(decode(await answered)).toMatchObject({ id: 4711, rcode: "SERVFAIL" });
    expect(dns.lines.join("")).toContain('error="Pod ns/web-1 is not known in the mesh"');
  });
});

describe("limits", () => {
  it("answer SERVFAIL at once when too many queries wait, and names of the mesh still", async () => {
    await using server = await startNameServer(() => []);
    await using dns = await startLoopbackDns({ ...mesh, nameServers: [server.address], maxPending: 2 });
    const waiting = Promise.all(["a.example", "b.example"].map((name) => dns.handler.answer(queryFor(name), "udp")));
    await eventually(() => expect(server.seen).toHaveLength(2));
    expect(decode(await askUdp(dns.port, queryFor("c.example")))).toMatchObject({ rcode: "SERVFAIL" });
    expect(addressesIn(await askUdp(dns.port, queryFor("web")))).toEqual(["10.96.0.1"]);
    expect((await dns.metrics.expose()).body).toContain('hairpin_ztunnel_dns_limited_total{limit="queries"} 1');
    expect(server.seen).toHaveLength(2);
    await dns.close();
    for (const response of await waiting)
      expect(decode(response ?? Buffer.alloc(0))).toMatchObject({ rcode: "SERVFAIL" });
  });

  it("close connections above their number at once", async () => {
    await using dns = await startLoopbackDns({ ...mesh, maxConnections: 1 });
    const first = net.connect(dns.port, "127.0.0.1");
    await eventually(() => expect(dns.connections.taken).toBe(1));
    await whenClosed(net.connect(dns.port, "127.0.0.1"));
    expect((await dns.metrics.expose()).body).toContain('hairpin_ztunnel_dns_limited_total{limit="connections"} 1');
    first.destroy();
    await eventually(() => expect(dns.connections.taken).toBe(0));
    expect(await askTcp(dns.port, queryFor("web"))).toHaveLength(1);
  });

  it("hold back what one connection asks at once", async () => {
    await using server = await startNameServer(() => []);
    await using dns = await startLoopbackDns({ ...mesh, nameServers: [server.address], maxPipelined: 3 });
    const socket = net.connect(dns.port, "127.0.0.1");
    socket.on("error", () => {});
    socket.write(Buffer.concat(Array.from({ length: 50 }, (_, i) => framed(queryFor(`n${i}.example`)))));
    await eventually(() => expect(server.seen).toHaveLength(3));
    expect(addressesIn(await askUdp(dns.port, queryFor("web")))).toEqual(["10.96.0.1"]);
    expect(dns.pending.taken).toBe(3);
    socket.destroy();
  });
});

describe("a TCP connection", () => {
  it("carries many queries, however they are cut, and may be half closed", async () => {
    await using dns = await startLoopbackDns({ ...mesh, maxPipelined: 2 });
    const socket = net.connect({ port: dns.port, host: "127.0.0.1", allowHalfOpen: true });
    const queries = Array.from({ length: 40 }, (_, i) => framed(queryFor("web", "A", { id: i })));
    for (const byte of Buffer.concat(queries)) socket.write(Buffer.of(byte));
    socket.end();
    const all = await readAll(socket);
    const size = 2 + all.readUInt16BE(0);
    expect(all.length).toBe(40 * size);
    const ids = Array.from({ length: 40 }, (_, i) => all.readUInt16BE(i * size + 2));
    expect(ids.toSorted((a, b) => a - b)).toEqual(Array.from({ length: 40 }, (_, i) => i));
  });

  it("ends after 5 s without a whole query", async () => {
    const clock = new ManualClock();
    await using dns = await startLoopbackDns({ ...mesh, clock });
    const socket = net.connect(dns.port, "127.0.0.1");
    const closed = whenClosed(socket);
    const ended = once(socket, "end");
    socket.write(framed(queryFor("web")));
    await once(socket, "data");
    await clock.advance(4000);
    socket.write(Buffer.of(0, 40, 1, 2, 3));
    // The answer to a query by UDP: what was written before it was read before it.
    await askUdp(dns.port, queryFor("web"));
    await clock.advance(1000);
    await ended;
    await closed;
    await eventually(() => expect(dns.connections.taken).toBe(0));
    expect(clock.pendingTimers).toBe(0);
  });

  it("is cut when its client does not end it in turn", async () => {
    const clock = new ManualClock();
    await using dns = await startLoopbackDns({ ...mesh, clock });
    const socket = net.connect({ port: dns.port, host: "127.0.0.1", allowHalfOpen: true });
    const ended = once(socket, "end");
    socket.resume();
    await eventually(() => expect(dns.connections.taken).toBe(1));
    await clock.advance(5000);
    await ended;
    expect(dns.connections.taken).toBe(1);
    await clock.advance(5000);
    await eventually(() => expect(dns.connections.taken).toBe(0));
    socket.destroy();
  });

  it.each([
    ["a response", framed(answerWith(queryFor("web"), ["192.0.2.1"]))],
    ["an empty message", Buffer.of(0, 0)],
    ["another protocol", Buffer.from("\x00\x04GET / HTTP/1.1\r\n\r\n")],
  ])("ends on %s", async (_, bytes) => {
    await using dns = await startLoopbackDns(mesh);
    const socket = net.connect(dns.port, "127.0.0.1");
    const ended = readAll(socket).catch(() => Buffer.alloc(0));
    socket.write(bytes);
    expect((await ended).length).toBe(0);
  });
});

describe("whatever is sent", () => {
  it("is answered with a well-formed response to it, or not at all", async () => {
    await using dns = await startLoopbackDns(mesh);
    const mutated = fc
      .tuple(
        fc.constantFrom(queryFor(hostname), queryFor("web", "AAAA")),
        fc.array(fc.tuple(fc.nat(60), fc.nat(255)), { maxLength: 5 }),
      )
      .map(([query, changes]) => {
        const copy = Buffer.from(query);
        for (const [at, byte] of changes) if (at < copy.length) copy[at] = byte;
        return copy;
      });
    const anything = fc.uint8Array({ maxLength: 400 }).map((bytes) => Buffer.from(bytes));
    await fc.assert(
      fc.asyncProperty(fc.oneof(mutated, anything), fc.constantFrom("udp", "tcp"), async (bytes, protocol) => {
        const response = await dns.handler.answer(bytes, protocol);
        if (bytes.length < 12 || (bytes.readUInt16BE(2) & 0x8000) !== 0) {
          expect(response).toBeUndefined();
          return;
        }
        if (!response) throw new Error("a query was not answered");
        expect(decode(response)).toMatchObject({ type: "response", id: bytes.readUInt16BE(0), flag_z: false });
        expect(decode.bytes).toBe(response.length);
        expect((response[2] ?? 0) & 0x78).toBe((bytes[2] ?? 0) & 0x78);
      }),
      { numRuns: 1500 },
    );
    expect(dns.pending.taken).toBe(0);
    expect(addressesIn(await askUdp(dns.port, queryFor("web")))).toEqual(["10.96.0.1"]);
  });
});

describe("what is told", () => {
  it("counts queries by type, protocol and who asked, under ztunnel's names", async () => {
    await using server = await startNameServer(({ bytes }) => [answerWith(bytes, ["192.0.2.1"])]);
    await using dns = await startLoopbackDns({ ...mesh, nameServers: [server.address] });
    await askUdp(dns.port, queryFor("web"));
    await askUdp(dns.port, queryFor("web", "AAAA"));
    await askTcp(dns.port, queryFor("example.com", "MX"));
    await askUdp(dns.port, queryFor("example.com", "HINFO"));
    const { body } = await dns.metrics.expose();
    const labels = (type: string, protocol: string): string =>
      `{request_query_type="${type}",request_protocol="${protocol}",source_canonical_service="client",source_canonical_revision="v1"`;
    for (const [type, protocol] of [
      ["a", "udp"],
      ["aaaa", "udp"],
      ["mx", "tcp"],
      ["unknown", "udp"],
    ] as const)
      expect(body).toContain(`istio_dns_requests_total${labels(type, protocol)}} 1\n`);
    expect(body).toContain(`istio_dns_upstream_requests_total${labels("mx", "tcp")}} 1\n`);
    expect(body).not.toContain(`istio_dns_upstream_requests_total${labels("a", "udp")}`);
    expect(body).not.toContain("istio_dns_upstream_failures_total{");
    expect(body).toContain(`istio_dns_upstream_request_duration_seconds_bucket${labels("mx", "tcp")},le="5"} 1\n`);
    expect(body).toContain(`istio_dns_upstream_request_duration_seconds_count${labels("mx", "tcp")}} 1\n`);
  });

  it("counts what got no answer", async () => {
    await using dns = await startLoopbackDns(mesh);
    await askUdp(dns.port, queryFor("example.com"));
    expect((await dns.metrics.expose()).body).toContain(
      'istio_dns_upstream_failures_total{request_query_type="a",request_protocol="udp",source_canonical_service="client",source_canonical_revision="v1"} 1',
    );
  });

  it("writes a line for each query at debug", async () => {
    await using dns = await startLoopbackDns(mesh);
    await askUdp(dns.port, queryFor("Web"));
    await askUdp(dns.port, queryFor("example.com", "MX"));
    expect(dns.lines.map((line) => line.split("\t").slice(1))).toEqual([
      [
        "debug",
        "dns",
        "dns request",
        expect.stringMatching(
          /^src\.workload="web-1" src\.namespace="ns" query="a" domain="web" protocol="udp" source="local" rcode=0 duration="\d+\.\d{3}ms"\n$/,
        ),
      ],
      [
        "debug",
        "dns",
        "dns request",
        expect.stringMatching(/query="mx" .*rcode=2 error="There is no name server to ask"/),
      ],
    ]);
  });
});

describe("the end", () => {
  it("closes its sockets and what waits, and may come twice", async () => {
    await using server = await startNameServer(() => []);
    const dns = await startLoopbackDns({ ...mesh, nameServers: [server.address] });
    const socket = net.connect(dns.port, "127.0.0.1");
    const closed = whenClosed(socket);
    socket.write(framed(queryFor("a.example")));
    await eventually(() => expect(server.seen).toHaveLength(1));
    await Promise.all([dns.close(), dns.close()]);
    await closed;
    await eventually(() => expect([dns.pending.taken, dns.connections.taken]).toEqual([0, 0]));
    const late = net.connect(dns.port, "127.0.0.1");
    await expect(once(late, "connect")).rejects.toMatchObject({ code: "ECONNREFUSED" });
  });
});
