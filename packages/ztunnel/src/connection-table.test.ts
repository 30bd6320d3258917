import { ManualClock } from "@hairpin/testkit";
import { describe, expect, it } from "vitest";
import { ConnectionTable, type TrackedInbound } from "./connection-table.ts";
import { meshOf, workloadNamed } from "./testing/mesh.ts";

const server = (policies = ""): string => `
workloads:
- { uid: Kubernetes//Pod/ns/server, name: server, namespace: ns, workloadIps: ["10.0.0.2"], protocol: HBONE, services: {}${policies} }
`;
const caller = { trustDomain: "cluster.local", namespace: "ns", serviceAccount: "client" };
const selectorDeny = `policies:
- { name: deny, namespace: ns, scope: WorkloadSelector, action: Deny, dryRun: false, rules: [[[ { principals: [ { Exact: cluster.local/ns/ns/sa/client } ] } ]]] }
`;

function open(mesh: ReturnType<typeof meshOf>, fields: Partial<TrackedInbound> = {}) {
  const clock = new ManualClock();
  const table = new ConnectionTable({ mesh, clock }, 5000);
  const closed: Error[] = [];
  const connection: TrackedInbound = {
    podUid: "pod-1",
    source: { ip: "10.0.0.1", port: 4000 },
    originalDestination: undefined,
    actualDestination: { ip: "10.0.0.2", port: 8080 },
    protocol: "HBONE",
    local: workloadNamed(mesh, "server"),
    facts: { sourceIdentity: caller, sourceIp: "10.0.0.1", destinationIp: "10.0.0.2", destinationPort: 8080 },
    hairpinned: false,
    close: (error) => closed.push(error),
    ...fields,
  };
  const untrack = table.trackInbound(connection);
  return { table, clock, closed, connection, untrack };
}

describe("ConnectionTable", () => {
  it("closes a connection when a selector policy is newly attached to its workload", () => {
    const mesh = meshOf(server() + selectorDeny);
    const { table, closed } = open(mesh);
    table.watch();
    const attached = meshOf(server(", authorizationPolicies: [ns/deny]"));
    mesh.loadStateFile({ workloads: [...attached.workloads()], services: [], policies: [] });
    expect(closed.map((error) => error.message)).toEqual([
      "connection closed due to policy change: explicitly denied by: ns/deny",
    ]);
  });

  it("gives a policy that its workload lists and that has not come 5 s, as a new connection would", async () => {
    const mesh = meshOf(server());
    const { table, clock, closed } = open(mesh);
    table.watch();
    const attached = meshOf(server(", authorizationPolicies: [ns/deny]"));
    mesh.loadStateFile({ workloads: [...attached.workloads()], services: [], policies: [] });
    await clock.advance(4999);
    expect(closed).toEqual([]);
    await clock.advance(1);
    expect(closed.map((error) => error.message)).toEqual([
      "connection closed due to policy change: policy ns/deny not received",
    ]);
  });

  it("lets go on what a late policy allows", async () => {
    const mesh = meshOf(server());
    const { table, clock, closed } = open(mesh);
    table.watch();
    const attached = meshOf(server(", authorizationPolicies: [ns/deny]"));
    mesh.loadStateFile({ workloads: [...attached.workloads()], services: [], policies: [] });
    const allowing = meshOf(server() + selectorDeny.replace("sa/client", "sa/other"));
    mesh.loadStateFile({ workloads: [], services: [], policies: [...allowing.policies()] });
    await clock.advance(10_000);
    expect(closed).toEqual([]);
  });

  it("leaves connections alone that the new policy does not name", () => {
    const mesh = meshOf(server());
    const identity = { ...caller, serviceAccount: "other" };
    const facts = { sourceIdentity: identity, sourceIp: "10.0.0.1", destinationIp: "10.0.0.2", destinationPort: 8080 };
    const { table, closed } = open(mesh, { facts });
    table.watch();
    const deny = meshOf(server() + selectorDeny.replace("WorkloadSelector", "Namespace"));
    mesh.loadStateFile({ workloads: [], services: [], policies: [...deny.policies()] });
    expect(closed).toEqual([]);
  });

  it("decides by what was last known of a workload that is gone", () => {
    const mesh = meshOf(server());
    const { table, closed } = open(mesh);
    table.watch();
    const removed = ["Kubernetes//Pod/ns/server"];
    mesh.applyAddress({ upserts: [], removed, undecodable: [], firstOfStream: false });
    expect(closed).toEqual([]);
    const deny = meshOf(server() + selectorDeny.replace("WorkloadSelector", "Namespace"));
    mesh.loadStateFile({ workloads: [], services: [], policies: [...deny.policies()] });
    expect(closed).toHaveLength(1);
  });

  it("does not decide again what has been untracked", () => {
    const mesh = meshOf(server());
    const { table, closed, untrack } = open(mesh);
    table.watch();
    untrack();
    expect(table.size).toBe(0);
    const deny = meshOf(server() + selectorDeny.replace("WorkloadSelector", "Namespace"));
    mesh.loadStateFile({ workloads: [], services: [], policies: [...deny.policies()] });
    expect(closed).toEqual([]);
  });

  it("closes the connections of one pod, or of all", () => {
    const mesh = meshOf(server());
    const { table, closed } = open(mesh);
    table.closeAll(new Error("other pod"), "pod-2");
    expect(closed).toEqual([]);
    table.closeAll(new Error("all"));
    expect(closed).toHaveLength(1);
  });

  it("shows tunnels of one session to one service as one row, in ztunnel's words", () => {
    const mesh = meshOf(server());
    const { table, connection } = open(mesh, { originalDestination: "web.ns.svc.cluster.local" });
    table.trackInbound({ ...connection });
    table.trackOutbound({
      podUid: "pod-1",
      source: { ip: "10.0.0.2", port: 5000 },
      originalDestination: { ip: "10.1.0.1", port: 80 },
      actualDestination: { ip: "10.0.0.3", port: 15_008 },
      protocol: "HBONE",
      close() {},
    });
    expect(table.dump().get("pod-1")).toEqual({
      inbound: [
        {
          src: "10.0.0.1:4000",
          originalDst: "web.ns.svc.cluster.local",
          actualDst: "10.0.0.2:8080",
          protocol: "HBONE",
        },
      ],
      outbound: [{ src: "10.0.0.2:5000", originalDst: "10.1.0.1:80", actualDst: "10.0.0.3:15008", protocol: "HBONE" }],
    });
    expect(table.dump().get("pod-2")).toBeUndefined();
  });
});
