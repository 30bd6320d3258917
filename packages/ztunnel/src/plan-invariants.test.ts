// What must hold whatever the mesh looks like: nothing goes round a waypoint, nothing that can be tunnelled goes in clear.
import type { Decision } from "@hairpin/shared/authz";
import { MeshState } from "@hairpin/shared/discovery";
import type { Enforcement, GatewayAddress, Identity, WaypointBinding } from "@hairpin/shared/model";
import { equalIdentity } from "@hairpin/shared/model";
import { systemClock } from "@hairpin/shared/process";
import { aService, aWorkload } from "@hairpin/testkit";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { planInbound } from "./inbound/plan-connection.ts";
import { planOutbound } from "./outbound/plan-connection.ts";

const waypointAddress: GatewayAddress = {
  destination: { kind: "address", address: { network: "", ip: "10.0.9.1" } },
  hboneMtlsPort: 15_008,
};
const source = aWorkload({ uid: "client", name: "client", serviceAccount: "client", addresses: ["10.0.0.1"] });

const binding = fc.option(
  fc.record<WaypointBinding>({
    scope: fc.constantFrom("NONE", "OBJECT", "NAMESPACE"),
    refuseReason: fc.constantFrom("", "", "not ready"),
    waypoint: fc.constant("ns/w"),
  }),
  { nil: undefined },
);
const waypoint = fc.constantFrom(undefined, waypointAddress);

const meshes = fc.record({
  endpointBinding: binding,
  endpointWaypoint: waypoint,
  serviceBinding: binding,
  serviceWaypoint: waypoint,
  captured: fc.boolean(),
  waypointKnown: fc.boolean(),
  serviceHasEndpoint: fc.boolean(),
  toService: fc.boolean(),
});

describe("planOutbound, whatever the mesh", () => {
  it("goes through the waypoint that covers the destination, or not at all; and never in clear to a captured pod", () => {
    fc.assert(
      fc.property(meshes, (shape) => {
        const services = shape.serviceHasEndpoint
          ? new Map([["ns/web.ns.svc.cluster.local", [{ servicePort: 80, targetPort: 8080 }]]])
          : new Map();
        const endpoint = aWorkload({
          uid: "server",
          addresses: ["10.0.0.2"],
          tunnelProtocol: shape.captured ? "HBONE" : "NONE",
          waypoint: shape.endpointWaypoint,
          waypointBinding: shape.endpointBinding,
          services,
        });
        const service = aService({
          vips: [{ network: "", ip: "10.1.0.1" }],
          waypoint: shape.serviceWaypoint,
          waypointBinding: shape.serviceBinding,
        });
        const instance = aWorkload({ uid: "waypoint", serviceAccount: "waypoint", addresses: ["10.0.9.1"] });
        const mesh = new MeshState({ clock: systemClock });
        const workloads = [source, endpoint, ...(shape.waypointKnown ? [instance] : [])];
        mesh.loadStateFile({ workloads, services: [service], policies: [] });
        const plan = planOutbound(
          {
            source,
            sourceIp: "10.0.0.1",
            destination: shape.toService ? { ip: "10.1.0.1", port: 80 } : { ip: "10.0.0.2", port: 8080 },
            network: "",
            illegalPorts: new Set(),
            random: () => 0,
          },
          mesh,
        );
        if (plan.kind === "tcp") expect(shape.captured).toBe(false);
        if (isCovered(shape)) {
          if (plan.kind !== "reject") expect(plan).toMatchObject({ kind: "hbone", via: "waypoint" });
          const authority = shape.toService ? "10.1.0.1:80" : "10.0.0.2:8080";
          if (plan.kind === "hbone")
            expect(plan).toMatchObject({ authority, address: { ip: "10.0.9.1", port: 15_008 } });
        }
        if (plan.kind === "hbone") expect(plan.expectedIdentities.length).toBeGreaterThan(0);
      }),
      { numRuns: 2000 },
    );
  });
});

type Shape = typeof meshes extends fc.Arbitrary<infer T> ? T : never;

/** By the words of the design, slowly. */
function isCovered(shape: Shape): boolean {
  const endpointCovered = shape.endpointWaypoint !== undefined || (shape.endpointBinding?.refuseReason ?? "") !== "";
  if (!shape.toService) return endpointCovered;
  const serviceCovered = shape.serviceWaypoint !== undefined || (shape.serviceBinding?.refuseReason ?? "") !== "";
  // A service's own word is final, also if it says nothing; the destination enforces its own rule in any case.
  if (serviceCovered || shape.serviceBinding?.scope === "OBJECT") return serviceCovered;
  return shape.serviceHasEndpoint && shape.endpointBinding?.scope === "OBJECT" && endpointCovered;
}

describe("planInbound, whatever the caller", () => {
  const identities: readonly Identity[] = ["waypoint", "client", "ztunnel"].map((serviceAccount) => ({
    trustDomain: "cluster.local",
    namespace: "ns",
    serviceAccount,
  }));
  const enforcement = fc.option(
    fc.record({
      mode: fc.constantFrom("hairpin" as const, "refuse" as const),
      acceptedIdentities: fc.subarray([...identities]),
    }),
    { nil: undefined },
  );

  it("delivers only what policy allows, and past an enforced waypoint only what it accepts", () => {
    fc.assert(
      fc.property(
        enforcement,
        fc.option(fc.constantFrom(...identities), { nil: undefined }),
        fc.boolean(),
        fc.array(fc.constantFrom("10.0.0.2:8080", "10.0.0.3:1", "nonsense")),
        (rule, peerIdentity, allowed, hairpinFor) => {
          const enforced: Enforcement | undefined = rule && {
            ...rule,
            hairpinTo: waypointAddress,
            hairpinIdentities: [],
            waypoint: "ns/w",
            reason: "not ready",
          };
          const local = aWorkload({ addresses: ["10.0.0.2"], enforcement: enforced });
          const address = { ip: "10.0.0.2", port: 8080 };
          const target = { kind: "found" as const, address, service: undefined, proxyDestination: undefined };
          const decision: Decision = { allowed, reason: "as the test says", dryRun: [] };
          const plan = planInbound({ local, peerIdentity, target, hairpinFor }, decision);
          const accepted =
            rule === undefined || rule.acceptedIdentities.some((one) => equalIdentity(one, peerIdentity));
          if (!allowed) expect(plan).toMatchObject({ kind: "refuse", status: 401 });
          else expect(plan.kind === "deliver").toBe(accepted);
          if (plan.kind === "hairpin") expect(hairpinFor).not.toContain("10.0.0.2:8080");
        },
      ),
      { numRuns: 2000 },
    );
  });
});
