// Our ztunnel under Istio's istiod: xDS and certificates are istiod's, capture is ours.
import { seenBy } from "@hairpin/e2e/harness/call-loop";
import type { ScenarioMesh } from "@hairpin/e2e/harness/scenario-mesh";
import { eventually } from "@hairpin/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { comparableDump } from "./comparable-dump.ts";
import { describeWith } from "./foreign-part.ts";
import { interopManifest, startSwappedMesh, type Swap } from "./swapped-mesh.ts";

const spiffe = (name: string): string => `spiffe://cluster.local/ns/${name.replace("/", "/sa/")}`;
const onlyClient1 = `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: callers, namespace: l4 }
spec:
  selector: { matchLabels: { app: server1 } }
  action: ALLOW
  rules: [{ from: [{ source: { principals: [cluster.local/ns/l4/sa/client1] } }] }]
`;
const strict = `
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: { name: strict, namespace: l4 }
spec: { mtls: { mode: STRICT } }
`;

/** Our ztunnel is on node1, whatever is on node2. */
function describeUnderIstiod(title: string, name: string, swap: Swap): void {
  describe(title, () => {
    let mesh: ScenarioMesh;

    beforeAll(async () => {
      mesh = await startSwappedMesh(name, swap, interopManifest("l4"));
    });
    afterAll(async () => {
      await mesh?.[Symbol.asyncDispose]();
    });

    it("is told of the same workloads, services and policies on both nodes", async () => {
      await eventually(async () => {
        const [first, second] = await Promise.all([mesh.configDump("node1"), mesh.configDump("node2")]);
        // istiod tells of pods before it has heard that they are ready.
        for (const pod of ["client1", "client2", "server1", "server2"])
          expect(comparableDump(first).workloads[`Kubernetes//Pod/l4/${pod}`]).toMatchObject({ status: "Healthy" });
        expect(comparableDump(first)).toEqual(comparableDump(second));
      });
    });

    it("carries calls between pods with certificates of istiod", async () => {
      for (const [from, to] of [
        [1, 1],
        [1, 2],
        [2, 1],
      ] as const) {
        for (const host of [`server${to}.l4`, `${await mesh.podIp(`l4/server${to}`)}:8080`]) {
          const answer = await mesh.curl(`l4/client${from}`, `http://${host}/`);
          expect(answer.status).toBe(200);
          expect(seenBy(answer)).toMatchObject({ pod: `server${to}`, caller: await mesh.podIp(`l4/client${from}`) });
        }
        const parties = { "src.identity": spiffe(`l4/client${from}`), "dst.identity": spiffe(`l4/server${to}`) };
        await mesh.findAccess({ ...parties, direction: "outbound" }, `node${from}`);
        await mesh.findAccess({ ...parties, direction: "inbound" }, `node${to}`);
      }
    });

    it("is told of a policy, and that it went", async () => {
      await mesh.apply(onlyClient1);
      await eventually(async () => expect((await mesh.curl("l4/client2", "http://server1.l4/")).status).toBe(0));
      expect((await mesh.curl("l4/client1", "http://server1.l4/")).status).toBe(200);
      const error = /policy rejection: allow policies exist, but none allowed/;
      await mesh.findAccess({ "src.identity": spiffe("l4/client2"), direction: "inbound", error }, "node1");
      await mesh.delete(onlyClient1);
      await eventually(async () => expect((await mesh.curl("l4/client2", "http://server1.l4/")).status).toBe(200));
    });

    it("takes no plaintext while istiod says STRICT", async () => {
      const url = `http://${await mesh.podIp("l4/server1")}:8080/`;
      expect((await mesh.curl("outside/client", url)).status).toBe(200);
      await mesh.apply(strict);
      await eventually(async () => expect((await mesh.curl("outside/client", url)).status).toBe(0));
      expect((await mesh.curl("l4/client2", "http://server1.l4/")).status).toBe(200);
      await mesh.delete(strict);
      await eventually(async () => expect((await mesh.curl("outside/client", url)).status).toBe(200));
    });

    it("goes on without istiod, and serves new pods when it is back", async () => {
      await mesh.local.kill("control", { namespace: "istio-system" });
      expect((await mesh.curl("l4/client1", "http://server1.l4/")).status).toBe(200);
      const [pod] = (await mesh.local.get("Pod", "l4")).filter(({ metadata }) => metadata.name === "server1");
      await mesh.delete(JSON.stringify(pod));
      await eventually(async () => expect(await mesh.podsOf("l4", "server1")).toEqual([]), { timeoutMs: 20_000 });
      await mesh.apply(interopManifest("l4"));
      await mesh.mesh.whenReady(60_000);
      await eventually(
        async () => expect(seenBy(await mesh.curl("l4/client2", "http://server1.l4/")).pod).toBe("server1"),
        { timeoutMs: 30_000 },
      );
      const dstAddress = `${await mesh.podIp("l4/server1")}:15008`;
      await mesh.findAccess(
        { "src.identity": spiffe("l4/client2"), direction: "inbound", "dst.addr": dstAddress },
        "node1",
      );
    });
  });
}

describeWith("istiod", "our ztunnel under Istio's istiod", (istiod) => {
  describeUnderIstiod("on both nodes", "interop-istiod", { istiod });
  describeWith("ztunnel", "beside Istio's", (path) => {
    describeUnderIstiod("on the other node", "interop-istio", { istiod, ztunnel: { path, nodes: ["node2"] } });
  });
});
