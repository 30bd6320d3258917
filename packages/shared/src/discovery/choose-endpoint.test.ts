import { describe, expect, it } from "vitest";
import type { Service, Workload } from "../model/index.ts";
import { chooseEndpoint, type EndpointRequest, endpointIdentities, weightedPick } from "./choose-endpoint.ts";
import type { ServiceEndpoint } from "./mesh-lookup.ts";
import { aService, aWorkload, createState, gatewayByIp, put } from "./model.test-support.ts";

const key = "ns/web.ns.svc";

function endpoint(name: string, fields: Partial<Workload> = {}, targetPort = 8080): Workload {
  const services = new Map([[key, [{ servicePort: 80, targetPort }]]]);
  return aWorkload({ uid: `Kubernetes//Pod/ns/${name}`, name, services, ...fields });
}

const source = aWorkload({
  uid: "Kubernetes//Pod/ns/client",
  node: "n1",
  network: "net",
  locality: { region: "r", zone: "z", subzone: "s" },
});

function choose(
  workloads: readonly Workload[],
  service: Service = aService(),
  request: Partial<EndpointRequest> = {},
): ReturnType<typeof chooseEndpoint> {
  const state = createState({ workloads, services: [service] });
  return chooseEndpoint(state, { service, servicePort: 80, source, random: () => 0, ...request });
}

/** Names of every endpoint that some draw picks. */
function reachable(workloads: readonly Workload[], service: Service = aService()): string[] {
  const names = new Set<string>();
  for (let i = 0; i < 100; i++) {
    const choice = choose(workloads, service, { random: () => i / 100 });
    if (choice.kind !== "unavailable") names.add(choice.workload.name);
  }
  return [...names].sort();
}

describe("chooseEndpoint: ports", () => {
  it.each([
    { name: "the endpoint's own mapping", workload: endpoint("a", {}, 9000), service: aService(), port: 9000 },
    {
      name: "the service's number when the endpoint has none",
      workload: endpoint("a", {}, 0),
      service: aService(),
      port: 8080,
    },
    {
      name: "the service port of an endpoint with an application tunnel",
      workload: endpoint("a", { applicationTunnel: { protocol: "PROXY", port: 15088 } }, 0),
      service: aService({ ports: [{ servicePort: 80, targetPort: 0, appProtocol: "UNKNOWN" }] }),
      port: 80,
    },
  ])("takes $name", ({ workload, service, port }) => {
    expect(choose([workload], service)).toMatchObject({ kind: "found", port, ip: "10.0.0.1" });
  });

  it("leaves out endpoints that do not know a named port", () => {
    const service = aService({ ports: [{ servicePort: 80, targetPort: 0, appProtocol: "UNKNOWN" }] });
    expect(reachable([endpoint("a", {}, 0), endpoint("b")], service)).toEqual(["b"]);
    expect(choose([endpoint("a", {}, 0)], service)).toMatchObject({
      kind: "unavailable",
      reason: "no healthy upstream",
      detail: "none of 1 endpoints of web.ns.svc serves port 80 from here",
    });
  });

  it("refuses a port that the service does not declare, except for a waypoint whose endpoint has an application tunnel", () => {
    const tunnel = endpoint("a", { applicationTunnel: { protocol: "PROXY", port: 15088 } });
    expect(choose([tunnel], aService(), { servicePort: 15008 })).toMatchObject({
      kind: "unavailable",
      detail: "web.ns.svc has no port 15008",
    });
    expect(choose([tunnel], aService(), { servicePort: 15008, purpose: "waypoint" })).toMatchObject({
      kind: "found",
      port: 15008,
    });
    expect(choose([endpoint("b")], aService(), { servicePort: 15008, purpose: "waypoint" }).kind).toBe("unavailable");
  });
});

describe("chooseEndpoint: who takes part", () => {
  it("says so when there is none, or none healthy", () => {
    const none = { kind: "unavailable", reason: "no healthy upstream", detail: "web.ns.svc has no healthy endpoint" };
    expect(choose([])).toEqual(none);
    expect(choose([endpoint("a", { healthy: false })])).toEqual(none);
  });

  it("draws by capacity, and never one of capacity 0", () => {
    const workloads = [endpoint("a", { capacity: 3 }), endpoint("b"), endpoint("c", { capacity: 0 })];
    const drawn = [0, 0.2, 0.5, 0.74, 0.75, 0.99].map((value) =>
      choose(workloads, aService(), { random: () => value }),
    );
    expect(drawn.map((choice) => choice.kind === "found" && choice.workload.name)).toEqual([
      "a",
      "a",
      "a",
      "a",
      "b",
      "b",
    ]);
  });

  it("leaves out what the caller does not accept", () => {
    const choice = choose([endpoint("a"), endpoint("b")], aService(), { accept: (workload) => workload.name === "b" });
    expect(choice).toMatchObject({ kind: "found", workload: { name: "b" } });
  });

  it("leaves out endpoints without an address, and those behind another network's gateway", () => {
    const workloads = [
      endpoint("bare", { addresses: [] }),
      endpoint("remote", { network: "far", networkGateway: gatewayByIp("1.2.3.4") }),
      endpoint("flat", { network: "far" }),
    ];
    expect(reachable(workloads)).toEqual(["flat"]);
  });
});

describe("chooseEndpoint: locality", () => {
  const lb = (
    mode: Service["loadBalancing"]["mode"],
    ...routingPreferences: Service["loadBalancing"]["routingPreferences"]
  ): Service => aService({ loadBalancing: { mode, routingPreferences, allowUnhealthy: false } });
  const at = (name: string, region: string, zone: string, more: Partial<Workload> = {}): Workload =>
    endpoint(name, { network: "net", locality: { region, zone, subzone: "" }, ...more });
  const sameZone = at("same-zone", "r", "z");
  const sameRegion = at("same-region", "r", "other");
  const far = at("far", "x", "z");
  const otherNetwork = at("other-network", "r", "z", { network: "far" });

  it.each([
    { name: "STANDARD ignores locality", service: aService(), workloads: [sameZone, far], names: ["far", "same-zone"] },
    {
      name: "FAILOVER keeps the best rank",
      service: lb("FAILOVER", "NETWORK", "REGION", "ZONE"),
      workloads: [sameZone, sameRegion, far],
      names: ["same-zone"],
    },
    {
      name: "FAILOVER falls back to the next",
      service: lb("FAILOVER", "NETWORK", "REGION", "ZONE"),
      workloads: [sameRegion, far],
      names: ["same-region"],
    },
    {
      name: "only leading scopes count",
      service: lb("FAILOVER", "REGION", "ZONE"),
      workloads: [far, at("nowhere", "y", "q")],
      names: ["far", "nowhere"],
    },
    {
      name: "the own network beats any locality",
      service: lb("FAILOVER", "NETWORK", "REGION", "ZONE"),
      workloads: [far, otherNetwork],
      names: ["far"],
    },
    {
      name: "another network is ranked by the scopes after NETWORK",
      service: lb("FAILOVER", "NETWORK", "REGION", "ZONE"),
      workloads: [otherNetwork, at("worse", "x", "z", { network: "far" })],
      names: ["other-network"],
    },
    {
      name: "STRICT drops what does not match",
      service: lb("STRICT", "NODE"),
      workloads: [at("here", "", "", { node: "n1" }), at("there", "", "", { node: "n2" })],
      names: ["here"],
    },
    {
      name: "STRICT needs every scope",
      service: lb("STRICT", "NETWORK", "REGION"),
      workloads: [sameZone, far, otherNetwork],
      names: ["same-zone"],
    },
    {
      name: "STRICT may leave none",
      service: lb("STRICT", "NODE"),
      workloads: [at("there", "", "", { node: "n2" })],
      names: [],
    },
  ])("$name", ({ service, workloads, names }) => {
    expect(reachable(workloads, service)).toEqual(names);
  });

  it("says when the load balancing leaves none", () => {
    expect(choose([at("there", "", "", { node: "n2" })], lb("STRICT", "NODE"))).toMatchObject({
      detail: "none of 1 endpoints of web.ns.svc is where its load balancing wants them",
    });
  });
});

describe("chooseEndpoint: address", () => {
  const dual = endpoint("a", { addresses: ["10.0.0.1", "fd00::1"] });

  it.each([
    { name: "the first", service: aService(), originalIp: undefined, ip: "10.0.0.1" },
    { name: "that of the dialled family", service: aService(), originalIp: "fd00::96", ip: "fd00::1" },
    {
      name: "the dialled one if it is the workload's",
      service: aService({ ipFamilies: "IPV4_ONLY" }),
      originalIp: "fd00::1",
      ip: "fd00::1",
    },
    {
      name: "one of the service's families",
      service: aService({ ipFamilies: "IPV6_ONLY" }),
      originalIp: "10.96.0.1",
      ip: "fd00::1",
    },
  ])("takes $name", ({ service, originalIp, ip }) => {
    expect(choose([dual], service, { originalIp })).toMatchObject({ kind: "found", ip });
  });

  it("gives the host name of an endpoint that has no address", () => {
    expect(choose([endpoint("dns", { addresses: [], hostname: "db.example.com" })])).toMatchObject({
      kind: "hostname",
      hostname: "db.example.com",
      port: 8080,
    });
  });

  it("refuses an endpoint without an address of the service's families", () => {
    expect(choose([endpoint("a")], aService({ ipFamilies: "IPV6_ONLY" })).kind).toBe("unavailable");
  });
});

describe("endpointIdentities", () => {
  it("are the workload's and those names of the service that are SPIFFE IDs", () => {
    const service = aService({ subjectAltNames: ["spiffe://td/ns/x/sa/y", "db.example.com", "spiffe://broken"] });
    expect(endpointIdentities(aWorkload(), service).map((identity) => identity.serviceAccount)).toEqual(["web", "y"]);
  });
});

describe("weightedPick", () => {
  it("gives nothing for no values or no weight", () => {
    expect(
      weightedPick(
        [],
        () => 1,
        () => 0,
      ),
    ).toBeUndefined();
    expect(
      weightedPick(
        ["a"],
        () => 0,
        () => 0,
      ),
    ).toBeUndefined();
  });
});

describe("chooseEndpoint: again and again", () => {
  /** A service of many pods, and how often they were looked at. */
  function watched(count: number) {
    let looks = 0;
    const workloads = Array.from({ length: count }, (_, i) =>
      endpoint(`p${i}`, { addresses: [`10.0.${i >> 8}.${i & 255}`] }),
    );
    const state = createState({ workloads, services: [aService()] });
    const endpointsOf = (service: Service) => {
      const endpoints = state.endpointsOf(service);
      return watch(endpoints);
    };
    const lists = new WeakMap<object, readonly ServiceEndpoint[]>();
    const watch = (endpoints: readonly ServiceEndpoint[]): readonly ServiceEndpoint[] => {
      const held = lists.get(endpoints);
      if (held) return held;
      const list = endpoints.map(({ workload, ports }) => ({
        ports,
        get workload() {
          looks++;
          return workload;
        },
      }));
      lists.set(endpoints, list);
      return list;
    };
    const draw = (request: Partial<EndpointRequest> = {}) => {
      const before = looks;
      const service = state.findService(key) ?? aService();
      const choice = chooseEndpoint(
        { endpointsOf },
        { service, servicePort: 80, source, random: () => 0.5, ...request },
      );
      return { choice, looks: looks - before };
    };
    return { state, draw };
  }

  it("looks at all endpoints once, and at a few for each further call", () => {
    const { draw } = watched(1000);
    expect(draw().looks).toBeGreaterThanOrEqual(1000);
    expect(draw().looks).toBeLessThan(10);
    expect(draw({ accept: (workload) => workload.name !== "p0" }).looks).toBeLessThan(10);
  });

  it("keeps callers apart whose network differs, and ports", () => {
    const gateway = gatewayByIp("10.9.9.9");
    const far = endpoint("far", { network: "other", networkGateway: gateway });
    const service = aService({
      ports: [80, 81].map((servicePort) => ({ servicePort, targetPort: 0, appProtocol: "TCP" })),
    });
    const state = createState({ workloads: [far], services: [service] });
    const ask = (network: string, servicePort: number) =>
      chooseEndpoint(state, { service, servicePort, source: { ...source, network }, random: () => 0 }).kind;
    expect([ask("other", 80), ask("net", 80), ask("other", 81), ask("other", 80)]).toEqual([
      "found",
      "unavailable",
      "unavailable",
      "found",
    ]);
  });

  it("sees at once that an endpoint or the service has changed", () => {
    const { state, draw } = watched(2);
    expect(draw({ random: () => 0.9 }).choice).toMatchObject({ workload: { name: "p1" }, port: 8080 });
    put(state, { workloads: [endpoint("p1", { healthy: false })] });
    expect(draw({ random: () => 0.9 }).choice).toMatchObject({ workload: { name: "p0" } });
    put(state, { workloads: [endpoint("p0", {}, 9999)] });
    expect(draw().choice).toMatchObject({ port: 9999 });
    put(state, { services: [aService({ ports: [] })] });
    expect(draw().choice).toMatchObject({ kind: "unavailable" });
  });

  it("draws among the accepted as if there were no others", () => {
    const workloads = Array.from({ length: 20 }, (_, i) => endpoint(`p${i}`, { capacity: i < 10 ? 3 : 1 }));
    const state = createState({ workloads, services: [aService()] });
    const accepted = new Set(["p3", "p15", "p19"]);
    let seed = 1;
    // A small generator with a fixed start: the same draws in every run.
    const random = (): number => (seed = (seed * 48_271) % 2_147_483_647) / 2_147_483_647;
    const counts = new Map<string, number>();
    for (let i = 0; i < 5000; i++) {
      const accept = (workload: Workload): boolean => accepted.has(workload.name);
      const choice = chooseEndpoint(state, { service: aService(), servicePort: 80, source, random, accept });
      if (choice.kind === "found") counts.set(choice.workload.name, (counts.get(choice.workload.name) ?? 0) + 1);
    }
    expect([...counts.keys()].toSorted()).toEqual(["p15", "p19", "p3"]);
    expect((counts.get("p3") ?? 0) / 5000).toBeCloseTo(0.6, 1);
    expect((counts.get("p15") ?? 0) / 5000).toBeCloseTo(0.2, 1);
  });
});
