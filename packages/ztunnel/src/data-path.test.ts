import { once } from "node:events";
import { readdirSync } from "node:fs";
import type { Socket } from "node:net";
import { parseStateFile } from "@hairpin/shared/discovery";
import type { Enforcement } from "@hairpin/shared/model";
import { eventually, startEchoServer } from "@hairpin/testkit";
import { describe, expect, it } from "vitest";
import { createLoopbackMesh, loopbackPrefix } from "./testing/loopback-mesh.ts";
import { meshOf } from "./testing/mesh.ts";

/** Sends a text, ends, and returns what came back until the end or the reset. */
async function exchange(socket: Socket, text: string): Promise<string> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  const closed = whenClosed(socket);
  socket.end(text);
  await closed;
  return Buffer.concat(chunks).toString();
}

/** Settles whether it was ended or reset. */
function whenClosed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once("close", () => resolve()));
}

/** Sends and waits for the same text, leaving the connection open. */
async function echo(socket: Socket, text: string): Promise<void> {
  const answered = once(socket, "data") as Promise<[Buffer]>;
  socket.write(text);
  const [chunk] = await answered;
  expect(chunk.toString()).toBe(text);
}

const prefix = loopbackPrefix();
const ip = (last: number): string => `${prefix}.${last}`;

const workload = (name: string, last: number, rest = "services: {}"): string => `
- { uid: Kubernetes//Pod/ns/${name}, name: ${name}, namespace: ns, trustDomain: cluster.local, serviceAccount: ${name},
    workloadName: ${name}, canonicalName: ${name}, canonicalRevision: latest, clusterId: Kubernetes,
    workloadIps: ["${ip(last)}"], protocol: HBONE, ${rest} }`;

const twoPods = `workloads: ${workload("client", 1)}${workload("server", 2, 'services: { "ns/web.ns.svc.cluster.local": { 80: 8080 } }')}
services:
- { name: web, namespace: ns, hostname: web.ns.svc.cluster.local, vips: ["/10.1.0.1"], ports: { 80: 8080 }, subjectAltNames: [] }
`;

const denyClient = `policies:
- { name: no-client, namespace: ns, scope: Namespace, action: Deny, dryRun: false,
    rules: [[[ { principals: [ { Exact: cluster.local/ns/ns/sa/client } ] } ]]] }
`;

describe("a captured call", () => {
  it("reaches the application by a tunnel, with both identities told on both sides", async () => {
    await using echoServer = await startEchoServer({ host: ip(2), port: 8080 });
    await using world = createLoopbackMesh(meshOf(twoPods));
    await world.serve("client");
    await world.serve("server");
    expect(await exchange(await world.callFrom("client", "10.1.0.1:80"), "hello")).toBe("hello");
    expect(echoServer.accepted).toBe(1);
    const outbound = await eventually(() => lineOf(world.lines, 'direction="outbound"'));
    const inbound = await eventually(() => lineOf(world.lines, 'direction="inbound"'));
    expect(outbound).toMatch(
      new RegExp(
        `\\tinfo\\taccess\\tconnection complete\\tsrc.addr=${ip(1)}:\\d+ src.workload="client" src.namespace="ns" ` +
          `src.identity="spiffe://cluster.local/ns/ns/sa/client" src.cluster="Kubernetes" dst.addr=${ip(2)}:15008 ` +
          `dst.hbone_addr=${ip(2)}:8080 dst.service="web.ns.svc.cluster.local" dst.workload="server" dst.namespace="ns" ` +
          `dst.identity="spiffe://cluster.local/ns/ns/sa/server" dst.cluster="Kubernetes" direction="outbound" ` +
          `bytes_sent=5 bytes_recv=5 duration="\\d+ms"\\n$`,
      ),
    );
    expect(inbound).toContain(`src.addr=${ip(1)}:`);
    expect(inbound).toContain('dst.service="web.ns.svc.cluster.local"');
    expect(inbound).toContain('src.identity="spiffe://cluster.local/ns/ns/sa/client"');
  });

  it("shows the application the caller's address", async () => {
    const { createServer } = await import("node:net");
    const server = createServer((socket) => socket.end(socket.remoteAddress ?? "")).listen(8080, ip(2));
    await using world = createLoopbackMesh(meshOf(twoPods));
    await world.serve("client");
    await world.serve("server");
    expect(await exchange(await world.callFrom("client", `${ip(2)}:8080`), "x")).toBe(ip(1));
    server.close();
  });

  it("goes out in plain TCP to an address that the mesh does not know", async () => {
    await using _echo = await startEchoServer({ host: ip(9), port: 8080 });
    await using world = createLoopbackMesh(meshOf(twoPods));
    await world.serve("client");
    expect(await exchange(await world.callFrom("client", `${ip(9)}:8080`), "plain")).toBe("plain");
    const line = await eventually(() => lineOf(world.lines, 'direction="outbound"'));
    expect(line).not.toContain("identity");
    expect(line).not.toContain("hbone");
  });

  it("waits for the mesh to know its pod: the first call comes before the kubelet has told of it", async () => {
    await using _echo = await startEchoServer({ host: ip(2), port: 8080 });
    await using world = createLoopbackMesh(meshOf(twoPods), { sourceWaitMs: 15_000 });
    await world.serve("client");
    await world.serve("server");
    const calling = world.callFrom("client", "10.1.0.1:80");
    const removed = ["Kubernetes//Pod/ns/client"];
    world.mesh.applyAddress({ upserts: [], removed, undecodable: [], firstOfStream: false });
    const answer = exchange(await calling, "hello");
    world.mesh.loadStateFile(parseStateFile(twoPods));
    expect(await answer).toBe("hello");
  });

  it("is refused by policy with 401, and both sides say so", async () => {
    await using echoServer = await startEchoServer({ host: ip(2), port: 8080 });
    await using world = createLoopbackMesh(meshOf(twoPods + denyClient));
    await world.serve("client");
    await world.serve("server");
    expect(await exchange(await world.callFrom("client", `${ip(2)}:8080`), "hello")).toBe("");
    expect(echoServer.accepted).toBe(0);
    const outbound = await eventually(() => lineOf(world.lines, 'direction="outbound"'));
    expect(outbound).toContain("\terror\taccess\tconnection complete\t");
    expect(outbound).toContain('error="http status: 401 Unauthorized"');
    const inbound = await eventually(() => lineOf(world.lines, 'direction="inbound"'));
    expect(inbound).toMatch(
      /error="connection closed due to policy rejection: explicitly denied by: ns\/no-client" policy="ns\/no-client" rule=0 denied.identity="spiffe:\/\/cluster.local\/ns\/ns\/sa\/client"\n$/,
    );
    const { body } = await world.metrics.expose();
    expect(body).toMatch(/istio_tcp_connections_failed_total\{reporter="source".*response_flags="CONNECT".*\} 1/);
    expect(body).toMatch(/istio_tcp_connections_failed_total\{reporter="destination".*response_flags="DENY".*\} 1/);
    expect(body).toMatch(/istio_tcp_sockets_open\{reporter="source"\} 0/);
  });

  it("fails when nothing listens at the destination", async () => {
    await using world = createLoopbackMesh(meshOf(twoPods));
    await world.serve("client");
    await world.serve("server");
    expect(await exchange(await world.callFrom("client", `${ip(2)}:8080`), "hello")).toBe("");
    await eventually(() => lineOf(world.lines, 'error="http status: 503 Service Unavailable"'));
    await eventually(() => lineOf(world.lines, `error="connection failed: ${ip(2)}:8080`));
  });

  it("waits for a policy that the workload lists, and is refused when it does not come", async () => {
    await using _echo = await startEchoServer({ host: ip(2), port: 8080 });
    const listing = 'authorizationPolicies: ["ns/late"], services: { "ns/web';
    await using world = createLoopbackMesh(meshOf(twoPods.replace('services: { "ns/web', listing)));
    await world.serve("client");
    await world.serve("server");
    expect(await exchange(await world.callFrom("client", `${ip(2)}:8080`), "hello")).toBe("");
    await eventually(() => lineOf(world.lines, "policy ns/late not received"));
  });
});

describe("a plaintext call", () => {
  it("reaches the application when no policy needs an identity", async () => {
    await using _echo = await startEchoServer({ host: ip(2), port: 8080 });
    await using world = createLoopbackMesh(meshOf(twoPods));
    await world.serve("server");
    expect(await exchange(await world.plaintext("server", 8080, ip(7)), "hello")).toBe("hello");
    const line = await eventually(() => lineOf(world.lines, 'direction="inbound"'));
    expect(line).toContain(`src.addr=${ip(7)}:`);
    expect(line).toContain(`dst.addr=${ip(2)}:8080 dst.service="web.ns.svc.cluster.local"`);
    expect(line).not.toContain("identity");
  });

  it("names no service when the pod serves several on the port", async () => {
    await using _echo = await startEchoServer({ host: ip(2), port: 8080 });
    const two = '"ns/web.ns.svc.cluster.local": { 80: 8080 }, "ns/other.ns.svc.cluster.local": { 80: 8080 }';
    await using world = createLoopbackMesh(meshOf(twoPods.replace('"ns/web.ns.svc.cluster.local": { 80: 8080 }', two)));
    await world.serve("server");
    expect(await exchange(await world.plaintext("server", 8080, ip(7)), "hello")).toBe("hello");
    expect(await eventually(() => lineOf(world.lines, 'direction="inbound"'))).not.toContain("dst.service");
  });

  it("is closed without a byte when a policy needs an identity", async () => {
    await using echoServer = await startEchoServer({ host: ip(2), port: 8080 });
    const needIdentity = `policies:
- { name: need-identity, namespace: ns, scope: Namespace, action: Allow, dryRun: false, rules: [[[ { principals: [ { Presence: [] } ] } ]]] }
`;
    await using world = createLoopbackMesh(meshOf(twoPods + needIdentity));
    await world.serve("server");
    expect(await exchange(await world.plaintext("server", 8080, ip(7)), "hello")).toBe("");
    expect(echoServer.accepted).toBe(0);
    await eventually(() =>
      lineOf(world.lines, "connection closed due to policy rejection: allow policies exist, but none allowed"),
    );
  });

  it.each([15_001, 15_006, 15_008])("to our own port %d is dropped", async (port) => {
    await using world = createLoopbackMesh(meshOf(twoPods));
    await world.serve("server");
    expect(await exchange(await world.plaintext("server", port, ip(7)), "hello")).toBe("");
    await eventually(() => lineOf(world.lines, "attempted recursive call"));
  });
});

describe("many calls", () => {
  it("share few sessions, keep their bytes apart, and leave nothing behind", async () => {
    await using echoServer = await startEchoServer({ host: ip(2), port: 8080 });
    await using world = createLoopbackMesh(meshOf(twoPods));
    await world.serve("client");
    await world.serve("server");
    const before = readdirSync("/proc/self/fd").length;
    const call = async (text: string): Promise<string> =>
      exchange(await world.callFrom("client", `${ip(2)}:8080`), text);
    for (let round = 0; round < 5; round++) {
      // Larger than a frame and a TLS record, different for each.
      const texts = Array.from({ length: 60 }, (_, i) => `${round}/${i};`.repeat(8000));
      const answers = await Promise.all(texts.map(call));
      expect(answers.every((answer, i) => answer === texts[i])).toBe(true);
    }
    await eventually(() => expect(world.table.size).toBe(0));
    await eventually(() => expect(echoServer.open).toBe(0));
    const { body } = await world.metrics.expose();
    expect(body).toContain('istio_tcp_sockets_open{reporter="source"} 0');
    expect(body).toContain('istio_tcp_sockets_open{reporter="destination"} 0');
    // What remains is the one pooled session, both ends of it in this process.
    await eventually(() => expect(readdirSync("/proc/self/fd").length - before).toBeLessThanOrEqual(4));
  });
});

describe("open connections", () => {
  it("are closed in the turn in which a policy denies them", async () => {
    await using _echo = await startEchoServer({ host: ip(2), port: 8080 });
    await using world = createLoopbackMesh(meshOf(twoPods));
    await world.serve("client");
    await world.serve("server");
    const tunnelled = await world.callFrom("client", `${ip(2)}:8080`);
    await echo(tunnelled, "tunnelled");
    const plain = await world.plaintext("server", 8080, ip(7));
    await echo(plain, "plain");
    const closed = whenClosed(tunnelled);
    world.mesh.loadStateFile({ workloads: [], services: [], policies: meshOf(denyClient).policies() as never });
    await closed;
    await eventually(() =>
      lineOf(world.lines, "connection closed due to policy change: explicitly denied by: ns/no-client"),
    );
    await echo(plain, "still here");
    plain.destroy();
  });

  it("are closed when enforcement of a waypoint begins", async () => {
    await using _echo = await startEchoServer({ host: ip(2), port: 8080 });
    const enforcement: Enforcement = { mode: "refuse", acceptedIdentities: [], waypoint: "ns/w", reason: "not ready" };
    await using world = createLoopbackMesh(meshOf(twoPods));
    await world.serve("server");
    const plain = await world.plaintext("server", 8080, ip(7));
    await echo(plain, "plain");
    const closed = whenClosed(plain);
    const workloads = [...meshOf(twoPods, { enforcement: { server: enforcement } }).workloads()];
    world.mesh.loadStateFile({ workloads, services: [], policies: [] });
    await closed;
    await eventually(() => lineOf(world.lines, "waypoint ns/w cannot be used: not ready"));
  });

  it("go on through a drain, while new ones are refused", async () => {
    await using _echo = await startEchoServer({ host: ip(2), port: 8080 });
    await using world = createLoopbackMesh(meshOf(twoPods));
    const client = await world.serve("client");
    const server = await world.serve("server");
    const open = await world.callFrom("client", `${ip(2)}:8080`);
    await echo(open, "before");
    world.drain.begin(10_000);
    await client.drain();
    await server.drain();
    await expect(world.callFrom("client", `${ip(2)}:8080`)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    await echo(open, "after");
    expect(await exchange(open, "last")).toBe("last");
    expect(await world.drain.whenEmpty()).toBe("empty");
  });

  it("end at once when their pod is removed", async () => {
    await using _echo = await startEchoServer({ host: ip(2), port: 8080 });
    await using world = createLoopbackMesh(meshOf(twoPods));
    await world.serve("client");
    const server = await world.serve("server");
    const open = await world.callFrom("client", `${ip(2)}:8080`);
    await echo(open, "before");
    const closed = whenClosed(open);
    await server.stop(new Error("gone"));
    await closed;
  });
});

function lineOf(lines: readonly string[], part: string): string {
  const line = lines.find((candidate) => candidate.includes(part));
  if (line === undefined) throw new Error(`no line with ${part} in:\n${lines.join("")}`);
  return line;
}
