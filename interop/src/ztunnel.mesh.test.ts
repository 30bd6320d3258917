// Istio's ztunnel on one node or both, all else ours: each dials the other under our control, CA, capture and waypoints.
import { execFile } from "node:child_process";
import { promisify } from "node:util";
import { seenBy } from "@hairpin/e2e/harness/call-loop";
import type { ScenarioMesh } from "@hairpin/e2e/harness/scenario-mesh";
import { createTestFolder, eventually } from "@hairpin/testkit";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { comparableDump } from "./comparable-dump.ts";
import { describeWith } from "./foreign-part.ts";
import { interopManifest, startSwappedMesh } from "./swapped-mesh.ts";

const wholeManifest = `${interopManifest("l4")}---\n${interopManifest("waypoints")}`;
const spiffe = (name: string): string => `spiffe://cluster.local/ns/${name.replace("/", "/sa/")}`;

/** ALLOW to server2 for these accounts of l4 alone. */
const onlyFor = (...accounts: readonly string[]): string => `
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: { name: callers, namespace: l4 }
spec:
  selector: { matchLabels: { app: server2 } }
  action: ALLOW
  rules: [{ from: [{ source: { principals: [${accounts.map((name) => `cluster.local/ns/l4/sa/${name}`).join(", ")}] } }] }]
`;

describeWith("ztunnel", "Istio's ztunnel in our mesh", (path) => {
  describe.each([
    { real: ["node1"], title: "Istio's dials, ours accepts" },
    { real: ["node2"], title: "ours dials, Istio's accepts" },
    { real: ["node1", "node2"], title: "Istio's on both sides" },
  ])("$title", ({ real }) => {
    let mesh: ScenarioMesh;

    beforeAll(async () => {
      mesh = await startSwappedMesh(`interop-${real.join("")}`, { ztunnel: { path, nodes: real } }, wholeManifest);
    });
    afterAll(async () => {
      await mesh?.[Symbol.asyncDispose]();
    });

    it("runs where it should", async () => {
      for (const node of ["node1", "node2"]) {
        const { version } = (await mesh.configDump(node)) as { readonly version: object };
        expect("tlsEngine" in version).toBe(!real.includes(node));
      }
    });

    it("holds the same workloads, services and policies on both nodes", async () => {
      await eventually(async () => {
        const [first, second] = await Promise.all([mesh.configDump("node1"), mesh.configDump("node2")]);
        expect(comparableDump(first)).toEqual(comparableDump(second));
      });
    });

    it("carries a call by Service and by pod IP, with both identities in both logs", async () => {
      for (const host of ["server2.l4", `${await mesh.podIp("l4/server2")}:8080`]) {
        const answer = await mesh.curl("l4/client1", `http://${host}/`);
        expect(answer.status).toBe(200);
        expect(seenBy(answer)).toMatchObject({ pod: "server2", caller: await mesh.podIp("l4/client1") });
      }
      const parties = { "src.identity": spiffe("l4/client1"), "dst.identity": spiffe("l4/server2") };
      const outbound = await mesh.findAccess({ ...parties, direction: "outbound" }, "node1");
      const inbound = await mesh.findAccess({ ...parties, direction: "inbound" }, "node2");
      expect(inbound.fields["dst.hbone_addr"]).toBe(outbound.fields["dst.hbone_addr"]);
    });

    it("takes a plaintext call from outside the mesh, and makes one", async () => {
      const answer = await mesh.curl("outside/client", `http://${await mesh.podIp("l4/server2")}:8080/`);
      expect(seenBy(answer)).toMatchObject({ pod: "server2", caller: await mesh.podIp("outside/client") });
      expect((await mesh.curl("l4/client1", "http://server.outside/")).status).toBe(200);
    });

    it("carries many bytes whole, both ways", async () => {
      const size = 24_000_000;
      const digest = async (from: "l4/client1" | "l4/server2", url: string): Promise<string> =>
        (await mesh.exec(from, ["sh", "-c", `curl -sS -m 20 ${url} | sha256sum`])).stdout;
      expect(await digest("l4/client1", `http://server2.l4/bytes/${size}`)).toBe(
        await digest("l4/server2", `http://127.0.0.1:8080/bytes/${size}`),
      );
      const upload = `head -c ${size} /dev/zero | curl -sS -m 20 --data-binary @- http://server2.l4/`;
      const { stdout } = await mesh.exec("l4/client1", ["sh", "-c", upload]);
      expect(seenBy({ body: stdout }).bodyBytes).toBe(size);
    });

    it("keeps the other half of a half-closed connection open", async () => {
      const [told] = await mesh.runApp<{ answer: string }>("l4/client1", "half-close", ["server2.l4", "9000"]);
      expect(told?.answer).toMatch(/^\w+ last words\n$/);
    });

    // Istio's does not decide open connections again when a policy is new; ours does (packages/ztunnel/README.md).
    it("is told of a changed policy: open connections end, new ones are refused, and all is well when it goes", async () => {
      const server2Url = `http://${await mesh.podIp("l4/server2")}:8080/`;
      await mesh.apply(onlyFor("client1", "client2"));
      await eventually(async () => expect((await mesh.curl("outside/client", server2Url)).status).toBe(0));
      const [kept, closed] = [
        await mesh.hold("l4/client1", "server2.l4", 9000),
        await mesh.hold("l4/client2", "server2.l4", 9000),
      ];
      await Promise.all([kept.echo(), closed.echo()]);
      await mesh.apply(onlyFor("client1"));
      await closed.end();
      expect(await kept.echo()).toContain("server2");
      await kept.close();
      expect((await mesh.curl("l4/client1", "http://server2.l4/")).status).toBe(200);
      expect((await mesh.curl("l4/client2", "http://server2.l4/")).status).toBe(0);
      const error = /policy rejection: allow policies exist, but none allowed/;
      await mesh.findAccess({ "src.identity": spiffe("l4/client2"), direction: "inbound", error }, "node2");
      await mesh.delete(onlyFor("client1"));
      await eventually(async () => expect((await mesh.curl("l4/client2", "http://server2.l4/")).status).toBe(200));
    });

    it("goes through our waypoint by route, and comes out with the waypoint's identity", async () => {
      for (const client of ["l4/client1", "l4/client2"] as const) {
        expect(seenBy(await mesh.curl(client, "http://shop.l7/")).pod).toBe("v1");
        const routed = seenBy(await mesh.curl(client, "http://shop.l7/v2/item"));
        expect(routed.pod).toBe("v2");
        expect(routed.headers["x-routed"]).toBe("waypoint");
      }
      const vip = `${await mesh.clusterIp("l7/shop")}:80`;
      await mesh.findAccess(
        { direction: "outbound", "dst.hbone_addr": vip, "dst.identity": spiffe("l7/waypoint") },
        "node1",
      );
      await mesh.findAccess(
        { direction: "inbound", "src.identity": spiffe("l7/waypoint"), "dst.workload": "v1" },
        "node1",
      );
      await mesh.findAccess(
        { direction: "inbound", "src.identity": spiffe("l7/waypoint"), "dst.workload": "v2" },
        "node2",
      );
    });

    it("is refused by our waypoint's L7 policy: by method and by identity", async () => {
      expect(await mesh.curl("l4/client1", "http://shop.l7/", { method: "POST" })).toMatchObject({ status: 403 });
      expect(await mesh.curl("l4/server1", "http://shop.l7/")).toMatchObject({ status: 403, body: /RBAC/ });
    });

    it("takes pods that come and gives up pods that go", async () => {
      const [pod] = (await mesh.local.get("Pod", "l4")).filter(({ metadata }) => metadata.name === "server2");
      await mesh.delete(JSON.stringify(pod));
      await eventually(async () => expect((await mesh.podsOf("l4", "server2")).length).toBe(0), { timeoutMs: 20_000 });
      await mesh.apply(wholeManifest);
      await mesh.mesh.whenReady();
      await eventually(async () => {
        expect(seenBy(await mesh.curl("l4/client1", "http://server2.l4/")).pod).toBe("server2");
      });
      await mesh.findAccess({ direction: "inbound", "dst.addr": `${await mesh.podIp("l4/server2")}:15008` }, "node2");
    });

    it("serves again after it was killed", async () => {
      await mesh.local.kill("ztunnel/node2", { namespace: "istio-system" });
      await eventually(async () => expect((await mesh.curl("l4/client1", "http://server2.l4/")).status).toBe(200), {
        timeoutMs: 30_000,
      });
    });

    it("leads a call that went past the waypoint back to it where ztunnel is ours, and delivers it where it is Istio's", async () => {
      const url = `http://${await mesh.podIp("own/server")}:8080/`;
      expect(await mesh.curl("outside/client", url, { method: "POST" })).toMatchObject({
        status: real.includes("node2") ? 200 : 403,
      });
    });

    describeWith("istioctl", "and `istioctl ztunnel-config`", (istioctl) => {
      /** What istioctl prints of a node's dump. */
      async function show(topic: string, node: string): Promise<string> {
        const folder = await createTestFolder({ "dump.json": JSON.stringify(await mesh.configDump(node)) });
        await using _removed = folder;
        const { stdout } = await promisify(execFile)(istioctl, [
          "ztunnel-config",
          topic,
          "--file",
          `${folder.path}/dump.json`,
        ]);
        return stdout;
      }

      it.each(["workload", "service", "policy"])("shows every %s alike on both nodes", async (topic) => {
        await eventually(async () => expect(await show(topic, "node1")).toBe(await show(topic, "node2")));
      });

      it("shows the certificates of each node's pods", async () => {
        for (const [node, account] of [
          ["node1", "client1"],
          ["node2", "client2"],
        ] as const) {
          const lines = (await show("certificate", node)).split("\n");
          const [leaf, root] = lines.filter((line) => line.startsWith(spiffe(`l4/${account}`)));
          expect(leaf).toMatch(/\sLeaf\s+Available\s+true\s/);
          expect(root).toMatch(/\sRoot\s+Available\s+true\s/);
        }
      });

      it("shows open connections", async () => {
        const held = await mesh.hold("l4/client1", "server2.l4", 9000);
        await held.echo();
        expect(await show("connections", "node1")).toMatch(/client1\.l4\s+Outbound/);
        expect(await show("connections", "node2")).toMatch(/server2\.l4\s+Inbound/);
        await held.close();
      });
    });
  });
});
