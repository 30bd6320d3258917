import { describe, expect, it } from "vitest";
import type { GatewayAddress, Service, WaypointBinding, Workload } from "../model/index.ts";
import { aService, aWorkload, createState, gatewayByHostname, gatewayByIp } from "./model.test-support.ts";
import { isWaypointOf, resolveWaypoint, waypointFor } from "./waypoint-for.ts";

const waypointKey = "ns/waypoint.ns.svc";
const waypoint = aWorkload({
  uid: "Kubernetes//Pod/ns/waypoint-1",
  name: "waypoint-1",
  addresses: ["10.0.0.50"],
  tunnelProtocol: "NONE",
  serviceAccount: "waypoint",
  services: new Map([[waypointKey, [{ servicePort: 15008, targetPort: 15008 }]]]),
});
const waypointService = aService({
  name: "waypoint",
  hostname: "waypoint.ns.svc",
  vips: [{ network: "", ip: "10.96.0.50" }],
  ports: [{ servicePort: 15008, targetPort: 15008, appProtocol: "UNKNOWN" }],
  subjectAltNames: ["spiffe://cluster.local/ns/ns/sa/also"],
});
const source = aWorkload({ uid: "Kubernetes//Pod/ns/client", addresses: ["10.0.0.9"], serviceAccount: "client" });
const request = { source, random: () => 0 };

describe("resolveWaypoint", () => {
  const state = createState({ workloads: [waypoint], services: [waypointService] });

  it.each<{ name: string; address: GatewayAddress; service: boolean }>([
    { name: "a service's host name", address: gatewayByHostname("ns", "waypoint.ns.svc"), service: true },
    { name: "a service's address", address: gatewayByIp("10.96.0.50"), service: true },
    { name: "a workload's address", address: gatewayByIp("10.0.0.50"), service: false },
  ])("finds the instance behind $name", ({ address, service }) => {
    const choice = resolveWaypoint(state, address, request);
    expect(choice).toMatchObject({ kind: "found", ip: "10.0.0.50", port: 15008, workload: { uid: waypoint.uid } });
    if (choice.kind !== "found") return;
    expect(choice.service?.name).toBe(service ? "waypoint" : undefined);
    expect(choice.identities.map((identity) => identity.serviceAccount)).toEqual(
      service ? ["waypoint", "also"] : ["waypoint"],
    );
  });

  it("finds a workload by its own host name", () => {
    const vm = { ...waypoint, hostname: "vm.example.com", addresses: ["10.0.0.51", "fd00::51"], services: new Map() };
    const found = resolveWaypoint(createState({ workloads: [vm] }), gatewayByHostname("ns", "vm.example.com"), {
      ...request,
      originalIp: "fd00::1",
    });
    expect(found).toMatchObject({ kind: "found", ip: "fd00::51", port: 15008 });
  });

  it("is unavailable, never bypassed, when the name is unknown", () => {
    expect(resolveWaypoint(state, gatewayByHostname("ns", "gone.ns.svc"), request)).toEqual({
      kind: "unavailable",
      reason: "unknown waypoint",
      detail: "waypoint ns/gone.ns.svc is not known",
    });
  });

  it("is unavailable when no instance is healthy", () => {
    const sick = createState({ workloads: [{ ...waypoint, healthy: false }], services: [waypointService] });
    expect(resolveWaypoint(sick, gatewayByHostname("ns", "waypoint.ns.svc"), request)).toEqual({
      kind: "unavailable",
      reason: "no healthy waypoint",
      detail: "ns/waypoint.ns.svc: waypoint.ns.svc has no healthy endpoint",
    });
  });
});

describe("waypointFor", () => {
  const own = gatewayByIp("10.0.0.1");
  const fromEndpoint = gatewayByIp("10.0.0.2");
  const binding = (scope: WaypointBinding["scope"], refuseReason = ""): WaypointBinding => ({
    scope,
    refuseReason,
    waypoint: "ns/w",
  });
  const through = (address: GatewayAddress): unknown => ({ kind: "through", address });
  const none = { kind: "none" };

  it.each<{ name: string; service: Partial<Service>; endpoint?: Partial<Workload>; covering: unknown }>([
    { name: "none at all", service: {}, covering: none },
    {
      name: "upstream: the service's, never the endpoint's",
      service: { waypoint: own },
      endpoint: { waypoint: fromEndpoint },
      covering: through(own),
    },
    { name: "upstream: not the endpoint's alone", service: {}, endpoint: { waypoint: fromEndpoint }, covering: none },
    {
      name: "(a) the service's own label beats the endpoint's",
      service: { waypoint: own, waypointBinding: binding("OBJECT") },
      endpoint: { waypoint: fromEndpoint, waypointBinding: binding("OBJECT") },
      covering: through(own),
    },
    {
      name: "(b) the endpoint's own beats the service's namespace",
      service: { waypoint: own, waypointBinding: binding("NAMESPACE") },
      endpoint: { waypoint: fromEndpoint, waypointBinding: binding("OBJECT") },
      covering: through(fromEndpoint),
    },
    {
      name: "(c) the service's namespace beats the endpoint's namespace",
      service: { waypoint: own, waypointBinding: binding("NAMESPACE") },
      endpoint: { waypoint: fromEndpoint, waypointBinding: binding("NAMESPACE") },
      covering: through(own),
    },
    {
      name: "(c) without an endpoint",
      service: { waypoint: own, waypointBinding: binding("NAMESPACE") },
      covering: through(own),
    },
    {
      name: "`none` on the service does not hide the endpoint's own",
      service: { waypointBinding: binding("NONE") },
      endpoint: { waypoint: fromEndpoint, waypointBinding: binding("OBJECT") },
      covering: through(fromEndpoint),
    },
    {
      name: "a binding that cannot be used refuses",
      service: { waypointBinding: binding("OBJECT", "not ready") },
      covering: { kind: "refuse", reason: "not ready", waypoint: "ns/w" },
    },
    {
      name: "the endpoint's binding that cannot be used refuses",
      service: { waypoint: own, waypointBinding: binding("NAMESPACE") },
      endpoint: { waypointBinding: binding("OBJECT", "gone") },
      covering: { kind: "refuse", reason: "gone", waypoint: "ns/w" },
    },
  ])("service-addressed: $name", ({ service, endpoint, covering }) => {
    const target = { kind: "service", service: aService(service) } as const;
    const options = { random: () => 0, ...(endpoint && { endpoint: aWorkload(endpoint) }) };
    expect(waypointFor(target, options)).toEqual(covering);
  });

  it.each<{ name: string; workload: Partial<Workload>; covering: unknown }>([
    { name: "the workload's", workload: { waypoint: own }, covering: through(own) },
    { name: "none", workload: {}, covering: none },
    {
      name: "one that cannot be used",
      workload: { waypointBinding: binding("NAMESPACE", "no") },
      covering: { kind: "refuse", reason: "no", waypoint: "ns/w" },
    },
  ])("pod-addressed: $name", ({ workload, covering }) => {
    expect(waypointFor({ kind: "workload", workload: aWorkload(workload) }, { random: () => 0 })).toEqual(covering);
  });

  it("draws weighted waypoints, and falls back to the plain one when none can be drawn", () => {
    const canary = gatewayByIp("10.0.0.3");
    const split = (a: number, b: number): Service =>
      aService({
        waypoint: own,
        weightedWaypoints: [
          { destination: own, weight: a },
          { destination: canary, weight: b },
        ],
      });
    const drawn = (service: Service, value: number): unknown =>
      waypointFor({ kind: "service", service }, { random: () => value });
    expect(drawn(split(90, 10), 0.89)).toEqual(through(own));
    expect(drawn(split(90, 10), 0.91)).toEqual(through(canary));
    expect(drawn(split(0, 0), 0.5)).toEqual(through(own));
  });
});

describe("isWaypointOf", () => {
  const state = createState({ workloads: [waypoint, source], services: [waypointService] });
  const identity = { trustDomain: "cluster.local", namespace: "ns", serviceAccount: "waypoint" };
  const target = {
    kind: "workload",
    workload: aWorkload({ waypoint: gatewayByHostname("ns", "waypoint.ns.svc") }),
  } as const;

  it.each([
    { name: "identity and address of an instance", caller: { identity, ip: "10.0.0.50" }, is: true },
    { name: "its identity from another address", caller: { identity, ip: "10.0.0.9" }, is: false },
    {
      name: "its address with another identity",
      caller: { identity: { ...identity, serviceAccount: "client" }, ip: "10.0.0.50" },
      is: false,
    },
    { name: "no identity", caller: { identity: undefined, ip: "10.0.0.50" }, is: false },
  ])("$name: $is", ({ caller, is }) => {
    expect(isWaypointOf(state, target, { ...caller, namespace: "ns" })).toBe(is);
  });

  it("counts weighted waypoints of a service, and nobody for a target without one", () => {
    const caller = { identity, ip: "10.0.0.50", namespace: "ns" };
    const weighted = aService({ weightedWaypoints: [{ destination: gatewayByIp("10.96.0.50"), weight: 0 }] });
    expect(isWaypointOf(state, { kind: "service", service: weighted }, caller)).toBe(true);
    expect(isWaypointOf(state, { kind: "service", service: aService() }, caller)).toBe(false);
  });
});
