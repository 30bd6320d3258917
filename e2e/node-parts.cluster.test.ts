// What runs on the nodes goes away and comes back, under load: the agent, then ztunnel.

import { eventually } from "@hairpin/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Installation, Part } from "./harness/installation.ts";
import { isServed, Load } from "./harness/load.ts";
import { cluster, type PodName, report, ScenarioMesh } from "./harness/scenario-mesh.ts";

const client: PodName = "load/client";
const outside: PodName = "load-outside/client";
const url = "http://server.load/";
const redirection = "ambient.istio.io/redirection";
/** Kubernetes' grace for the chart's ztunnel is 30 s, less 5 for its end; a node that is busy tells it later. */
const drainMs = { least: 20_000, most: 60_000 };

let mesh: ScenarioMesh;
const installation = new Installation(cluster);

beforeAll(async () => {
  await installation.whenReady();
  mesh = await ScenarioMesh.start("node-parts", "under-load.yaml");
});
afterAll(async () => await mesh[Symbol.asyncDispose]());

const sleeper = (namespace: string): string => `
apiVersion: v1
kind: Pod
metadata: { name: late, namespace: ${namespace} }
spec:
  nodeName: node1
  terminationGracePeriodSeconds: 1
  containers: [{ name: main, command: [sleep, infinity] }]
`;

async function isRunning(pod: PodName): Promise<boolean> {
  return ((await mesh.object("Pod", pod)).status as { readonly phase?: string }).phase === "Running";
}

async function whenRunning(pod: PodName): Promise<number> {
  await eventually(async () => expect(await isRunning(pod)).toBe(true), { timeoutMs: 90_000, intervalMs: 200 });
  return Date.now();
}

describe("a node agent", () => {
  it("that is killed costs no call", async () => {
    const load = await Load.start(mesh, client, url);
    await installation.kill(Part.agent);
    await installation.whenReady(Part.agent);
    await load.more(50);
    const { fresh, keptAlive } = await load.stop("agents killed");
    expect([...fresh.failed, ...keptAlive.failed]).toEqual([]);
  });

  it("that is away keeps pods waiting that are to be captured, with the reason in their events, and no others", async () => {
    const load = await Load.start(mesh, client, url);
    await installation.sendAgentsAway();
    try {
      const createdAt = await mesh.apply(`${sleeper("load")}---${sleeper("load-outside")}`);
      report(
        `agents away: a pod outside of the mesh runs after ${(await whenRunning("load-outside/late")) - createdAt} ms`,
      );
      await eventually(
        async () => {
          const events = (await installation.eventsOf("load", "late")).join("\n");
          expect(events).toMatch(/pod load\/late is to be captured .* and may not start without it/);
        },
        { timeoutMs: 60_000, intervalMs: 250 },
      );
      expect(await isRunning("load/late")).toBe(false);
      await load.more(50);
    } finally {
      await installation.bringAgentsBack();
    }
    const backAt = Date.now();
    report(`agents back: the pod that waited runs after ${(await whenRunning("load/late")) - backAt} ms`);
    expect((await mesh.object("Pod", "load/late")).metadata.annotations?.[redirection]).toBe("enabled");
    expect((await mesh.curl("load/late", url)).status).toBe(200);
    const { fresh, keptAlive } = await load.stop("agents away");
    expect([...fresh.failed, ...keptAlive.failed]).toEqual([]);
    await mesh.delete(`${sleeper("load")}---${sleeper("load-outside")}`);
  });
});

describe("ztunnel", () => {
  it("that is rolled loses no new connection, and open ones live until its drain ends", async () => {
    const load = await Load.start(mesh, client, url);
    const fromOutside = await Load.start(mesh, outside, url);
    const ip = await mesh.podIp("load/server-2");
    const held = [await mesh.hold(client, ip, 9000), await mesh.hold(outside, ip, 9000)];
    for (const connection of held) expect(await connection.echo()).toMatch(/^server-2/);
    const before = await installation.pods(Part.ztunnel);
    const startedAt = Date.now();
    await installation.restart(Part.ztunnel);
    report(`ztunnel rolled: on all nodes after ${Date.now() - startedAt} ms`);
    const ends = await Promise.all(held.map((connection) => connection.end(drainMs.most)));
    report(
      `ztunnel rolled: open connections ended ${ends.map(({ at, how }) => `after ${at - startedAt} ms (${how})`).join(", ")}`,
    );
    expect((await installation.pods(Part.ztunnel)).filter((pod) => before.includes(pod))).toEqual([]);
    await load.more(50);
    const results = [await load.stop("ztunnel rolled"), await fromOutside.stop("ztunnel rolled, calls from outside")];
    for (const { fresh } of results) expect(fresh.failed).toEqual([]);
    for (const { at } of ends) expect(at - startedAt).toBeGreaterThan(drainMs.least);
    for (const connection of held) await connection.close();
  });

  it("that is killed lets nothing through without itself, and the gap ends with the next one", async () => {
    const load = await Load.start(mesh, client, url);
    const killedAt = Date.now();
    await mesh.mesh.kill("ztunnel/node1");
    const failed = await load.fresh.first(killedAt, (call) => !isServed(call), 30_000);
    const back = await load.fresh.first(failed.at, isServed, 60_000);
    report(`ztunnel killed: new connections fail for ${back.startedAt - failed.startedAt} ms`);
    await installation.whenReady(Part.ztunnel);
    await load.more(50);
    const { fresh } = await load.stop("ztunnel killed");
    const gap = fresh.calls.filter((call) => call.startedAt > failed.startedAt && call.at < back.at);
    expect(gap.filter(isServed)).toEqual([]);
    expect(fresh.calls.filter((call) => call.startedAt > back.at && !isServed(call))).toEqual([]);
    // What went past ztunnel would have come without an identity.
    const clientIp = await mesh.podIp(client);
    const anonymous = (await mesh.accessLog("node2")).filter(
      ({ fields }) =>
        fields["direction"] === "inbound" &&
        fields["src.addr"]?.startsWith(`${clientIp}:`) === true &&
        fields["src.identity"] === undefined,
    );
    expect(anonymous).toEqual([]);
  });
});
