import type { Socket } from "node:net";
import {
  aPolicy,
  aWorkload,
  createFakeXdsServer,
  eventually,
  startFakeCaServer,
  TestAuthority,
} from "@hairpin/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { createNetworkHost, type NetworkHost, type TestPod } from "../testing/network-host.ts";
import { evaluateInWorker } from "../testing/worker-inspector.ts";
import { type ControlPlane, echo, exchange, startTestNode, type TestNode } from "../testing/ztunnel-node.ts";

const authority = new TestAuthority();
const denyAll = aPolicy({ name: "nobody", scope: "NAMESPACE", rules: [{ clauses: [] }] });

let host: NetworkHost;
let controlPlane: ControlPlane;
let node: TestNode;
let client: TestPod;
let server: TestPod;
let outsider: TestPod;

beforeAll(async () => {
  host = createNetworkHost();
  client = host.pod("client", "10.77.0.1");
  server = host.pod("server", "10.77.0.3");
  outsider = host.pod("outsider", "10.77.0.9");
  const xds = await createFakeXdsServer();
  controlPlane = { authority, xds, ca: await startFakeCaServer({ authority }) };
  xds.replace({ workloads: [client, server].map(({ name, ip }) => workloadOf(name, ip)) });
  // Dialled from the caller's address, so many connections at once would meet ports that the caller takes itself.
  const settings = { ZTUNNEL_WORKER_THREADS: "2", ENABLE_ORIG_SRC: "false" };
  node = await startTestNode("a", controlPlane, settings);
  await eventually(() => expect(node.ztunnel.readiness.pendingTasks()).toEqual(["workload proxy manager"]), patient);
  await node.serve(client);
  await node.serve(server);
  await server.echo(8080);
});

afterAll(async () => {
  await node.stop();
  await controlPlane.xds.close();
  await controlPlane.ca.close();
  await host[Symbol.asyncDispose]();
});

function workloadOf(name: string, ip: string) {
  const uid = `Kubernetes//Pod/ns/${name}`;
  return aWorkload({ uid, name, addresses: [ip], serviceAccount: name, workloadName: name, node: "a" });
}

/** A thread takes a second to start, and more on a busy machine. */
const patient = { timeoutMs: 30_000 };

/** So many that chance never gives all of them to one of two workers. */
const many = 40;

/** Connections that have been served. */
async function open(from: TestPod, count = many): Promise<Socket[]> {
  const sockets = await Promise.all(Array.from({ length: count }, () => from.connect(server.ip, 8080)));
  for (const socket of sockets) socket.on("end", () => socket.destroy());
  try {
    await Promise.all(sockets.map((socket) => echo(socket, "hello")));
  } catch (error) {
    for (const socket of sockets) socket.destroy();
    throw error;
  }
  return sockets;
}

/** Ask before they close: a closed socket has no port. */
function portsOf(sockets: readonly Socket[]): string[] {
  return sockets.map((socket) => `${outsider.ip}:${socket.localPort}`);
}

async function close(sockets: readonly Socket[]): Promise<void> {
  await Promise.all(sockets.filter((socket) => !socket.destroyed).map((socket) => exchange(socket, "")));
}

/** Each worker listens once in the pod: none is missing, and no listener without an owner is left. */
async function bothListen(): Promise<void> {
  await eventually(() => {
    for (const port of [15_001, 15_006, 15_008])
      expect(server.run(`ss -Hltn "sport = :${port}"`).trim().split("\n")).toHaveLength(2);
  }, patient);
}

/** The sum of a metric's series whose labels have all the texts. */
async function metric(name: string, ...labels: readonly string[]): Promise<number> {
  const text = await node.get("metrics server", "/metrics");
  const lines = text.split("\n").filter((line) => line.startsWith(`${name}{`) || line.startsWith(`${name} `));
  const chosen = lines.filter((line) => labels.every((label) => line.includes(label)));
  return chosen.reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

const byServer = ['reporter="destination"', 'destination_workload="server"'] as const;
const opened = (): Promise<number> => metric("istio_tcp_connections_opened_total", ...byServer);
const closed = (): Promise<number> => metric("istio_tcp_connections_closed_total", ...byServer);
const openNow = (): Promise<number> => metric("istio_tcp_sockets_open", 'reporter="destination"');

describe("two workers", () => {
  it("share the connections of a pod; metrics and /config_dump are of both", async () => {
    const before = await opened();
    const bytesBefore = await metric("istio_tcp_received_bytes_total", ...byServer);
    const sockets = await open(outsider);
    expect(await opened()).toBe(before + many);
    expect(await openNow()).toBe(many);
    expect(await metric("istio_tcp_received_bytes_total", ...byServer)).toBe(bytesBefore + many * "hello".length);
    const dump = JSON.parse(await node.get("admin server", "/config_dump"));
    const rows: { readonly src: string }[] = dump.workloadState["uid-server"].connections.inbound;
    expect(rows.map((row) => row.src).toSorted()).toEqual(portsOf(sockets).toSorted());
    await close(sockets);
    await eventually(async () => expect(await openNow()).toBe(0));
    expect(await closed()).toBe(await opened());
    expect(await metric("workload_manager_active_proxy_count")).toBe(2);
  });

  it("tunnel by mTLS, with certificates that main fetched once", async () => {
    const sockets = await open(client);
    await close(sockets);
    const asked = controlPlane.ca.calls.map((call) => call.impersonatedIdentity);
    expect(new Set(asked).size).toBe(asked.length);
    await node.line('direction="inbound"', 'src.identity="spiffe://cluster.local/ns/ns/sa/client"');
  });

  it("write every access log line once and whole", async () => {
    const sockets = await open(outsider);
    const ports = portsOf(sockets);
    await close(sockets);
    for (const port of ports) await node.line(`src.addr=${port} `, "connection complete");
    const complete = node.lines.filter((line) => line.includes("connection complete"));
    for (const port of ports) expect(complete.filter((line) => line.includes(`src.addr=${port} `))).toHaveLength(1);
    for (const line of complete) expect(line).toMatch(/^\S+\t(?:info|error)\taccess\tconnection complete\t.*\n$/);
  });

  it("both follow a policy: open connections of both are cut, new ones are refused, until it is gone", async () => {
    const sockets = await open(outsider);
    const [port] = portsOf(sockets);
    const allClosed = Promise.all(sockets.map((socket) => new Promise((resolve) => socket.once("close", resolve))));
    controlPlane.xds.put({ policies: [denyAll] });
    await allClosed;
    await node.line(`src.addr=${port} `, "connection closed due to policy change");
    for (let i = 0; i < 10; i++) expect(await exchange(await outsider.connect(server.ip, 8080), "x")).toBe("");
    controlPlane.xds.remove("ns/nobody");
    await eventually(async () => await close(await open(outsider, 10)));
  });

  it("both log as the admin port says", async () => {
    node.logger.levels.set("access=debug");
    const sockets = await open(outsider);
    const ports = portsOf(sockets);
    await close(sockets);
    for (const port of ports) await node.line("\tdebug\taccess\tconnection opened", `${port} `);
    node.logger.levels.reset();
  });
});

describe("a worker that fails", () => {
  it.each([
    {
      how: "by an uncaught error",
      expression: `setTimeout(() => { throw new Error("a fault for the test") })`,
      reason: "a fault for the test",
    },
    { how: "without a word", expression: "setTimeout(() => process.exit(9))", reason: "it exited with code 9" },
  ])("$how takes its own connections with it and no others, and serves again", async ({ expression, reason }) => {
    await bothListen();
    await eventually(async () => expect(await openNow()).toBe(0));
    const restartsBefore = await metric("hairpin_ztunnel_worker_restarts_total");
    const [openedBefore, closedBefore] = [await opened(), await closed()];
    const sockets = await open(outsider);
    const ends = sockets.map(
      (socket) => new Promise<"closed">((resolve) => socket.once("close", () => resolve("closed"))),
    );
    await evaluateInWorker("data-plane-1", expression);
    await node.line("data-plane worker failed", "worker=1", reason);
    await Promise.any(ends);
    // No listener without an owner is left: each new connection is served.
    const late = await open(outsider);
    const states = await Promise.all(
      sockets.map((socket, i) =>
        Promise.race([
          ends[i],
          echo(socket, "still").then(
            () => "open",
            () => "closed",
          ),
        ]),
      ),
    );
    const lost = states.filter((state) => state === "closed").length;
    expect(lost).toBeGreaterThan(0);
    expect(lost).toBeLessThan(many);
    await eventually(async () =>
      expect(await metric("hairpin_ztunnel_worker_restarts_total")).toBe(restartsBefore + 1),
    );
    await eventually(async () => expect(await openNow()).toBe(2 * many - lost));
    // Nothing was counted twice, and only what a thread could not tell any more is missing.
    expect(await opened()).toBeLessThanOrEqual(openedBefore + 2 * many);
    expect(await opened()).toBeGreaterThanOrEqual(openedBefore + 2 * many - lost);
    expect(await closed()).toBeLessThanOrEqual(closedBefore + lost);
    await bothListen();
    await close([...sockets, ...late, ...(await open(outsider))]);
  });

  it("resets the connections that it had, and says so in the access log", async () => {
    await bothListen();
    const sockets = await open(outsider);
    const errors = sockets.map(
      (socket) =>
        new Promise<string>((resolve) =>
          socket.once("error", (error) => resolve((error as NodeJS.ErrnoException).code ?? "")),
        ),
    );
    await evaluateInWorker("data-plane-2", `Promise.reject(new Error("nobody caught this"))`);
    expect(await Promise.any(errors)).toBe("ECONNRESET");
    await node.line("connection complete", 'error="connection closed: its thread failed"');
    await node.line("data-plane worker failed", "worker=2", "nobody caught this");
    await close(sockets);
  });
});

describe("the end of two workers", () => {
  it("is when the last connection of both has ended", async () => {
    const sockets = await open(outsider);
    const drained = node.ztunnel.drain();
    await eventually(async () => {
      await expect(outsider.connect(server.ip, 8080)).rejects.toMatchObject({ code: "ECONNREFUSED" });
    });
    await Promise.all(sockets.map((socket) => echo(socket, "during")));
    await close(sockets);
    await drained;
    await node.line('drained\toutcome="empty" connections=0');
  });
});
