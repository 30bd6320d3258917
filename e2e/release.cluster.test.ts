// The chart is upgraded and uninstalled while a namespace is in the mesh, and installed again.

import { eventually } from "@hairpin/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Installation, rootNamespace } from "./harness/installation.ts";
import { Load } from "./harness/load.ts";
import { NodeInspector } from "./harness/node-inspector.ts";
import { cluster, type PodName, report, ScenarioMesh } from "./harness/scenario-mesh.ts";

const client: PodName = "load/client";
const outside: PodName = "load-outside/client";
const url = "http://server.load/";
const redirection = "ambient.istio.io/redirection";
const stepTimeoutMs = 240_000;
/** A kept connection is bytes to ztunnel: at the end of its drain a call may be on its way, on either node. */
const callsOnTheirWay = 2;
/** ztunnel's grace less 5 s; counted from before helm has begun. */
const leastDrainMs = 20_000;

let mesh: ScenarioMesh;
let inspector: NodeInspector;
let values: Readonly<Record<string, unknown>>;
const installation = new Installation(cluster);

beforeAll(async () => {
  await installation.whenReady();
  values = await installation.values();
  mesh = await ScenarioMesh.start("release", "under-load.yaml");
  await mesh.apply(gateway);
  await mesh.mesh.whenReady(60_000);
  inspector = await NodeInspector.start(installation.kubectl, cluster?.image ?? "", await installation.nodes());
});
afterAll(async () => {
  await installation.upgrade(values);
  await inspector?.[Symbol.asyncDispose]();
  await mesh?.[Symbol.asyncDispose]();
}, stepTimeoutMs);

const gateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: waypoint, namespace: load }
spec:
  gatewayClassName: istio-waypoint
  listeners: [{ name: mesh, port: 15008, protocol: HBONE }]
---
apiVersion: v1
kind: Service
metadata: { name: routed, namespace: load, labels: { istio.io/use-waypoint: waypoint } }
spec:
  selector: { app: server }
  ports: [{ name: http, port: 80, targetPort: 8080, appProtocol: http }]
`;

/** The same values with one more variable for every part, so that all are rolled. */
function changed(): Readonly<Record<string, unknown>> {
  const part = (name: string): object => {
    const own = (values[name] ?? {}) as { readonly env?: readonly object[] };
    return { ...own, env: [...(own.env ?? []), { name: "E2E_UPGRADE", value: String(Date.now()) }] };
  };
  return { ...values, control: part("control"), capture: part("capture"), ztunnel: part("ztunnel") };
}

async function names(words: readonly string[]): Promise<readonly string[]> {
  return (await installation.kubectl.text(["get", ...words, "--ignore-not-found", "-o", "name"]))
    .split("\n")
    .filter(Boolean);
}

async function annotated(): Promise<readonly string[]> {
  const pods = await mesh.mesh.get("Pod", "load");
  return pods.filter(({ metadata }) => metadata.annotations?.[redirection]).map(({ metadata }) => metadata.name);
}

describe("a release", () => {
  it(
    "is upgraded without a lost call, and open connections live until the drain ends",
    async () => {
      const load = await Load.start(mesh, client, url);
      const routed = await Load.start(mesh, client, "http://routed.load/");
      const held = await mesh.hold(client, await mesh.podIp("load/server-2"), 9000);
      expect(await held.echo()).toMatch(/^server-2/);
      const startedAt = Date.now();
      await installation.upgrade(changed());
      report(`upgrade: done after ${Date.now() - startedAt} ms`);
      const { at, how } = await held.end(60_000);
      report(`upgrade: an open connection ended after ${at - startedAt} ms (${how})`);
      await Promise.all([load.more(50), routed.more(50)]);
      const results = [await load.stop("upgrade"), await routed.stop("upgrade, by a waypoint")];
      for (const { fresh, keptAlive } of results) {
        expect(fresh.failed).toEqual([]);
        expect(keptAlive.failed.length).toBeLessThanOrEqual(callsOnTheirWay);
      }
      expect(at - startedAt).toBeGreaterThan(leastDrainMs);
    },
    stepTimeoutMs,
  );

  it(
    "is uninstalled while a namespace is labelled: its pods go on as if there were no mesh",
    async () => {
      const loads = [
        await Load.start(mesh, client, url),
        await Load.start(mesh, outside, url),
        await Load.start(mesh, client, "http://routed.load/"),
      ];
      const startedAt = Date.now();
      await installation.uninstall();
      report(`uninstall: done after ${Date.now() - startedAt} ms`);
      for (const load of loads) await load.more(50);
      const kinds = ["from the mesh", "from outside", "by a waypoint"];
      for (const [index, load] of loads.entries()) {
        const { fresh, keptAlive } = await load.stop(`uninstall, calls ${kinds[index] ?? ""}`);
        expect(fresh.failed).toEqual([]);
        expect(keptAlive.failed.length).toBeLessThanOrEqual(callsOnTheirWay);
      }
      const ip = await mesh.podIp(client);
      expect((await mesh.curl(client, url)).body).toContain(`"caller":"${ip}"`);
    },
    stepTimeoutMs,
  );

  it("that was uninstalled leaves nothing in pods and on nodes", async () => {
    expect(await annotated()).toEqual([]);
    for (const { metadata, spec } of await mesh.mesh.get("Pod", "load")) {
      const { nodeName = "" } = spec as { readonly nodeName?: string };
      expect([metadata.name, await inspector.podRules(nodeName, metadata.uid ?? "")]).toEqual([metadata.name, ""]);
    }
    for (const node of inspector.nodes) {
      const left = await inspector.run(
        node,
        "nft list ruleset | grep -iE 'hairpin|istio|169.254.7.127'; grep -rliE 'hairpin|istio' /host/etc/cni/net.d; " +
          "ls -A /host/etc/cni/net.d /host/opt/cni/bin | grep -iE 'hairpin|istio'; ls -d /host/run/hairpin* /host/run/ztunnel 2>/dev/null; true",
      );
      expect([node, left]).toEqual([node, ""]);
    }
  });

  it("that was uninstalled leaves nothing in the cluster but definitions and what users made", async () => {
    const ours = ["-A", "-l", "app.kubernetes.io/part-of=hairpin"];
    const kinds = "all,serviceaccounts,configmaps,secrets,roles,rolebindings,poddisruptionbudgets,networkpolicies,jobs";
    const clusterKinds = "clusterroles,clusterrolebindings,validatingwebhookconfigurations";
    const waypoints = ["deployments,services,serviceaccounts,pods", "-A", "-l", "gateway.istio.io/managed"];
    // Proxies drain for as long as their grace.
    for (const words of [[`${kinds},${clusterKinds}`, ...ours], waypoints])
      await eventually(async () => expect(await names(words)).toEqual([]), { timeoutMs: 60_000, intervalMs: 500 });
    expect(await names(["configmaps", "-A", "--field-selector", "metadata.name=istio-ca-root-cert"])).toEqual([]);
    expect(await names(["gatewayclasses", "istio-waypoint"])).toEqual([]);
    expect(await names(["secrets,leases,daemonsets,deployments", "-n", rootNamespace])).toEqual([]);
    expect(await names(["gateways", "-n", "load"])).toEqual(["gateway.gateway.networking.k8s.io/waypoint"]);
    const { addresses, conditions = [] } = (await mesh.object("Gateway", "load/waypoint")).status as {
      readonly addresses?: unknown;
      readonly conditions?: readonly { readonly type: string; readonly status: string }[];
    };
    expect(addresses).toBeUndefined();
    expect(conditions.filter(({ status }) => status === "True")).toEqual([]);
    const { finalizers = [] } = (await mesh.object("Gateway", "load/waypoint")).metadata as {
      readonly finalizers?: readonly string[];
    };
    expect(finalizers).toEqual([]);
  });

  it(
    "is installed again, and takes the labelled namespace in without a lost call",
    async () => {
      const load = await Load.start(mesh, client, url);
      const startedAt = Date.now();
      await installation.upgrade(values);
      report(`install: every part ready after ${Date.now() - startedAt} ms`);
      await eventually(async () => expect(await annotated()).toEqual(["client", "server-1", "server-2"]), {
        timeoutMs: 60_000,
        intervalMs: 250,
      });
      const tunnelled = { direction: "outbound", "src.identity": "spiffe://cluster.local/ns/load/sa/client" };
      await mesh.findAccess(tunnelled, "node1");
      report(`install: the first call in a tunnel is logged after ${Date.now() - startedAt} ms`);
      await mesh.mesh.whenReady(60_000);
      await load.more(50);
      const { fresh, keptAlive } = await load.stop("install");
      expect([...fresh.failed, ...keptAlive.failed]).toEqual([]);
      expect((await mesh.curl(client, "http://routed.load/")).body).toContain("x-request-id");
    },
    stepTimeoutMs,
  );
});
