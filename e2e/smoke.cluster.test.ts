// The shortest way through everything that an installed mesh promises.

import { eventually } from "@hairpin/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type PodName, ScenarioMesh } from "./harness/scenario-mesh.ts";

const captured: PodName = "smoke/client";
const outside: PodName = "smoke-outside/client";
const url = "http://server.smoke/";
const clientId = "spiffe://cluster.local/ns/smoke/sa/client";
const redirection = "ambient.istio.io/redirection";

let mesh: ScenarioMesh;

beforeAll(async () => {
  mesh = await ScenarioMesh.start("smoke", "smoke.yaml");
});
afterAll(async () => await mesh[Symbol.asyncDispose]());

const policy = (name: string, spec: string): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: ${name}, namespace: smoke }
spec: ${spec}`;

const waypoint = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: { name: waypoint, namespace: smoke }
spec:
  gatewayClassName: istio-waypoint
  listeners: [{ name: mesh, port: 15008, protocol: HBONE }]`;

describe("an installed mesh", () => {
  it("captures the pods of a labelled namespace and no others", async () => {
    const annotations = async (pod: PodName) => (await mesh.object("Pod", pod)).metadata.annotations?.[redirection];
    expect(await annotations("smoke/server")).toBe("enabled");
    expect(await annotations(captured)).toBe("enabled");
    expect(await annotations(outside)).toBeUndefined();
  });

  it("carries calls over mTLS with the callers' identities, from node to node", async () => {
    expect((await mesh.curl(captured, url)).status).toBe(200);
    expect((await mesh.curl(outside, url)).status).toBe(200);
    const line = await mesh.findAccess({ direction: "inbound", "src.identity": clientId }, "node2");
    expect(line.fields["src.workload"]).toBe("client");
  });

  it("refuses by L4 policy, and lets through again", async () => {
    const deny = policy(
      "deny-client",
      `{ action: DENY, rules: [{ from: [{ source: { principals: ["${clientId.slice(9)}"] } }] }] }`,
    );
    await mesh.apply(deny);
    await eventually(async () => expect((await mesh.curl(captured, url)).status).toBe(0));
    expect((await mesh.curl(outside, url)).status).toBe(200);
    await mesh.delete(deny);
    await eventually(async () => expect((await mesh.curl(captured, url)).status).toBe(200));
  });

  it("brings up a waypoint that nobody passes by, and applies L7 policy there", async () => {
    await mesh.apply(waypoint);
    await mesh.mesh.whenReady(60_000);
    await mesh.apply(
      policy(
        "only-get",
        `{ targetRefs: [{ group: "", kind: Service, name: server }], action: ALLOW, rules: [{ to: [{ operation: { methods: [GET] } }] }] }`,
      ),
    );
    const podUrl = `http://${await mesh.podIp("smoke/server")}:8080/`;
    for (const from of [captured, outside]) {
      for (const target of [url, podUrl]) {
        await eventually(async () => expect((await mesh.curl(from, target, { method: "POST" })).status).toBe(403));
        expect((await mesh.curl(from, target)).status).toBe(200);
      }
    }
  });

  it("lets a namespace go when its label goes: its pods call and are called as if there were no mesh", async () => {
    await mesh.delete(waypoint);
    await mesh.apply(`
apiVersion: v1
kind: Namespace
metadata: { name: smoke, labels: { istio.io/dataplane-mode: none } }`);
    await eventually(async () =>
      expect((await mesh.object("Pod", "smoke/server")).metadata.annotations?.[redirection]).toBeUndefined(),
    );
    await eventually(async () => expect((await mesh.curl(outside, url, { method: "POST" })).status).toBe(200));
    expect((await mesh.curl(captured, url)).status).toBe(200);
  });
});
