import { defaultTunnelDialerOptions, relay, TunnelDialer } from "@hairpin/hbone";
import { type Enforcement, serviceHostname, type Workload } from "@hairpin/shared/model";
import { systemClock } from "@hairpin/shared/process";
import {
  aMatch,
  aPolicy,
  aService,
  aWorkload,
  createFakeXdsServer,
  eventually,
  type FakeXdsServer,
  startFakeCaServer,
  TestAuthority,
} from "@hairpin/testkit";
import { connectTcp, createNodeTlsEngine } from "@hairpin/wire";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { startFakeWaypoint, type WaypointBehaviour } from "./testing/fake-waypoint.ts";
import { createNetworkHost, type NetworkHost, type TestPod } from "./testing/network-host.ts";
import { echo, exchange, startTestNode, type TestNode } from "./testing/ztunnel-node.ts";

const authority = new TestAuthority();
const hostname = serviceHostname("web", "ns", "cluster.local");

let host: NetworkHost;
let xds: FakeXdsServer;
let ca: Awaited<ReturnType<typeof startFakeCaServer>>;
let nodes: Record<"a" | "b", TestNode>;
let client: TestPod;
let neighbour: TestPod;
let server: TestPod;
let waypointPod: TestPod;
let outsider: TestPod;

const workloads: Workload[] = [];

function declare(pod: TestPod, node: string, fields: Partial<Workload> = {}): void {
  workloads.push(
    aWorkload({
      uid: `Kubernetes//Pod/ns/${pod.name}`,
      name: pod.name,
      addresses: [pod.ip],
      serviceAccount: pod.name,
      workloadName: pod.name,
      canonicalName: pod.name,
      node,
      ...fields,
    }),
  );
}

beforeAll(async () => {
  host = createNetworkHost();
  client = host.pod("client", "10.77.0.1");
  neighbour = host.pod("neighbour", "10.77.0.2");
  server = host.pod("server", "10.77.0.3");
  waypointPod = host.pod("waypoint", "10.77.0.5");
  outsider = host.pod("outsider", "10.77.0.9");
  const services = new Map([[`ns/${hostname}`, [{ servicePort: 80, targetPort: 8080 }]]]);
  declare(client, "a");
  declare(neighbour, "a");
  declare(server, "b", { services });
  declare(outsider, "b", { tunnelProtocol: "NONE" });
  declare(waypointPod, "b", { tunnelProtocol: "NONE" });
  xds = await createFakeXdsServer();
  ca = await startFakeCaServer({ authority });
  xds.replace({ workloads, services: [aService({ vips: [{ network: "", ip: "10.96.0.1" }] })] });
  const controlPlane = { authority, xds, ca };
  nodes = {
    // Both placements of the data plane: in the main thread, and (by default) in a worker.
    a: await startTestNode("a", controlPlane, { ZTUNNEL_WORKER_THREADS: "0" }),
    b: await startTestNode("b", controlPlane),
  };
  for (const { ztunnel } of Object.values(nodes)) {
    const ready = (): void => expect(ztunnel.readiness.pendingTasks()).toEqual(["workload proxy manager"]);
    await eventually(ready, { timeoutMs: 60_000 });
  }
  await nodes.a.serve(client);
  await nodes.a.serve(neighbour);
  await nodes.b.serve(server);
  await neighbour.echo(8080);
  await neighbour.callerAddress(8081);
  await server.callerAddress(8081);
  await server.echo(8080);
  await outsider.echo(8080);
});

afterAll(async () => {
  for (const node of Object.values(nodes)) await node.stop();
  await xds.close();
  await ca.close();
  await host[Symbol.asyncDispose]();
});

describe("captured pods", () => {
  it("are local: a call on one node goes by mTLS, and the application sees the caller's address", async () => {
    const socket = await client.connect(neighbour.ip, 8081);
    const port = `10.77.0.1:${socket.localPort}`;
    expect(await exchange(socket, "")).toBe("10.77.0.1");
    const outbound = await nodes.a.line(`src.addr=${port}`, 'direction="outbound"');
    expect(outbound).toContain("dst.addr=10.77.0.2:15008 dst.hbone_addr=10.77.0.2:8081");
    expect(outbound).toContain('dst.identity="spiffe://cluster.local/ns/ns/sa/neighbour"');
    await nodes.a.line("dst.addr=10.77.0.2:15008", 'direction="inbound"');
  });

  it("are on two nodes: a call by service name is balanced and tunnelled", async () => {
    const socket = await client.connect("10.96.0.1", 80);
    const port = `10.77.0.1:${socket.localPort}`;
    expect(await exchange(socket, "cross node")).toBe("cross node");
    const outbound = await nodes.a.line(`src.addr=${port}`);
    expect(outbound).toContain(`dst.hbone_addr=10.77.0.3:8080 dst.service="${hostname}"`);
    expect(outbound).toContain("bytes_sent=10 bytes_recv=10");
    const inbound = await nodes.b.line('direction="inbound"', "dst.addr=10.77.0.3:15008");
    expect(inbound).toContain('src.identity="spiffe://cluster.local/ns/ns/sa/client"');
  });

  it("call pods that are not captured in plain TCP", async () => {
    expect(await exchange(await client.connect(outsider.ip, 8080), "plain")).toBe("plain");
    const outbound = await nodes.a.line("dst.addr=10.77.0.9:8080");
    expect(outbound).not.toContain("identity");
  });

  it("are called by pods that are not captured, through the plaintext listener, with the caller's address", async () => {
    const socket = await outsider.connect(server.ip, 8081);
    const port = `10.77.0.9:${socket.localPort}`;
    expect(await exchange(socket, "")).toBe("10.77.0.9");
    const inbound = await nodes.b.line(`src.addr=${port}`);
    expect(inbound).toContain('src.workload="outsider"');
    expect(inbound).toContain("dst.addr=10.77.0.3:8081");
  });

  it("call themselves and localhost without us", async () => {
    expect(await exchange(await server.connect(server.ip, 8080), "self")).toBe("self");
    expect(await exchange(await server.connect("127.0.0.1", 8080), "loopback")).toBe("loopback");
    // A line of theirs would come before that of a later call.
    const later = await outsider.connect(server.ip, 8081);
    const port = `10.77.0.9:${later.localPort}`;
    await exchange(later, "");
    await nodes.b.line(`src.addr=${port}`);
    expect(nodes.b.lines.join("")).not.toContain("src.addr=127.0.0.1");
  });

  it.each([15_001, 15_006])("cannot make our own port %d call itself", async (port) => {
    // The reset may come before or after the connect is told.
    const ask = (from: TestPod, ip: string): Promise<string> =>
      from.connect(ip, port).then(
        (socket) => exchange(socket, "x"),
        () => "",
      );
    expect(await ask(server, "127.0.0.1")).toBe("");
    expect(await ask(outsider, server.ip)).toBe("");
    // Lines are written every few milliseconds.
    await eventually(() => expect(nodes.b.lines.join("")).toContain("attempted recursive call"));
  });
});

describe("policy", () => {
  const denyClient = aPolicy({
    name: "no-client",
    rules: [{ clauses: [[aMatch({ principals: [{ kind: "exact", value: "cluster.local/ns/ns/sa/client" }] })]] }],
  });

  it("cuts open connections when it begins to deny, refuses new ones, and lets go when it is gone", async () => {
    const open = await client.connect(server.ip, 8080);
    await echo(open, "before");
    const closed = new Promise<void>((resolve) => open.once("close", () => resolve()));
    open.on("end", () => open.destroy());
    xds.put({ policies: [denyClient] });
    await closed;
    await nodes.b.line("connection closed due to policy change: explicitly denied by: ns/no-client");
    const denied = await client.connect(server.ip, 8080);
    const port = `10.77.0.1:${denied.localPort}`;
    expect(await exchange(denied, "hello")).toBe("");
    await nodes.a.line(`src.addr=${port}`, 'error="http status: 401 Unauthorized"');
    await nodes.b.line('policy="ns/no-client" rule=0 denied.identity="spiffe://cluster.local/ns/ns/sa/client"');
    xds.remove("ns/no-client");
    await eventually(async () => {
      expect(await exchange(await client.connect(server.ip, 8080), "again")).toBe("again");
    });
  });
});

describe("a waypoint that is enforced", () => {
  const waypointIdentity = authority.identity("ns/waypoint");
  const enforcement: Enforcement = {
    mode: "hairpin",
    acceptedIdentities: [waypointIdentity],
    hairpinTo: {
      destination: { kind: "address", address: { network: "", ip: "10.77.0.5" } },
      hboneMtlsPort: 15_008,
    },
    hairpinIdentities: [waypointIdentity],
    waypoint: "ns/waypoint",
  };

  /** Sends every call on to the pod that its authority names, as a waypoint does. */
  function forwardingWaypoint(pod: TestPod): WaypointBehaviour {
    const tls = createNodeTlsEngine();
    const context = tls.createContext(authority.material(waypointIdentity));
    const components = { tls, contextFor: async () => context, clock: systemClock };
    const dialer = new TunnelDialer(components, defaultTunnelDialerOptions);
    return async (request) => {
      const [ip = ""] = request.authority.split(":");
      const address = { ip, port: 15_008 };
      const target = {
        sourceIdentity: waypointIdentity,
        expectedIdentities: [authority.identity("ns/server")],
        address,
        sourceIp: pod.ip,
        connectSocket: (timeoutMs: number) => connectTcp({ fd: pod.dialSocket(), ...address, timeoutMs }),
      };
      const headers = [{ name: "x-hairpin-for", value: request.authority }];
      const tunnel = await dialer.dial(target, { authority: request.authority, headers });
      await relay(request.accept(), tunnel);
    };
  }

  it("sees every call: captured by pod IP, plaintext from outside; what was open before is closed", async () => {
    const before = await outsider.connect(server.ip, 8080);
    await echo(before, "before");
    const closed = new Promise<void>((resolve) => before.once("close", () => resolve()));
    before.on("end", () => before.destroy());

    const place = { fd: waypointPod.listen(15_008), identity: "ns/waypoint" };
    await using waypoint = await startFakeWaypoint(authority, place, forwardingWaypoint(waypointPod));
    const guarded = workloads.filter((workload) => workload.name === "server");
    xds.put({ workloads: guarded.map((workload) => ({ ...workload, enforcement })) });
    await closed;
    await nodes.b.line("connection closed due to policy change: waypoint ns/waypoint is now enforced");

    expect(await exchange(await client.connect(server.ip, 8080), "captured")).toBe("captured");
    expect(await exchange(await outsider.connect(server.ip, 8080), "plaintext")).toBe("plaintext");
    const told = waypoint.seen.map(({ headers, ...seen }) => ({
      ...seen,
      source: headers.filter(([name]) => name === "x-hairpin-source").map(([, value]) => value),
      from: headers.find(([name]) => name === "forwarded")?.[1],
    }));
    const leg = {
      authority: "10.77.0.3:8080",
      peerIdentity: authority.identity("istio-system/ztunnel"),
      remoteIp: "10.77.0.3",
    };
    expect(told).toEqual([
      {
        ...leg,
        source: ["spiffe://cluster.local/ns/ns/sa/client"],
        from: expect.stringMatching(/^for="10\.77\.0\.1:\d+"$/),
      },
      { ...leg, source: ["none"], from: expect.stringMatching(/^for="10\.77\.0\.9:\d+"$/) },
    ]);
    await nodes.b.line("src.addr=10.77.0.9:", 'hairpin="ns/waypoint"');
    xds.put({ workloads: guarded });
    await eventually(() =>
      expect(nodes.b.ztunnel.mesh.findWorkloadByUid("Kubernetes//Pod/ns/server")?.enforcement).toBeUndefined(),
    );
  });
});

describe("certificates", () => {
  it("were fetched for the workloads of the node, in their name, and for no other", () => {
    const asked = new Set(ca.calls.map((call) => call.impersonatedIdentity));
    expect(asked).toEqual(
      new Set([
        ...["client", "neighbour", "server"].map((sa) => `spiffe://cluster.local/ns/ns/sa/${sa}`),
        // For the hairpin legs.
        "spiffe://cluster.local/ns/istio-system/sa/ztunnel",
      ]),
    );
  });
});

describe("the end", () => {
  it("lets open connections finish, takes no new ones, and is over when the last has ended", async () => {
    const open = await outsider.connect(server.ip, 8080);
    await echo(open, "before");
    const drained = nodes.b.ztunnel.drain();
    await eventually(async () => {
      await expect(outsider.connect(server.ip, 8080)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    });
    await echo(open, "during");
    expect(await exchange(open, "last")).toBe("last");
    await drained;
    await nodes.b.line('drained\toutcome="empty"');
  });

  it("of a pod cuts its connections at once", async () => {
    const open = await outsider.connect(neighbour.ip, 8080);
    await echo(open, "before");
    const closed = new Promise<void>((resolve) => open.once("close", () => resolve()));
    open.on("end", () => open.destroy());
    await nodes.a.ztunnel.dataPlane.pods.remove("uid-neighbour");
    await closed;
    await nodes.a.line('error="connection closed: pod ns/neighbour was removed"');
  });
});
