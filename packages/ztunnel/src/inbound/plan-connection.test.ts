import type { Decision } from "@hairpin/shared/authz";
import type { Enforcement, Identity, Workload } from "@hairpin/shared/model";
import { describe, expect, it } from "vitest";
import { meshOf, workloadNamed } from "../testing/mesh.ts";
import { planInbound, reasonToClose } from "./plan-connection.ts";

const server = workloadNamed(
  meshOf(`workloads:
- { uid: c//Pod/ns/server, name: server, namespace: ns, workloadIps: ["10.0.0.2"], protocol: HBONE, services: {} }`),
  "server",
);
const waypoint: Identity = { trustDomain: "cluster.local", namespace: "ns", serviceAccount: "waypoint" };
const client: Identity = { trustDomain: "cluster.local", namespace: "ns", serviceAccount: "client" };
const target = {
  kind: "found" as const,
  address: { ip: "10.0.0.2", port: 8080 },
  service: undefined,
  proxyDestination: undefined,
};
const allowed: Decision = { allowed: true, reason: "no allow policy applies", dryRun: [] };
const denied: Decision = { allowed: false, reason: "explicitly denied by: ns/p", policy: "ns/p", rule: 0, dryRun: [] };
const hairpin: Enforcement = {
  mode: "hairpin",
  acceptedIdentities: [waypoint],
  hairpinTo: { destination: { kind: "hostname", hostname: { namespace: "ns", hostname: "w" } }, hboneMtlsPort: 15_008 },
  hairpinIdentities: [waypoint],
  waypoint: "ns/w",
};
const refusing: Enforcement = { mode: "refuse", acceptedIdentities: [waypoint], waypoint: "ns/w", reason: "not ready" };

const enforced = (enforcement: Enforcement | undefined): Workload => ({ ...server, enforcement });

describe("planInbound", () => {
  const plan = (
    enforcement: Enforcement | undefined,
    peerIdentity: Identity | undefined,
    options: { readonly decision?: Decision; readonly hairpinFor?: readonly string[] } = {},
  ) =>
    planInbound(
      { local: enforced(enforcement), peerIdentity, target, hairpinFor: options.hairpinFor ?? [] },
      options.decision ?? allowed,
    );

  it("delivers what policy allows when no waypoint is enforced", () => {
    expect(plan(undefined, client)).toEqual({ kind: "deliver" });
    expect(plan(undefined, undefined)).toEqual({ kind: "deliver" });
  });

  it.each([undefined, hairpin, refusing])("refuses what policy denies before it looks at waypoints", (enforcement) => {
    expect(plan(enforcement, client, { decision: denied })).toEqual({
      kind: "refuse",
      status: 401,
      reason: "connection closed due to policy rejection: explicitly denied by: ns/p",
      flag: "DENY",
      decision: denied,
    });
  });

  it("delivers what comes from an accepted waypoint, even marked as hairpinned", () => {
    expect(plan(hairpin, waypoint)).toEqual({ kind: "deliver" });
    expect(plan(hairpin, waypoint, { hairpinFor: ["10.0.0.2:8080"] })).toEqual({ kind: "deliver" });
    expect(plan(refusing, waypoint)).toEqual({ kind: "deliver" });
  });

  it.each([
    ["a captured client", client],
    ["a plaintext client", undefined],
    ["another waypoint", { ...waypoint, serviceAccount: "other" }],
    ["the waypoint's name in another trust domain", { ...waypoint, trustDomain: "elsewhere" }],
  ])("hairpins %s", (_who, identity) => {
    expect(plan(hairpin, identity)).toEqual({
      kind: "hairpin",
      to: hairpin.mode === "hairpin" ? hairpin.hairpinTo : undefined,
      expectedIdentities: [waypoint],
      waypoint: "ns/w",
      authority: "10.0.0.2:8080",
    });
  });

  it("refuses while the named waypoint cannot be used", () => {
    expect(plan(refusing, client)).toMatchObject({
      kind: "refuse",
      status: 503,
      reason: "waypoint ns/w cannot be used: not ready",
    });
  });

  it.each([["10.0.0.2:8080"], ["10.0.0.2:9"], ["not an address"]])("refuses a loop marked %s", (mark) => {
    expect(plan(hairpin, client, { hairpinFor: [mark] })).toMatchObject({ kind: "refuse", status: 503 });
  });

  it("hairpins a call that is marked for another pod", () => {
    expect(plan(hairpin, client, { hairpinFor: ["10.0.0.3:8080"] }).kind).toBe("hairpin");
  });
});

describe("reasonToClose", () => {
  const direct = (peerIdentity: Identity | undefined) => ({ peerIdentity, hairpinned: false });

  it("leaves alone what would be let through again", () => {
    expect(reasonToClose(direct(client), enforced(undefined), allowed)).toBeUndefined();
    expect(reasonToClose(direct(waypoint), enforced(hairpin), allowed)).toBeUndefined();
    expect(reasonToClose({ peerIdentity: client, hairpinned: true }, enforced(hairpin), allowed)).toBeUndefined();
  });

  it("closes what policy denies now, whatever way it came", () => {
    expect(reasonToClose(direct(client), enforced(undefined), denied)).toBe("explicitly denied by: ns/p");
    expect(reasonToClose({ peerIdentity: client, hairpinned: true }, enforced(hairpin), denied)).toBeDefined();
  });

  it("closes what did not pass the waypoint when enforcement begins", () => {
    expect(reasonToClose(direct(client), enforced(hairpin), allowed)).toBe("waypoint ns/w is now enforced");
    expect(reasonToClose(direct(undefined), enforced(hairpin), allowed)).toBeDefined();
  });

  it("closes hairpinned connections too when their waypoint may not be used any more", () => {
    expect(reasonToClose({ peerIdentity: client, hairpinned: true }, enforced(refusing), allowed)).toContain(
      "not ready",
    );
  });
});
