import type { istioWorkload } from "@hairpin/shared/api";
import { workloadFromWire } from "@hairpin/shared/discovery";
import { readCertificateIdentity, readX509 } from "@hairpin/shared/identity";
import { type Enforcement, formatSpiffeId, parseSpiffeId } from "@hairpin/shared/model";
import { eventually } from "@hairpin/testkit";
import { describe, expect, test } from "vitest";
import { aDenyPolicy, aGateway, aNamespace, aPod, aServiceObject } from "./testing/objects.ts";
import { TestControl } from "./testing/test-control.ts";

const ztunnel = aPod("ztunnel-a", { namespace: "istio-system", serviceAccount: "ztunnel", captured: false });
const web = aPod("web", { serviceAccount: "web", ip: "10.0.0.2" });
const replica = {
  serviceAccount: "w",
  ip: "10.0.0.9",
  captured: false,
  labels: { "gateway.networking.k8s.io/gateway-name": "w" },
};
const waypointPod = aPod("w-0", replica);
const unreadyWaypointPod = aPod("w-0", { ...replica, ready: false });
const webUid = "Kubernetes//Pod/shop/web";

/** As our ztunnel reads it. */
function enforcementOf(address: istioWorkload.Address | undefined): Enforcement | undefined {
  return address?.type.case === "workload" ? workloadFromWire(address.type.value).enforcement : undefined;
}

describe("control", () => {
  test("serves workloads, services and policies to a node agent over TLS, and what changes later", async () => {
    await using control = await TestControl.start([ztunnel, web, aServiceObject("web", "10.96.0.1")]);
    await using agent = await control.connect(ztunnel);
    await eventually(() => {
      expect([...agent.held.addresses.keys()].sort()).toEqual([
        "Kubernetes//Pod/istio-system/ztunnel-a",
        webUid,
        "shop/web.shop.svc.cluster.local",
      ]);
    });

    const begin = performance.now();
    control.objects.put(aDenyPolicy("deny", "web"));
    await eventually(() => {
      const workload = agent.held.addresses.get(webUid)?.type.value as istioWorkload.Workload;
      expect(workload.authorizationPolicies).toEqual(["shop/deny"]);
    });
    // About 20 ms alone on a machine; the bound leaves room for a busy one.
    expect(performance.now() - begin).toBeLessThan(1_000);
    const changes = agent.held.log.slice(-2);
    expect(changes).toEqual(["Authorization +shop/deny -", `Address +${webUid} -`]);

    control.objects.remove(aDenyPolicy("deny", "web"));
    await eventually(() => expect(agent.held.authorizations.size).toBe(0));
  });

  test("binds a namespace to its waypoint only after a ready replica acknowledged its configuration", async () => {
    await using control = await TestControl.start([
      ztunnel,
      web,
      aServiceObject("web", "10.96.0.1"),
      aGateway("w", true),
    ]);
    await using agent = await control.connect(ztunnel);
    await eventually(() => expect(agent.held.addresses.has(webUid)).toBe(true));
    expect(enforcementOf(agent.held.addresses.get(webUid))).toBeUndefined();

    control.objects.put(unreadyWaypointPod);
    await eventually(() => expect(agent.held.addresses.has("Kubernetes//Pod/shop/w-0")).toBe(true));
    await using waypoint = await control.connect(waypointPod);
    await eventually(() => {
      expect([...waypoint.held.waypointServices.keys()]).toEqual(["shop/w/shop/web.shop.svc.cluster.local"]);
      expect([...waypoint.held.waypointWorkloads.keys()]).toEqual([`shop/w/${webUid}`]);
      expect([...waypoint.held.waypoints.keys()]).toEqual(["shop/w"]);
      expect(waypoint.held.addresses.has(webUid)).toBe(true);
    });
    expect(enforcementOf(agent.held.addresses.get(webUid))).toBeUndefined();

    control.objects.put(waypointPod);
    await eventually(() => {
      expect(enforcementOf(agent.held.addresses.get(webUid))).toMatchObject({
        mode: "hairpin",
        acceptedIdentities: [parseSpiffeId("spiffe://cluster.local/ns/shop/sa/w")],
        waypoint: "shop/w",
      });
    });
    await eventually(() => {
      const bound = control.writes.findLast(({ kind }) => kind === "Gateway");
      expect(bound?.conditions).toContainEqual(
        expect.objectContaining({ type: "hairpin.mesh/Bound", status: "True", observedGeneration: 1 }),
      );
    });

    // Its replica goes: the namespace stays bound. Its Gateway goes: it is free again, and the replica loses everything.
    control.objects.put(unreadyWaypointPod);
    await eventually(() => expect(agent.held.log.at(-1)).toContain("w-0"));
    expect(enforcementOf(agent.held.addresses.get(webUid))).toBeDefined();
    control.objects.remove(aGateway("w", true));
    await eventually(() => {
      expect(enforcementOf(agent.held.addresses.get(webUid))).toBeUndefined();
      expect(waypoint.held.waypointServices.size).toBe(0);
    });
  });

  test("tells a waypoint what it will manage before anybody is sent to it", async () => {
    const ready = [
      ztunnel,
      web,
      aGateway("w", true),
      waypointPod,
      aNamespace("shop", { "istio.io/use-waypoint": "none" }),
    ];
    await using control = await TestControl.start(ready);
    await using waypoint = await control.connect(waypointPod);
    await eventually(() => expect(waypoint.held.waypoints.size).toBe(1));
    await eventually(() => expect(waypoint.held.addresses.size).toBeGreaterThan(0));
    waypoint.held.log.length = 0;

    control.objects.put(aNamespace("shop", { "istio.io/use-waypoint": "w" }));
    await eventually(() => expect(waypoint.held.log.some((line) => line.startsWith("Address"))).toBe(true));
    expect(waypoint.held.log[0]).toBe(`Workload +shop/w/${webUid} -`);

    // The other way round it forgets last.
    waypoint.held.log.length = 0;
    control.objects.put(aNamespace("shop", { "istio.io/use-waypoint": "none" }));
    await eventually(() => expect(waypoint.held.waypointWorkloads.size).toBe(0));
    expect(waypoint.held.log).toEqual([expect.stringMatching(/^Address/), `Workload + -shop/w/${webUid}`]);
  });

  test("refuses xDS to pods that are neither node agent nor waypoint, and to clients that claim to be others", async () => {
    const impostor = aPod("impostor", { labels: { "gateway.networking.k8s.io/gateway-name": "w" } });
    await using control = await TestControl.start([ztunnel, web, impostor, aGateway("w", true)]);
    await using plain = await control.connect(web);
    await using fake = await control.connect(impostor);
    await using liar = await control.connect(ztunnel, { NODE_NAME: "node-b" });
    for (const { client } of [plain, fake, liar])
      await eventually(() => expect(client.status().lastError).toBeDefined());
    expect(plain.client.status().lastError).toContain("neither a node agent nor a waypoint");
    expect(fake.client.status().lastError).toContain("runs as w");
    expect(liar.client.status().lastError).toContain("NODE_NAME");
    for (const { held } of [plain, fake, liar]) expect(held.log).toEqual([]);
  });

  test("never gives one waypoint's configuration to another", async () => {
    const other = aPod("other-0", {
      serviceAccount: "other",
      labels: { "gateway.networking.k8s.io/gateway-name": "other" },
    });
    const labelled = aNamespace("shop", { "istio.io/use-waypoint": "w" });
    await using control = await TestControl.start([
      labelled,
      web,
      aGateway("w", true),
      aGateway("other", true),
      other,
      ztunnel,
    ]);
    await using waypoint = await control.connect(other);
    await eventually(() => expect([...waypoint.held.waypoints.keys()]).toEqual(["shop/other"]));
    await eventually(() => expect(waypoint.held.addresses.has(webUid)).toBe(true));
    expect(waypoint.held.waypointWorkloads.size).toBe(0);
    await using agent = await control.connect(ztunnel);
    await eventually(() => expect(agent.held.addresses.has(webUid)).toBe(true));
    expect(agent.held.waypoints.size).toBe(0);
  });

  test("certifies a node agent, the accounts on its node, and a waypoint's own identity", async () => {
    await using control = await TestControl.start([ztunnel, web, waypointPod, aGateway("w", true)]);
    const agent = control.caClient(() => control.tokenOf(ztunnel), true);
    const forWeb = await agent.fetchCertificate(parseSpiffeId("spiffe://cluster.local/ns/shop/sa/web"));
    expect(formatSpiffeId(forWeb.identity)).toBe("spiffe://cluster.local/ns/shop/sa/web");
    const own = control.caClient(() => control.tokenOf(waypointPod), false);
    const forWaypoint = await own.fetchCertificate(parseSpiffeId("spiffe://cluster.local/ns/shop/sa/w"));
    const leaf = readX509(forWaypoint.chainPem);
    expect(formatSpiffeId(readCertificateIdentity(leaf.raw))).toBe("spiffe://cluster.local/ns/shop/sa/w");
    agent.close();
    own.close();
  });

  test("is ready only while it serves, and exposes its metrics", async () => {
    await using control = await TestControl.start([ztunnel]);
    const { readiness, metrics } = control.running.ports;
    const ready = await fetch(`http://127.0.0.1:${readiness}/ready`);
    expect([ready.status, await ready.text()]).toEqual([200, "ready\n"]);
    const body = await (await fetch(`http://127.0.0.1:${metrics}/metrics`)).text();
    expect(body).toContain("hairpin_control_objects 1");
    expect(body).toContain("hairpin_control_recompute_milliseconds_count 1");
  });
});
