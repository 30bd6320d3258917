// A waypoint grows, shrinks, is rolled, cannot start, and goes.

import { eventually } from "@hairpin/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Seen, seenBy } from "./harness/call-loop.ts";
import { Installation } from "./harness/installation.ts";
import { Load } from "./harness/load.ts";
import { cluster, type PodName, report, ScenarioMesh } from "./harness/scenario-mesh.ts";

const client: PodName = "load/client";
const outside: PodName = "load-outside/client";
const url = "http://server.load/";
/** A waypoint that goes leaves for 5 s and drains for 30. */
const settleMs = 75_000;

let mesh: ScenarioMesh;
const installation = new Installation(cluster);

beforeAll(async () => {
  await installation.whenReady();
  mesh = await ScenarioMesh.start("waypoint-life", "under-load.yaml");
  await mesh.apply(
    `${gateway("waypoint")}---${shape("waypoint", "{ spec: { replicas: 1 } }")}---${boundService("server", "waypoint")}`,
  );
  await mesh.mesh.whenReady(60_000);
});
afterAll(async () => await mesh[Symbol.asyncDispose]());

function gateway(name: string): string {
  return `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: ${name}, namespace: load }
spec:
  gatewayClassName: istio-waypoint
  listeners: [{ name: mesh, port: 15008, protocol: HBONE }]
  infrastructure: { parametersRef: { group: "", kind: ConfigMap, name: ${name}-shape } }
`;
}

/** What is laid over a waypoint's Deployment. */
function shape(name: string, deployment: string): string {
  return `
apiVersion: v1
kind: ConfigMap
metadata: { name: ${name}-shape, namespace: load }
data: { deployment: ${JSON.stringify(deployment)} }
`;
}

function boundService(name: string, waypoint: string): string {
  return `
apiVersion: v1
kind: Service
metadata: { name: ${name}, namespace: load, labels: { istio.io/use-waypoint: ${waypoint} } }
spec:
  selector: { app: ${name} }
  ports:
    - { name: http, port: 80, targetPort: 8080, appProtocol: http }
    - { name: tcp-lines, port: 9000, targetPort: 9000 }
`;
}

/** Waits until exactly so many replicas are left, all of them ready and none of them among `old`. */
async function whenReplicas(count: number, old: readonly string[] = []): Promise<number> {
  await eventually(
    async () => {
      await installation.kubectl.text(["rollout", "status", "-n", "load", "deployment/waypoint", "--timeout=1s"]);
      const pods = await mesh.waypointPods("load", "waypoint");
      if (pods.length !== count || pods.some((pod) => old.includes(pod)))
        throw new Error(`There are ${pods.join(", ")}`);
    },
    { timeoutMs: settleMs, intervalMs: 500 },
  );
  return Date.now();
}

const passedWaypoint = ({ headers }: Seen): boolean => headers["x-request-id"] !== undefined;

describe("a waypoint under load", () => {
  it(
    "grows, shrinks and is rolled without a lost call, on new connections and on kept ones",
    async () => {
      await eventually(async () => expect(passedWaypoint(seenBy(await mesh.curl(client, url)))).toBe(true));
      const load = await Load.start(mesh, client, url);
      const fromOutside = await Load.start(mesh, outside, url);
      let changedAt = await mesh.apply(shape("waypoint", "{ spec: { replicas: 3 } }"));
      report(`waypoint scaled to 3: ready after ${(await whenReplicas(3)) - changedAt} ms`);
      await load.more(100);
      changedAt = await mesh.apply(shape("waypoint", "{ spec: { replicas: 1 } }"));
      report(`waypoint scaled to 1: drained after ${(await whenReplicas(1)) - changedAt} ms`);
      const old = await mesh.waypointPods("load", "waypoint");
      const annotated = "{ spec: { replicas: 1, template: { metadata: { annotations: { e2e: rolled } } } } }";
      changedAt = await mesh.apply(shape("waypoint", annotated));
      report(`waypoint rolled: after ${(await whenReplicas(1, old)) - changedAt} ms`);
      await load.more(50);
      const results = [
        await load.stop("waypoint scaled and rolled"),
        await fromOutside.stop("waypoint scaled and rolled, calls from outside"),
      ];
      for (const { fresh, keptAlive } of results) {
        expect([...fresh.failed, ...keptAlive.failed]).toEqual([]);
        expect([...fresh.calls, ...keptAlive.calls].filter((call) => !passedWaypoint(seenBy(call)))).toEqual([]);
      }
    },
    3 * settleMs + 30_000,
  );
});

const shut = `
apiVersion: v1
kind: Pod
metadata: { name: shut, namespace: load, labels: { app: shut, istio.io/use-waypoint: broken } }
spec:
  nodeName: node2
  terminationGracePeriodSeconds: 1
  containers:
    - name: main
      command: [node, --max-old-space-size=48, $(HAIRPIN_HOME)/e2e/apps/echo.ts]
`;

async function programmed(name: string): Promise<string | undefined> {
  const { conditions = [] } = ((await mesh.object("Gateway", `load/${name}`)).status ?? {}) as {
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
  return conditions.find(({ type }) => type === "Programmed")?.status;
}

describe("a waypoint that cannot start", () => {
  it("is not Programmed and closed for all, until it can", async () => {
    const containers = "[{ name: istio-proxy, image: localhost/none, imagePullPolicy: Never }]";
    const broken = `{ spec: { template: { spec: { containers: ${containers} } } } }`;
    await mesh.apply(`${shut}---${shape("broken", broken)}---${gateway("broken")}---${boundService("shut", "broken")}`);
    await eventually(async () => expect(await programmed("broken")).toBe("False"), { timeoutMs: 20_000 });
    await eventually(async () => expect(await mesh.podIp("load/shut")).toBeDefined(), { timeoutMs: 30_000 });
    const direct = `http://${await mesh.podIp("load/shut")}:8080/`;
    for (const from of [client, outside])
      for (const target of ["http://shut.load/", direct])
        await eventually(async () => expect((await mesh.curl(from, target)).status).not.toBe(200));
    expect(await programmed("broken")).toBe("False");
    await mesh.apply(shape("broken", "{ spec: { replicas: 1 } }"));
    await eventually(async () => expect(await programmed("broken")).toBe("True"), {
      timeoutMs: 60_000,
      intervalMs: 250,
    });
    for (const from of [client, outside])
      for (const target of ["http://shut.load/", direct])
        await eventually(async () => expect((await mesh.curl(from, target)).status).toBe(200));
  });
});

describe("a Gateway that is deleted", () => {
  it("takes every object of its waypoint along", async () => {
    const kinds = "deployments,services,serviceaccounts,pods,replicasets";
    const left = ["get", kinds, "-n", "load", "-l", "gateway.networking.k8s.io/gateway-name", "-o", "name"];
    expect(await installation.kubectl.text(left)).not.toBe("");
    const deletedAt = await mesh.delete(`${gateway("waypoint")}---${gateway("broken")}`);
    await eventually(async () => expect(await installation.kubectl.text(left)).toBe(""), {
      timeoutMs: settleMs,
      intervalMs: 500,
    });
    report(`Gateways deleted: nothing of their waypoints is left after ${Date.now() - deletedAt} ms`);
  });
});
