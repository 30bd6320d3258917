// The attack catalogue (docs/security.md) against a whole ztunnel on loopback: what an operator sees of it, and that other pods and
// callers do not. The frames themselves are tried in packages/hbone/src/attack.
import { once } from "node:events";
import type { Duplex } from "node:stream";
import { connectHostileClient, eventually, type RawHttp2Peer, startEchoServer } from "@hairpin/testkit";
import { createLibsslEngine, createNodeTlsEngine, ErrorCode } from "@hairpin/wire";
import { Flag, FrameType, headersFrame, rawFrame, uint32 } from "@hairpin/wire/test-support/frames";
import { describe, expect, it } from "vitest";
import { dialByHand } from "./testing/fake-waypoint.ts";
import { createLoopbackMesh, type LoopbackMesh, loopbackPrefix } from "./testing/loopback-mesh.ts";
import { meshOf } from "./testing/mesh.ts";

const engines = [createNodeTlsEngine(), createLibsslEngine()];
const prefix = loopbackPrefix();
const ip = (last: number): string => `${prefix}.${last}`;

const yaml = `
workloads:
- { uid: Kubernetes//Pod/ns/client, name: client, namespace: ns, trustDomain: cluster.local, serviceAccount: client, workloadIps: ["${ip(1)}"], protocol: HBONE, services: {} }
- { uid: Kubernetes//Pod/ns/server, name: server, namespace: ns, trustDomain: cluster.local, serviceAccount: server, workloadIps: ["${ip(2)}"], protocol: HBONE, services: {} }
- { uid: Kubernetes//Pod/ns/other, name: other, namespace: ns, trustDomain: cluster.local, serviceAccount: other, workloadIps: ["${ip(3)}"], protocol: HBONE,
    services: { "ns/other.ns.svc.cluster.local": { 80: 8080 } } }
services:
- { name: other, namespace: ns, hostname: other.ns.svc.cluster.local, vips: ["/10.1.0.1"], ports: { 80: 8080 }, subjectAltNames: [] }
`;

const connectTo = (authority: string): readonly (readonly [string, string])[] => [
  [":method", "CONNECT"],
  [":authority", authority],
];
const open = (stream: number, authority: string): Buffer =>
  headersFrame(stream, connectTo(authority), Flag.END_HEADERS);

/** A client with a good certificate that calls the server's ztunnel from the client pod's address. */
async function attackServer(world: LoopbackMesh): Promise<RawHttp2Peer> {
  const material = world.authority.material("ns/client");
  return await connectHostileClient({ ip: ip(2), port: 15_008 }, material, { localAddress: ip(1) });
}

/** The status of a stream's answer, or that it was reset without one. */
function outcome(peer: RawHttp2Peer, stream: number): number | "reset" | undefined {
  const status = peer.heads.get(stream);
  if (status !== undefined) return Number(status);
  return peer.resets.has(stream) ? "reset" : undefined;
}

async function countOf(world: LoopbackMesh, name: string, ...labels: readonly string[]): Promise<number> {
  const { body } = await world.metrics.expose();
  return body
    .split("\n")
    .filter((line) => line.startsWith(name) && labels.every((label) => line.includes(label)))
    .reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

/** Honest tunnels to two pods, open before the attack; `check` sends bytes through them and opens new ones. */
async function openNeighbours(world: LoopbackMesh): Promise<{ check(): Promise<void>; close(): void }> {
  const clients = await Promise.all(
    [
      { to: ip(2), expect: "ns/server" },
      { to: ip(3), expect: "ns/other" },
    ].map((target) => dialByHand(world.authority, { from: "ns/honest", ...target })),
  );
  const tunnels: Duplex[] = await Promise.all(clients.map((client, i) => client.openTunnel(`${ip(2 + i)}:8080`)));
  const say = async (tunnel: Duplex): Promise<void> => {
    const answered = once(tunnel, "data") as Promise<[Buffer]>;
    tunnel.write("still here");
    expect((await answered)[0].toString()).toBe("still here");
  };
  return {
    async check() {
      for (const tunnel of tunnels) await say(tunnel);
      for (const [i, client] of clients.entries()) await say(await client.openTunnel(`${ip(2 + i)}:8080`));
    },
    close: () => clients.forEach((client) => client.close()),
  };
}

describe.each(engines)("a ztunnel over $name", (tls) => {
  it.each([
    ["another pod's address", `${ip(3)}:8080`, 400],
    ["another address of loopback", "127.0.0.1:8080", 400],
    ["the unspecified address", "0.0.0.0:8080", 400],
    ["an IPv6 loopback address", "[::1]:8080", 400],
    ["an IPv6 address with a zone", "[fe80::1%25eth0]:8080", 400],
    ["an IPv6 address with a zone in clear", "[fe80::1%eth0]:8080", 400],
    ["an IPv6 address without brackets", "fe80::1:8080", 400],
    ["a decimal IP", "2130706434:8080", 400],
    ["a hexadecimal IP", "0x7f000002:8080", 400],
    ["an octal IP", "0177.0.0.2:8080", 400],
    ["a short IP", "127.2:8080", 400],
    ["port 0", `${ip(2)}:0`, 400],
    ["port 65536", `${ip(2)}:65536`, 400],
    ["a signed port", `${ip(2)}:+8080`, 400],
    ["a port with zeros before it", `${ip(2)}:08080`, 400],
    ["no port", ip(2), 400],
    ["an empty port", `${ip(2)}:`, 400],
    ["a user", `me@${ip(2)}:8080`, "malformed"],
    ["a path", `${ip(2)}:8080/x`, "malformed"],
    ["two addresses", `${ip(2)}:8080,${ip(3)}:8080`, "malformed"],
    ["a wildcard", "*:8080", "malformed"],
    ["percent-encoding", `${ip(2).replaceAll(".", "%2e")}:8080`, "malformed"],
    ["a name of nobody", "nobody.example:8080", 503],
    ["localhost", "localhost:8080", 503],
    ["another pod's service", "other.ns.svc.cluster.local:80", 503],
    ["another pod's service by address", "10.1.0.1:80", 400],
    ["our own inbound port", `${ip(2)}:15008`, 503],
    ["our own outbound port", `${ip(2)}:15001`, 503],
  ] as const)("I7: refuses a CONNECT to %s", async (_name, authority, status) => {
    await using _echo = await startEchoServer({ host: ip(2), port: 8080 });
    await using _otherEcho = await startEchoServer({ host: ip(3), port: 8080 });
    await using world = createLoopbackMesh(meshOf(yaml), {}, { tls });
    await world.serve("server");
    const peer = await attackServer(world);
    peer.send(open(1, authority), open(3, `${ip(2)}:8080`));
    await eventually(() => expect([outcome(peer, 1), outcome(peer, 3)]).toEqual([expect.anything(), 200]));
    // What is no authority at all HTTP/2 refuses before us.
    expect(status === "malformed" ? [400, "reset"] : [status]).toContain(outcome(peer, 1));
    const early = await countOf(world, "hairpin_ztunnel_connections_failed_early_total", 'direction="inbound"');
    const faults = await countOf(world, "hairpin_http2_stream_faults_total", 'code="PROTOCOL_ERROR"');
    expect([early, faults]).toEqual(outcome(peer, 1) === "reset" ? [0, 1] : [1, 0]);
    peer.destroy();
  });

  it.each(["GET", "POST", "OPTIONS", "connect"])("I7: refuses a %s", async (method) => {
    await using world = createLoopbackMesh(meshOf(yaml), {}, { tls });
    await world.serve("server");
    const peer = await attackServer(world);
    const fields = [
      [":method", method],
      [":scheme", "http"],
      [":path", "/"],
      [":authority", `${ip(2)}:8080`],
    ] as const;
    peer.send(headersFrame(1, fields, Flag.END_HEADERS | Flag.END_STREAM));
    await eventually(() => expect(peer.heads.get(1)).toBe("400"));
    expect(await countOf(world, "hairpin_ztunnel_connections_failed_early_total")).toBe(1);
    peer.destroy();
  });

  it("H1: cuts a client that opens and resets, on every pod of the node, and no other caller", async () => {
    await using _echo = await startEchoServer({ host: ip(2), port: 8080 });
    await using _otherEcho = await startEchoServer({ host: ip(3), port: 8080 });
    await using world = createLoopbackMesh(meshOf(yaml), {}, { tls });
    await world.serve("server");
    await world.serve("other");
    const neighbours = await openNeighbours(world);
    const reset = (i: number): Buffer =>
      Buffer.concat([open(1 + 2 * i, `${ip(2)}:8080`), rawFrame(FrameType.RST_STREAM, 0, 1 + 2 * i, uint32(8))]);
    const first = await attackServer(world);
    await first.flood(reset, 20_000);
    await first.whenClosed;
    expect(first.goaway?.errorCode).toBe(ErrorCode.ENHANCE_YOUR_CALM);
    // Again at once, at another pod of the same ztunnel: the budget is spent.
    const material = world.authority.material("ns/client");
    const second = await connectHostileClient({ ip: ip(3), port: 15_008 }, material, { localAddress: ip(1) });
    const sent = await second.flood((i) => reset(i), 40, 1);
    await second.whenClosed;
    expect(sent).toBeLessThanOrEqual(40);
    expect(await countOf(world, "hairpin_http2_limits_total", 'limit="resets"', 'side="downstream"')).toBe(2);
    await eventually(async () =>
      expect(await countOf(world, "hairpin_hbone_sessions_failed_total", "HTTP2_ENHANCE_YOUR_CALM")).toBe(2),
    );
    await neighbours.check();
    neighbours.close();
  });

  it("H3, H4: counts floods and ends their connections, and no other", async () => {
    await using _echo = await startEchoServer({ host: ip(2), port: 8080 });
    await using _otherEcho = await startEchoServer({ host: ip(3), port: 8080 });
    await using world = createLoopbackMesh(meshOf(yaml), {}, { tls });
    await world.serve("server");
    await world.serve("other");
    const neighbours = await openNeighbours(world);
    const pings = await attackServer(world);
    await pings.flood(() => rawFrame(FrameType.PING, 0, 0, Buffer.alloc(8)), 100_000);
    await pings.whenClosed;
    const blocks = await attackServer(world);
    blocks.send(headersFrame(1, connectTo("a:1"), 0));
    await blocks.flood(() => rawFrame(FrameType.CONTINUATION, 0, 1), 1000);
    await blocks.whenClosed;
    expect(await countOf(world, "hairpin_http2_limits_total", 'limit="pings"')).toBe(1);
    expect(await countOf(world, "hairpin_http2_limits_total", 'limit="continuationFrames"')).toBe(1);
    await neighbours.check();
    neighbours.close();
  });

  it("R1: resets connections above what the process may have, whichever pod they are for, and goes on after", async () => {
    await using _otherEcho = await startEchoServer({ host: ip(3), port: 8080 });
    await using world = createLoopbackMesh(meshOf(yaml), {}, { tls, maxConnections: 3 });
    await world.serve("server");
    await world.serve("other");
    const taken = await Promise.all([1, 2, 3].map(() => attackServer(world)));
    await Promise.all(taken.map((peer) => peer.settled()));
    const honest = { from: "ns/honest", to: ip(3), expect: "ns/other" };
    await expect(dialByHand(world.authority, honest)).rejects.toThrow();
    for (const peer of taken) peer.destroy();
    const client = await eventually(() => dialByHand(world.authority, honest));
    await client.openTunnel(`${ip(3)}:8080`);
    client.close();
  });

  it("I1, I2: counts and logs peers that it refuses, with the reason", async () => {
    await using _echo = await startEchoServer({ host: ip(2), port: 8080 });
    await using _otherEcho = await startEchoServer({ host: ip(3), port: 8080 });
    await using world = createLoopbackMesh(meshOf(yaml), {}, { tls });
    await world.serve("server");
    await world.serve("other");
    const neighbours = await openNeighbours(world);
    const address = { ip: ip(2), port: 15_008 };
    for (const overrides of [{ expired: true }, { wrongTrustDomain: true }, { uris: [] }, { ca: true }])
      await (
        await connectHostileClient(address, world.authority.material("ns/client", overrides))
      ).whenClosed;
    const refused = "hairpin_hbone_peers_refused_total";
    await eventually(async () => {
      for (const reason of ["handshake", "trust-domain", "no-name", "ca-certificate"])
        expect(await countOf(world, refused, 'side="downstream"', `reason="${reason}"`)).toBe(1);
    });
    const log = world.lines.join("");
    for (const words of ["certificate has expired", "trust domain other.example", "0 URI SANs", "it is a CA's"])
      expect(log).toContain(words);
    await neighbours.check();
    neighbours.close();
  });
});
