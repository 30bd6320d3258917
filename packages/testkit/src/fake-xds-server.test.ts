import { MeshState } from "@hairpin/shared/discovery";
import { systemClock } from "@hairpin/shared/process";
import { noLogger } from "@hairpin/shared/telemetry";
import { createDeltaXdsClient } from "@hairpin/shared/xds";
import { describe, expect, it, vi } from "vitest";
import { createFakeXdsServer } from "./fake-xds-server.ts";
import { aPolicy, aService, aWorkload } from "./mesh-fixtures.ts";

describe("FakeXdsServer", () => {
  it("feeds a mesh state: what is put in is found, what is removed is gone, what cannot be read denies", async () => {
    await using server = await createFakeXdsServer({ tokens: ["secret"] });
    const state = new MeshState({ clock: systemClock });
    const client = createDeltaXdsClient(
      { clock: systemClock, logger: noLogger },
      {
        address: server.address,
        rootPem: () => Promise.resolve(undefined),
        token: () => Promise.resolve("secret"),
        clusterId: "Kubernetes",
        node: { id: "ztunnel~1.1.1.1~a.b~b.svc.cluster.local", metadata: {} },
        subscriptions: state.subscriptions(),
      },
    );
    await client.start();
    await client.whenSynced();
    const service = aService({ hostname: "web.ns.svc.cluster.local", vips: [{ network: "", ip: "10.96.0.1" }] });
    const key = "ns/web.ns.svc.cluster.local";
    const workload = aWorkload({
      uid: "Kubernetes//Pod/ns/web-1",
      addresses: ["10.0.0.1"],
      services: new Map([[key, [{ servicePort: 80, targetPort: 8080 }]]]),
    });
    server.replace({ workloads: [workload], services: [service], policies: [aPolicy({ name: "p" })] });
    await vi.waitFor(() => expect(state.findWorkloadByIp("", "10.0.0.1")).toEqual(workload));
    expect(state.findServiceByVip("", "10.96.0.1", "other")).toEqual(service);
    expect(state.endpointsOf(service)).toHaveLength(1);
    expect(state.policiesFor(workload).policies.map((policy) => policy.name)).toEqual(["p"]);
    server.remove(workload.uid, "ns/p");
    await vi.waitFor(() => expect(state.findWorkloadByIp("", "10.0.0.1")).toBeUndefined());
    expect(state.policiesFor(workload).policies).toEqual([]);
    const typeUrl = "type.googleapis.com/istio.security.Authorization";
    server.putRaw(typeUrl, { name: "ns/broken", body: Buffer.from("not protobuf") });
    await vi.waitFor(() => expect(state.policiesFor(workload).missing).toEqual(["ns/broken"]));
    await client.stop();
  });
});
