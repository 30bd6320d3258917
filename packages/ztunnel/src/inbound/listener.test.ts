import { once } from "node:events";
import { connect, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { formatSpiffeId, type Enforcement } from "@hairpin/shared/model";
import { eventually, startEchoServer, TestAuthority } from "@hairpin/testkit";
import { describe, expect, it } from "vitest";
import { dialByHand, startFakeWaypoint } from "../testing/fake-waypoint.ts";
import { createLoopbackMesh, loopbackPrefix } from "../testing/loopback-mesh.ts";
import { meshOf } from "../testing/mesh.ts";

const prefix = loopbackPrefix();
const ip = (last: number): string => `${prefix}.${last}`;
const host = "web.ns.svc.cluster.local";

const yaml = `
workloads:
- { uid: Kubernetes//Pod/ns/client, name: client, namespace: ns, trustDomain: cluster.local, serviceAccount: client, workloadIps: ["${ip(1)}"], protocol: HBONE, services: {} }
- { uid: Kubernetes//Pod/ns/server, name: server, namespace: ns, trustDomain: cluster.local, serviceAccount: server, workloadIps: ["${ip(2)}"], protocol: HBONE,
    services: { "ns/${host}": { 80: 8080 } } }
- { uid: Kubernetes//Pod/ns/waypoint, name: waypoint, namespace: ns, trustDomain: cluster.local, serviceAccount: waypoint, workloadIps: ["${ip(5)}"], protocol: HBONE,
    services: { "ns/waypoint.ns.svc.cluster.local": { 15008: 15008 } } }
services:
- { name: web, namespace: ns, hostname: ${host}, vips: ["/10.1.0.1"], ports: { 80: 0 }, subjectAltNames: [] }
- { name: waypoint, namespace: ns, hostname: waypoint.ns.svc.cluster.local, vips: ["/10.1.0.9"], ports: { 15008: 15008 }, subjectAltNames: [] }
`;

const waypointIdentity = { trustDomain: "cluster.local", namespace: "ns", serviceAccount: "waypoint" };
const enforcement: Enforcement = {
  mode: "hairpin",
  acceptedIdentities: [waypointIdentity],
  hairpinTo: {
    destination: { kind: "hostname", hostname: { namespace: "ns", hostname: "waypoint.ns.svc.cluster.local" } },
    hboneMtlsPort: 15_008,
  },
  hairpinIdentities: [waypointIdentity],
  waypoint: "ns/waypoint",
};

const toServer = { from: "ns/client", to: ip(2), expect: "ns/server" };
const rawStatus = async (open: Promise<unknown>): Promise<unknown> => {
  try {
    await open;
    return 200;
  } catch (error) {
    return (error as { readonly details?: { readonly status?: unknown } }).details?.status ?? error;
  }
};

async function answerTo(stream: Duplex, text: string): Promise<string> {
  const answered = once(stream, "data") as Promise<[Buffer]>;
  stream.write(text);
  return (await answered)[0].toString();
}

describe("an HBONE listener, called by a client of another make", () => {
  it("relays both ways and tells of itself in baggage", async () => {
    await using _echo = await startEchoServer({ host: ip(2), port: 8080 });
    await using world = createLoopbackMesh(meshOf(yaml));
    await world.serve("server");
    const client = await dialByHand(world.authority, toServer);
    const stream = await client.openTunnel(`${ip(2)}:8080`);
    expect(await answerTo(stream, "hello")).toBe("hello");
    client.close();
  });

  it.each([
    ["its own address", `${ip(2)}:8080`, 200],
    ["a service's name, to the endpoint's own port", `${host}:80`, 200],
    ["another pod's address", `${ip(1)}:8080`, 400],
    ["no port", ip(2), 400],
    ["port 0", `${ip(2)}:0`, 400],
    ["a decimal IP", "2130706433:80", 400],
    ["a service that is not known", "nobody.ns.svc.cluster.local:80", 503],
    ["a port that the service does not have", `${host}:81`, 503],
    ["one of our own ports", `${ip(2)}:15001`, 503],
    ["a port on which nothing listens", `${ip(2)}:9999`, 503],
  ])("answers CONNECT to %s with its status", async (_what, authority, status) => {
    await using _echo = await startEchoServer({ host: ip(2), port: 8080 });
    await using world = createLoopbackMesh(meshOf(yaml));
    await world.serve("server");
    const client = await dialByHand(world.authority, toServer);
    expect(await rawStatus(client.openTunnel(authority))).toBe(status);
    client.close();
  });

  it("says which addresses do not match", async () => {
    await using world = createLoopbackMesh(meshOf(yaml));
    await world.serve("server");
    const client = await dialByHand(world.authority, toServer);
    await rawStatus(client.openTunnel(`${ip(1)}:8080`));
    await eventually(() => expect(world.lines.join("")).toContain(`ip mismatch: ${ip(2)} != ${ip(1)}`));
    expect(world.lines.join("")).toContain("\twarn\taccess\tconnection failed\t");
    client.close();
  });

  it("refuses another trust domain, even signed by our own root", async () => {
    await using world = createLoopbackMesh(meshOf(yaml));
    await world.serve("server");
    const from = "spiffe://elsewhere/ns/ns/sa/client";
    const attempt = dialByHand(world.authority, { ...toServer, from }).then((client) =>
      client.openTunnel(`${ip(2)}:8080`),
    );
    await expect(attempt).rejects.toThrow();
    await eventually(() => expect(world.lines.join("")).toContain("trust domain elsewhere is not ours, cluster.local"));
  });

  it("refuses a certificate of another root", async () => {
    await using world = createLoopbackMesh(meshOf(yaml));
    await world.serve("server");
    const stranger = new TestAuthority();
    const attempt = dialByHand(stranger, toServer).then((client) => client.openTunnel(`${ip(2)}:8080`));
    await expect(attempt).rejects.toThrow();
    await eventually(() => expect(world.lines.join("")).toContain("tls handshake error"));
  });

  it("does not serve a pod that the mesh does not know", async () => {
    await using world = createLoopbackMesh(meshOf(yaml));
    await world.serve("server");
    world.mesh.applyAddress({
      upserts: [],
      removed: ["Kubernetes//Pod/ns/server"],
      undecodable: [],
      firstOfStream: false,
    });
    await expect(dialByHand(world.authority, toServer)).rejects.toThrow();
    await eventually(() =>
      expect(world.lines.join("")).toContain("failed to fetch information about local workload ns/server"),
    );
  });
});

describe("a pod whose waypoint is enforced", () => {
  const enforced = () => meshOf(yaml, { enforcement: { server: enforcement } });
  const place = { ip: ip(5), identity: "ns/waypoint" };

  it("sends a captured caller's tunnel to the waypoint, on its behalf, from the pod's address", async () => {
    await using echoServer = await startEchoServer({ host: ip(2), port: 8080 });
    await using world = createLoopbackMesh(enforced());
    await using waypoint = await startFakeWaypoint(world.authority, place, (request) => {
      const tunnel = request.accept();
      tunnel.setHandler({
        onData: (chunk) => void tunnel.write(Buffer.concat([Buffer.from("waypoint:"), chunk])),
        onEnd: () => tunnel.end(),
        onDrain() {},
        onClose() {},
      });
      tunnel.resume();
    });
    await world.serve("server");
    const client = await dialByHand(world.authority, toServer);
    const stream = await client.openTunnel(`${ip(2)}:8080`, { "x-hairpin-source": "spiffe://cluster.local/ns/a/sa/b" });
    expect(await answerTo(stream, "hello")).toBe("waypoint:hello");
    expect(echoServer.accepted).toBe(0);
    const [seen] = waypoint.seen;
    expect(seen?.authority).toBe(`${ip(2)}:8080`);
    expect(seen?.remoteIp).toBe(ip(2));
    expect(seen && formatSpiffeId(seen.peerIdentity)).toBe("spiffe://cluster.local/ns/istio-system/sa/ztunnel");
    const sources = seen?.headers.filter(([name]) => name === "x-hairpin-source");
    expect(sources).toEqual([["x-hairpin-source", "spiffe://cluster.local/ns/ns/sa/client"]]);
    const forwarded = seen?.headers.filter(([name]) => name === "forwarded").map(([, value]) => value);
    expect(forwarded).toEqual([expect.stringMatching(/^for="127\.\d+\.\d+\.\d+:\d+"$/)]);
    stream.destroy();
    client.close();
    await eventually(() => expect(world.lines.join("")).toContain('hairpin="ns/waypoint"'));
  });

  it("sends a plaintext caller there too, as nobody", async () => {
    await using world = createLoopbackMesh(enforced());
    await using waypoint = await startFakeWaypoint(world.authority, place, (request) => request.refuse(403));
    await world.serve("server");
    await closedByPeer(await world.plaintext("server", 8080, ip(7)));
    await eventually(() => expect(waypoint.seen).toHaveLength(1));
    const headers = new Map(waypoint.seen[0]?.headers);
    expect(headers.get("x-hairpin-source")).toBe("none");
    expect(headers.get("forwarded")).toMatch(new RegExp(`^for="${ip(7)}:\\d+"$`));
  });

  it("delivers what comes back from the waypoint", async () => {
    await using _echo = await startEchoServer({ host: ip(2), port: 8080 });
    await using world = createLoopbackMesh(enforced());
    await world.serve("server");
    const client = await dialByHand(world.authority, { ...toServer, from: "ns/waypoint" });
    const stream = await client.openTunnel(`${ip(2)}:8080`, { "x-hairpin-for": `${ip(2)}:8080` });
    expect(await answerTo(stream, "back")).toBe("back");
    client.close();
  });

  it("answers 503 to a hairpinned call that comes back from somebody else", async () => {
    await using world = createLoopbackMesh(enforced());
    await using waypoint = await startFakeWaypoint(world.authority, place, (request) => void request.accept());
    await world.serve("server");
    const client = await dialByHand(world.authority, toServer);
    const open = client.openTunnel(`${ip(2)}:8080`, { "x-hairpin-for": `${ip(2)}:8080` });
    expect(await rawStatus(open)).toBe(503);
    expect(waypoint.seen).toHaveLength(0);
    await eventually(() => expect(world.lines.join("")).toContain("hairpin_loop"));
    client.close();
  });

  it.each([
    [403, 401],
    [503, 503],
  ])("tells the caller of a waypoint's %d by %d", async (given, told) => {
    await using world = createLoopbackMesh(enforced());
    await using _waypoint = await startFakeWaypoint(world.authority, place, (request) => request.refuse(given));
    await world.serve("server");
    const client = await dialByHand(world.authority, toServer);
    expect(await rawStatus(client.openTunnel(`${ip(2)}:8080`))).toBe(told);
    client.close();
  });

  it("refuses while the waypoint is down, and while somebody else answers in its place", async () => {
    await using _echo = await startEchoServer({ host: ip(2), port: 8080 });
    await using world = createLoopbackMesh(enforced());
    await world.serve("server");
    const client = await dialByHand(world.authority, toServer);
    expect(await rawStatus(client.openTunnel(`${ip(2)}:8080`))).toBe(503);
    const impostor = { ip: ip(5), identity: "ns/impostor" };
    await using waypoint = await startFakeWaypoint(world.authority, impostor, (request) => void request.accept());
    expect(await rawStatus(client.openTunnel(`${ip(2)}:8080`))).toBe(503);
    expect(waypoint.seen).toHaveLength(0);
    client.close();
  });

  it("asks its own policy first: a caller that it denies never reaches the waypoint", async () => {
    const deny = `policies:
- { name: no-client, namespace: ns, scope: Namespace, action: Deny, dryRun: false, rules: [[[ { principals: [ { Exact: cluster.local/ns/ns/sa/client } ] } ]]] }
`;
    await using world = createLoopbackMesh(meshOf(yaml + deny, { enforcement: { server: enforcement } }));
    await using waypoint = await startFakeWaypoint(world.authority, place, (request) => void request.accept());
    await world.serve("server");
    const client = await dialByHand(world.authority, toServer);
    expect(await rawStatus(client.openTunnel(`${ip(2)}:8080`))).toBe(401);
    expect(waypoint.seen).toHaveLength(0);
    client.close();
  });
});

describe("port 15008", () => {
  it("survives bytes that are no TLS", async () => {
    await using _echo = await startEchoServer({ host: ip(2), port: 8080 });
    await using world = createLoopbackMesh(meshOf(yaml));
    await world.serve("server");
    const socket = connect(15_008, ip(2));
    socket.on("error", () => {});
    socket.end("GET / HTTP/1.1\r\n\r\n");
    await closedByPeer(socket);
    const client = await dialByHand(world.authority, toServer);
    expect(await rawStatus(client.openTunnel(`${ip(2)}:8080`))).toBe(200);
    client.close();
  });
});

function closedByPeer(socket: Socket): Promise<void> {
  socket.resume();
  socket.once("end", () => socket.destroy());
  return new Promise((resolve) => socket.once("close", () => resolve()));
}
