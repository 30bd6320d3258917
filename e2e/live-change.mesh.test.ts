// What changes while calls go on, on manifests/live.yaml. Figures are printed; the bounds that fail a test are generous.
import { eventually } from "@hairpin/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type CallLoop, seenBy, type ToldCall } from "./harness/call-loop.ts";
import { report, ScenarioMesh } from "./harness/scenario-mesh.ts";

let mesh: ScenarioMesh;

beforeAll(async () => {
  mesh = await ScenarioMesh.start("e2e-live", "live.yaml");
});
afterAll(async () => {
  await mesh?.[Symbol.asyncDispose]();
});

const client = "cluster.local/ns/live/sa/client";

function policy(name: string, spec: string, namespace = "live"): string {
  const kind = "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy";
  return `${kind}\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: ${spec}\n`;
}

const selectServer = "selector: {matchLabels: {app: server}}";
const denyClient = `action: DENY, rules: [{from: [{source: {principals: [${client}]}}]}]`;
const isServed = (call: ToldCall): boolean => call.status === 200;
const isRefused = (call: ToldCall): boolean => call.status === 0;

/** When a change first showed: after its command began, and after it returned (0: it showed before). */
interface Effect {
  readonly sinceBegunMs: number;
  readonly sinceTakenMs: number;
}

/** Applies (or deletes) something and measures when the calls of a loop first show it. */
async function measure(
  loop: CallLoop,
  change: () => Promise<number>,
  shows: (call: ToldCall) => boolean,
): Promise<Effect> {
  const begunAt = Date.now();
  const takenAt = await change();
  const { at } = await loop.first(begunAt, shows);
  return { sinceBegunMs: at - begunAt, sinceTakenMs: Math.max(0, at - takenAt) };
}

/** The command takes a while itself, more so in a cluster on a busy machine. */
function summary(effects: readonly Effect[]): string {
  const taken = effects.map(({ sinceTakenMs }) => sinceTakenMs).toSorted((a, b) => a - b);
  const begun = effects.map(({ sinceBegunMs }) => sinceBegunMs).toSorted((a, b) => a - b);
  const middle = Math.floor(effects.length / 2);
  return `median ${taken[middle]} ms of ${effects.length} after the command returned (${taken.join(", ")}), ${begun[middle]} ms after it began`;
}

describe("an L4 policy", () => {
  it("takes effect for new connections at once, and is lifted at once", async () => {
    const loop = await mesh.startCalls("live/client", { url: "http://server/", intervalMs: 3 });
    await loop.first(0, isServed);
    const yaml = policy("quick", `{${selectServer}, ${denyClient}}`);
    const applied: Effect[] = [];
    const lifted: Effect[] = [];
    for (let round = 0; round < 7; round++) {
      applied.push(await measure(loop, async () => await mesh.apply(yaml), isRefused));
      lifted.push(await measure(loop, async () => await mesh.delete(yaml), isServed));
    }
    await loop.stop();
    report(`L4 policy takes effect: ${summary(applied)}; lifted: ${summary(lifted)}`);
    expect(Math.max(...[...applied, ...lifted].map(({ sinceTakenMs }) => sinceTakenMs))).toBeLessThan(2000);
  });

  it.each([
    ["a new DENY of the namespace", policy("all", `{${denyClient}}`)],
    ["a new DENY with a selector", policy("selected", `{${selectServer}, ${denyClient}}`)],
    [
      "a new ALLOW that leaves the caller out",
      policy(
        "others",
        `{${selectServer}, action: ALLOW, rules: [{from: [{source: {principals: [cluster.local/ns/live/sa/other]}}]}]}`,
      ),
    ],
    ["a new DENY of the whole mesh", policy("mesh", `{${denyClient}}`, "istio-system")],
  ])("cuts open connections that it refuses and no others: %s", async (what, yaml) => {
    const ip = await mesh.podIp("live/server");
    const [refused, kept] = [await mesh.hold("live/client", ip, 9000), await mesh.hold("live/other", ip, 9000)];
    expect(await refused.echo()).toMatch(/^server/);
    expect(await kept.echo()).toMatch(/^server/);
    const takenAt = await mesh.apply(yaml);
    const { at, how } = await refused.end();
    report(`open connection cut by ${what}: ${Math.max(0, at - takenAt)} ms (${how})`);
    expect(await kept.echo()).toMatch(/^server/);
    expect(kept.ended).toBeUndefined();
    const line = await mesh.findAccess(
      { direction: "inbound", "src.workload": "client", error: /policy change/ },
      "node2",
    );
    expect(line.fields["dst.workload"]).toBe("server");
    await mesh.delete(yaml);
    await eventually(async () => expect((await mesh.curl("live/client", "http://server/")).status).toBe(200));
    await Promise.all([refused.close(), kept.close()]);
  });
});

describe("STRICT", () => {
  it("cuts open plaintext connections, refuses new ones, and leaves tunnels alone", async () => {
    const strict = `apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: live}
spec: {mtls: {mode: STRICT}}
`;
    const ip = await mesh.podIp("live/server");
    const [plain, tunnelled] = [await mesh.hold("outside/client", ip, 9000), await mesh.hold("live/client", ip, 9000)];
    expect(await plain.echo()).toMatch(/^server/);
    const takenAt = await mesh.apply(strict);
    const { at, how } = await plain.end();
    report(`open connection cut by STRICT: ${Math.max(0, at - takenAt)} ms (${how})`);
    expect(await tunnelled.echo()).toMatch(/^server/);
    expect((await mesh.curl("outside/client", `http://${ip}:8080/`)).status).toBe(0);
    expect((await mesh.curl("live/client", `http://${ip}:8080/`)).status).toBe(200);
    await mesh.delete(strict);
    await eventually(async () => expect((await mesh.curl("outside/client", `http://${ip}:8080/`)).status).toBe(200));
    await Promise.all([plain.close(), tunnelled.close()]);
  });
});

describe("a namespace that joins the mesh and leaves it under load", () => {
  it("loses no new call, and its calls are tunnelled in between", async () => {
    const namespace = (labels: string): string =>
      `apiVersion: v1\nkind: Namespace\nmetadata: {name: joining, labels: {${labels}}}\n`;
    const loops = [
      await mesh.startCalls("live/client", { url: "http://server.joining/", intervalMs: 5 }),
      await mesh.startCalls("outside/client", { url: "http://server.joining/", intervalMs: 5 }),
    ];
    await Promise.all(loops.map((loop) => loop.first(0, isServed)));
    const held = [
      await mesh.hold("live/client", "server.joining", 9000),
      await mesh.hold("outside/client", "server.joining", 9000),
    ];
    for (const connection of held) expect(await connection.echo()).toMatch(/^server/);
    const joinedAt = Date.now();
    await mesh.apply(namespace("istio.io/dataplane-mode: ambient"));
    const tunnelled = { direction: "inbound", "dst.namespace": "joining", "src.identity": `spiffe://${client}` };
    await mesh.findAccess(tunnelled, "node2");
    const [first] = await mesh.accessLines(tunnelled, "node2");
    report(`namespace labelled: first tunnelled call ended ${(first?.at ?? 0) - joinedAt} ms after apply began`);
    await Promise.all(loops.map((loop) => loop.more(30)));
    const leftAt = await mesh.apply(namespace("istio.io/dataplane-mode: none"));
    await eventually(async () => {
      const pod = await mesh.object("Pod", "joining/server");
      expect(pod.metadata.annotations ?? {}).not.toHaveProperty(["ambient.istio.io/redirection"]);
    });
    report(`namespace unlabelled: pod released after ${Date.now() - leftAt} ms`);
    await Promise.all(loops.map((loop) => loop.more(30)));
    // Connections from before the pod joined were never ours and stay.
    for (const connection of held) expect(await connection.echo()).toMatch(/^server/);
    for (const loop of loops) {
      const calls = await loop.stop();
      const failed = calls.filter((call) => !isServed(call));
      const slowestMs = Math.max(...calls.map(({ startedAt, at }) => at - startedAt));
      report(`join and leave: ${failed.length} of ${calls.length} calls failed, the slowest took ${slowestMs} ms`);
      expect(failed).toEqual([]);
      // A lost SYN is sent again after a second.
      expect(slowestMs).toBeLessThan(950);
    }
  });
});

describe("a waypoint's configuration", () => {
  const route = (v1: number, v2: number): string => `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web, namespace: routed}
spec:
  parentRefs: [{group: "", kind: Service, name: web, port: 80}]
  rules:
    - backendRefs: [{name: web-v1, port: 80, weight: ${v1}}, {name: web-v2, port: 80, weight: ${v2}}]
`;

  it("moves weights from 50/50 to 0/100 while calls go on, without a failure", async () => {
    await mesh.apply(route(50, 50));
    const url = "http://web.routed/";
    await eventually(async () => {
      const calls = await mesh.calls("live/client", { url, count: 60 });
      const v1 = calls.filter((call) => seenBy(call).version === "v1").length;
      expect(v1).toBeGreaterThan(12);
      expect(v1).toBeLessThan(48);
    });
    const loop = await mesh.startCalls("live/client", { url, intervalMs: 3 });
    await loop.first(0, isServed);
    const movedAt = await mesh.apply(route(0, 100));
    await loop.more(150);
    const calls = await loop.stop();
    expect(calls.filter((call) => !isServed(call))).toEqual([]);
    const lastOld = calls.findLast((call) => seenBy(call).version === "v1");
    report(`weights moved: last call to v1 ${(lastOld?.startedAt ?? movedAt) - movedAt} ms after apply returned`);
    expect(calls.slice(-100).map((call) => seenBy(call).version)).not.toContain("v1");
  });

  it("refuses by a new L7 policy at once, and serves again at once", async () => {
    const yaml = policy(
      "no-get",
      "{targetRefs: [{group: '', kind: Service, name: web}], action: DENY, rules: [{to: [{operation: {methods: [GET]}}]}]}",
      "routed",
    );
    const loop = await mesh.startCalls("live/client", { url: "http://web.routed/", intervalMs: 3 });
    await loop.first(0, isServed);
    const applied: Effect[] = [];
    const lifted: Effect[] = [];
    for (let round = 0; round < 5; round++) {
      applied.push(
        await measure(
          loop,
          async () => await mesh.apply(yaml),
          (call) => call.status === 403,
        ),
      );
      lifted.push(await measure(loop, async () => await mesh.delete(yaml), isServed));
    }
    const calls = await loop.stop();
    report(`L7 policy takes effect: ${summary(applied)}; lifted: ${summary(lifted)}`);
    expect(calls.filter(({ status }) => status !== 200 && status !== 403)).toEqual([]);
  });
});

describe("a Service that is given a waypoint under load", () => {
  it("loses no call when it gets it and none when it loses it", async () => {
    const gateway = `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: door, namespace: live, labels: {istio.io/waypoint-for: service}}
spec:
  gatewayClassName: istio-waypoint
  listeners: [{name: mesh, port: 15008, protocol: HBONE}]
`;
    const service = (labels: string): string => `apiVersion: v1
kind: Service
metadata: {name: server, namespace: live, labels: {${labels}}}
spec:
  selector: {app: server}
  ports: [{name: http, port: 80, targetPort: 8080}, {name: tcp-lines, port: 9000, targetPort: 9000}]
`;
    await mesh.apply(gateway);
    await mesh.mesh.whenReady(30_000);
    const loop = await mesh.startCalls("live/client", { url: "http://server/", intervalMs: 3 });
    await loop.first(0, isServed);
    const passes = (call: ToldCall): boolean => isServed(call) && seenBy(call).headers["x-request-id"] !== undefined;
    const bound = await measure(loop, async () => await mesh.apply(service("istio.io/use-waypoint: door")), passes);
    await loop.more(100);
    const unbound = await measure(
      loop,
      async () => await mesh.apply(service("istio.io/use-waypoint: none")),
      (call) => isServed(call) && !passes(call),
    );
    await loop.more(50);
    const calls = await loop.stop();
    const failed = calls.filter((call) => !isServed(call));
    report(
      `use-waypoint set and unset: after ${bound.sinceTakenMs} and ${unbound.sinceTakenMs} ms, ${failed.length} of ${calls.length} calls failed`,
    );
    expect(failed).toEqual([]);
    await mesh.delete(gateway);
  });
});

describe("a server's pod that is deleted", () => {
  it("ends the connections that it had", async () => {
    const ip = await mesh.podIp("live/victim");
    const held = [
      await mesh.hold("live/client", ip, 9000),
      await mesh.hold("live/client", "victim", 9000),
      await mesh.hold("outside/client", ip, 9000),
    ];
    for (const connection of held) expect(await connection.echo()).toMatch(/^victim/);
    const deletedAt = Date.now();
    await mesh.delete("apiVersion: v1\nkind: Pod\nmetadata: {name: victim, namespace: live}\n");
    const ends = await Promise.all(held.map((connection) => connection.end()));
    report(
      `pod deleted: connections ended after ${ends.map(({ at, how }) => `${at - deletedAt} ms (${how})`).join(", ")}`,
    );
    expect((await mesh.curl("live/client", "http://victim/")).status).toBe(0);
  });
});

describe("a control plane that is killed", () => {
  it("costs no call, and what changes afterwards arrives", async () => {
    const loop = await mesh.startCalls("live/client", { url: "http://server/", intervalMs: 5 });
    const routed = await mesh.startCalls("live/client", { url: "http://web.routed/", intervalMs: 5 });
    await Promise.all([loop.first(0, isServed), routed.first(0, isServed)]);
    const killedAt = await mesh.kill("control");
    await Promise.all([loop.more(50), routed.more(50)]);
    const yaml = policy("after", `{${selectServer}, ${denyClient}}`);
    // A cluster takes no policy that nobody can check: the command is refused until control is back.
    await eventually(async () => await mesh.apply(yaml), { timeoutMs: 60_000, intervalMs: 100 });
    const { at } = await loop.first(killedAt, isRefused, 30_000);
    report(`control killed: a policy applied as soon as it was taken took effect after ${at - killedAt} ms`);
    const before = loop.calls.filter((call) => call.at < at);
    expect(before.filter((call) => !isServed(call))).toEqual([]);
    await mesh.delete(yaml);
    await loop.first(at, isServed, 10_000);
    await loop.stop();
    expect((await routed.stop()).filter((call) => !isServed(call))).toEqual([]);
  });
});

describe("a ztunnel", () => {
  it("that is killed lets nothing through in the gap, and serves again when it is back", async () => {
    const ip = await mesh.podIp("live/server");
    const loops = [
      await mesh.startCalls("live/client", { url: `http://${ip}:8080/`, intervalMs: 10 }),
      await mesh.startCalls("outside/client", { url: `http://${ip}:8080/`, intervalMs: 10 }),
    ];
    await Promise.all(loops.map((loop) => loop.first(0, isServed)));
    const killedAt = await mesh.kill("ztunnel/node2");
    for (const loop of loops) {
      const failed = await loop.first(killedAt, isRefused);
      const back = await loop.first(failed.at, isServed, 30_000);
      const gap = loop.calls.filter((call) => call.startedAt > failed.startedAt && call.at < back.at);
      expect(gap.filter(isServed)).toEqual([]);
      report(`ztunnel killed: serves again after ${back.at - killedAt} ms`);
    }
    await Promise.all(loops.map((loop) => loop.stop()));
  });

  it("that is told to end refuses new connections, keeps open ones until its deadline, and is started anew", async () => {
    const ip = await mesh.podIp("live/server");
    const held = [
      await mesh.hold("live/client", ip, 9000),
      await mesh.hold("outside/client", ip, 9000),
      await mesh.hold("live/other", ip, 9000),
    ];
    for (const connection of held) expect(await connection.echo()).toMatch(/^server/);
    const toldAt = await mesh.kill("ztunnel/node2", { signal: "TERM" });
    await eventually(async () => {
      for (const from of ["live/client", "outside/client"] as const) {
        expect((await mesh.curl(from, `http://${ip}:8080/`, { timeoutSeconds: 2 })).status).toBe(0);
      }
    });
    for (let round = 0; round < 5; round++) {
      for (const connection of held) expect(await connection.echo()).toMatch(/^server/);
    }
    const ends = await Promise.all(held.map((connection) => connection.end(35_000)));
    report(`ztunnel drained: open connections ended ${ends.map(({ at }) => at - toldAt).join(", ")} ms after SIGTERM`);
    // 30 s of grace less 5 (ztunnel's rule).
    for (const { at } of ends) expect(at - toldAt).toBeGreaterThan(23_000);
    await eventually(
      async () => {
        for (const from of ["live/client", "outside/client"] as const) {
          expect((await mesh.curl(from, `http://${ip}:8080/`, { timeoutSeconds: 2 })).status).toBe(200);
        }
      },
      { timeoutMs: 30_000, intervalMs: 100 },
    );
  });
});
