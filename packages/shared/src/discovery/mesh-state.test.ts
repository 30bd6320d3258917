import { describe, expect, it } from "vitest";
import type { ConnectionFacts } from "../authz/index.ts";
import { istioSecurity } from "../api/index.ts";
import { create } from "@bufbuild/protobuf";
import type { Enforcement } from "../model/index.ts";
import type { MeshChange } from "./mesh-change.ts";
import type { MeshState } from "./mesh-state.ts";
import { aPolicy, aService, aWorkload, createState, gatewayByIp, put } from "./model.test-support.ts";
import { policyToWire, serviceToWire } from "./to-wire.ts";

const facts: ConnectionFacts = { sourceIp: "10.0.0.9", destinationIp: "10.0.0.1", destinationPort: 80 };
const noRest = { removed: [], undecodable: [], firstOfStream: false };
const key = "ns/web.ns.svc";
const ports = [{ servicePort: 80, targetPort: 8080 }];
const serving = new Map([[key, ports]]);

describe("MeshState: workloads", () => {
  it("finds a workload by uid, IP, pod and host name, and no longer after its removal", () => {
    const workload = aWorkload({ hostname: "Web.example.com" });
    const state = createState({ workloads: [workload] });
    const pod = { name: "web-1", namespace: "ns", serviceAccount: "web" };
    const lookups = (): unknown[] => [
      state.findWorkloadByUid(workload.uid),
      state.findWorkloadByIp("", "10.0.0.1"),
      state.findWorkloadByPod(pod),
      state.findWorkloadByHostname({ namespace: "ns", hostname: "web.EXAMPLE.com" }),
    ];
    expect(lookups()).toEqual([workload, workload, workload, workload]);
    put(state, { removed: [workload.uid] });
    expect(lookups()).toEqual([undefined, undefined, undefined, undefined]);
  });

  it("keeps networks apart", () => {
    const state = createState({ workloads: [aWorkload({ network: "other" })] });
    expect(state.findWorkloadByIp("", "10.0.0.1")).toBeUndefined();
    expect(state.findWorkloadByIp("other", "10.0.0.1")?.name).toBe("web-1");
  });

  it("follows a workload that changes its address", () => {
    const state = createState({ workloads: [aWorkload()] });
    put(state, { workloads: [aWorkload({ addresses: ["10.0.0.2", "fd00::2"] })] });
    expect(state.findWorkloadByIp("", "10.0.0.1")).toBeUndefined();
    expect(state.findWorkloadByIp("", "fd00::2")?.name).toBe("web-1");
  });

  it("never finds host-network workloads by IP", () => {
    const state = createState({ workloads: [aWorkload({ hostNetwork: true })] });
    expect(state.findWorkloadByIp("", "10.0.0.1")).toBeUndefined();
    expect(state.findWorkloadByUid("Kubernetes//Pod/ns/web-1")).toBeDefined();
  });

  it("prefers, for a shared IP, a pod, then HBONE, then the first that came", () => {
    const entry = aWorkload({ uid: "c/networking.istio.io/WorkloadEntry/ns/a", tunnelProtocol: "NONE" });
    const second = aWorkload({ uid: "c/networking.istio.io/WorkloadEntry/ns/b", tunnelProtocol: "NONE" });
    const hbone = aWorkload({ uid: "c/networking.istio.io/WorkloadEntry/ns/h" });
    const pod = aWorkload({ uid: "c//Pod/ns/p", tunnelProtocol: "NONE" });
    const state = createState();
    const expectations = [entry, second, hbone, pod].map((workload) => {
      put(state, { workloads: [workload] });
      return state.findWorkloadByIp("", "10.0.0.1")?.uid;
    });
    expect(expectations).toEqual([entry.uid, entry.uid, hbone.uid, pod.uid]);
    put(state, { removed: [pod.uid, hbone.uid, entry.uid] });
    expect(state.findWorkloadByIp("", "10.0.0.1")?.uid).toBe(second.uid);
  });

  it("takes the pod of its own cluster among pods of one name", () => {
    const foreign = aWorkload({ uid: "west//Pod/ns/web-1", clusterId: "west" });
    const own = aWorkload({ uid: "east//Pod/ns/web-1", clusterId: "east" });
    const state = createState({ workloads: [foreign, own] }, { clusterId: "east" });
    expect(state.findWorkloadByPod({ name: "web-1", namespace: "ns", serviceAccount: "web" })?.clusterId).toBe("east");
  });

  it("waits for a pod that is not known yet, and gives up after the time", async () => {
    const state = createState();
    const pod = { name: "web-1", namespace: "ns", serviceAccount: "web" };
    const found = state.fetchWorkloadByPod(pod, 5_000);
    const never = state.fetchWorkloadByPod({ ...pod, name: "other" }, 5_000);
    put(state, { workloads: [aWorkload()] });
    expect((await found)?.name).toBe("web-1");
    state.clock.advance(5_000);
    expect(await never).toBeUndefined();
    expect(state.clock.pending).toBe(0);
  });
});

describe("MeshState: services", () => {
  it("finds a service by virtual IP, host name in any case, and key, and no longer after its removal", () => {
    const service = aService();
    const state = createState({ services: [service] });
    const lookups = (): unknown[] => [
      state.findServiceByVip("", "10.96.0.1", "x"),
      state.findServiceByHostname("WEB.ns.svc", "x"),
      state.findService(key),
    ];
    expect(lookups()).toEqual([service, service, service]);
    put(state, { removed: [key] });
    expect(lookups()).toEqual([undefined, undefined, undefined]);
  });

  it("ignores removals of names that are neither", () => {
    const state = createState({ services: [aService()], workloads: [aWorkload()] });
    put(state, { removed: ["ns/web.ns.svc/more", "nothing", ""] });
    expect(state.findService(key)).toBeDefined();
  });

  it("lets go of an address that a service no longer has", () => {
    const state = createState({ services: [aService()] });
    put(state, { services: [aService({ vips: [{ network: "", ip: "10.96.0.2" }] })] });
    expect(state.findServiceByVip("", "10.96.0.1", "ns")).toBeUndefined();
    expect(state.findServiceByVip("", "10.96.0.2", "ns")).toBeDefined();
  });

  const entry = (namespace: string, more: Partial<ReturnType<typeof aService>> = {}): ReturnType<typeof aService> =>
    aService({ namespace, hostname: "shared.example.com", canonical: false, ...more });

  it.each([
    {
      name: "the client's own namespace first",
      services: [entry("a"), entry("b"), entry("c", { canonical: true })],
      client: "b",
      picked: "b",
    },
    {
      name: "then the canonical one",
      services: [entry("a"), entry("b"), entry("c", { canonical: true })],
      client: "x",
      picked: "c",
    },
    { name: "then the first that came", services: [entry("b"), entry("a")], client: "x", picked: "b" },
    {
      name: "not one that is hidden from the client",
      services: [entry("a", { visibility: "NAMESPACE", canonical: true }), entry("b")],
      client: "x",
      picked: "b",
    },
    {
      name: "a hidden one for its own namespace",
      services: [entry("b", { canonical: true }), entry("a", { visibility: "NAMESPACE" })],
      client: "a",
      picked: "a",
    },
    {
      name: "none when all are hidden",
      services: [entry("a", { visibility: "NAMESPACE" })],
      client: "x",
      picked: undefined,
    },
  ])("picks of services that share an address: $name", ({ services, client, picked }) => {
    const state = createState({ services });
    expect(state.findServiceByVip("", "10.96.0.1", client)?.namespace).toBe(picked);
    expect(state.findServiceByHostname("shared.example.com", client)?.namespace).toBe(picked);
  });

  it("keeps the place of a service that is updated", () => {
    const state = createState({ services: [entry("a"), entry("b")] });
    put(state, { services: [entry("a", { ports: [] })] });
    expect(state.findServiceByVip("", "10.96.0.1", "x")?.namespace).toBe("a");
    put(state, { removed: ["a/shared.example.com"] });
    expect(state.findServiceByVip("", "10.96.0.1", "x")?.namespace).toBe("b");
  });

  const range = (namespace: string, ip: string, prefixLength: number, more = {}): ReturnType<typeof aService> =>
    aService({
      namespace,
      hostname: `${namespace}${prefixLength}.x`,
      vips: [],
      canonical: false,
      cidrVips: [{ network: "", cidr: { ip, prefixLength } }],
      ...more,
    });

  it.each([
    {
      name: "the longest prefix",
      services: [range("a", "10.0.0.0", 8), range("b", "10.1.0.0", 16)],
      client: "x",
      picked: "b",
    },
    {
      name: "the own namespace before a longer prefix",
      services: [range("a", "10.0.0.0", 8), range("b", "10.1.0.0", 16)],
      client: "a",
      picked: "a",
    },
    {
      name: "the longest prefix before canonical",
      services: [range("a", "10.0.0.0", 8, { canonical: true }), range("b", "10.1.0.0", 16)],
      client: "x",
      picked: "b",
    },
    {
      name: "canonical among equals",
      services: [range("a", "10.1.0.0", 16), range("b", "10.1.0.0", 16, { canonical: true })],
      client: "x",
      picked: "b",
    },
    {
      name: "the first among equals",
      services: [range("b", "10.1.0.0", 16), range("a", "10.1.0.0", 16)],
      client: "x",
      picked: "b",
    },
    {
      name: "an exact address before every range",
      services: [
        range("a", "10.1.2.3", 31, { canonical: true }),
        aService({ namespace: "e", vips: [{ network: "", ip: "10.1.2.3" }], canonical: false }),
      ],
      client: "a",
      picked: "e",
    },
    { name: "everything, by a /0", services: [range("a", "0.0.0.0", 0)], client: "x", picked: "a" },
    { name: "no range of the other family", services: [range("a", "::", 0)], client: "x", picked: undefined },
    {
      name: "no range of another network",
      services: [
        range("a", "10.0.0.0", 8, { cidrVips: [{ network: "n", cidr: { ip: "10.0.0.0", prefixLength: 8 } }] }),
      ],
      client: "x",
      picked: undefined,
    },
  ])("ranges: $name", ({ services, client, picked }) => {
    const state = createState({ services });
    expect(state.findServiceByVip("", "10.1.2.3", client)?.namespace).toBe(picked);
    put(state, { removed: services.map((service) => `${service.namespace}/${service.hostname}`) });
    expect(state.findServiceByVip("", "10.1.2.3", client)).toBeUndefined();
  });

  it("resolves an address to a workload first, and to balance to a service first", () => {
    const state = createState({
      workloads: [aWorkload()],
      services: [aService({ vips: [{ network: "", ip: "10.0.0.1" }] })],
    });
    expect(state.findAddress("", "10.0.0.1", "ns")?.kind).toBe("workload");
    expect(state.findUpstream("", "10.0.0.1", "ns")?.kind).toBe("service");
    put(state, { removed: [key] });
    expect(state.findUpstream("", "10.0.0.1", "ns")?.kind).toBe("workload");
  });

  it("never takes a pod's own address for part of a service's range", () => {
    const everything = range("a", "10.0.0.0", 8);
    const state = createState({ workloads: [aWorkload()], services: [everything] });
    expect(state.findUpstream("", "10.0.0.1", "a")?.kind).toBe("workload");
    expect(state.findUpstream("", "10.0.0.2", "a")?.kind).toBe("service");
    const entry = aWorkload({ uid: "c/networking.istio.io/WorkloadEntry/ns/vm", addresses: ["10.0.0.3"] });
    const external = createState({ workloads: [entry], services: [everything] });
    expect(external.findUpstream("", "10.0.0.3", "a")?.kind).toBe("service");
  });
});

describe("MeshState: endpoints", () => {
  const uidsOf = (state: MeshState): string[] => {
    const service = state.findService(key);
    return service ? state.endpointsOf(service).map((endpoint) => endpoint.workload.uid) : [];
  };
  const one = aWorkload({ services: serving });
  const two = aWorkload({ uid: "Kubernetes//Pod/ns/web-2", services: serving });

  it("stages endpoints that come before their service, and again when the service goes", () => {
    const state = createState({ workloads: [one] });
    expect(Object.keys(state.dumpState().stagedServices)).toEqual([key]);
    put(state, { services: [aService()] });
    expect(uidsOf(state)).toEqual([one.uid]);
    expect(state.dumpState().stagedServices).toEqual({});
    put(state, { removed: [key] });
    expect(Object.keys(state.dumpState().stagedServices)).toEqual([key]);
    put(state, { services: [aService()] });
    expect(uidsOf(state)).toEqual([one.uid]);
  });

  it("keeps endpoints over a service update, and takes them out with their workload or membership", () => {
    const state = createState({ services: [aService()], workloads: [one, two] });
    put(state, { services: [aService({ ports: [] })] });
    expect(uidsOf(state)).toEqual([one.uid, two.uid]);
    put(state, { workloads: [{ ...one, services: new Map() }] });
    expect(uidsOf(state)).toEqual([two.uid]);
    put(state, { removed: [two.uid] });
    expect(uidsOf(state)).toEqual([]);
  });

  it("leaves unhealthy endpoints out unless the service allows them, whichever changes", () => {
    const state = createState({ services: [aService()], workloads: [{ ...one, healthy: false }, two] });
    expect(uidsOf(state)).toEqual([two.uid]);
    const allowing = { ...aService().loadBalancing, allowUnhealthy: true };
    put(state, { services: [aService({ loadBalancing: allowing })] });
    expect(uidsOf(state)).toEqual([one.uid, two.uid]);
    put(state, { services: [aService()] });
    put(state, { workloads: [one, { ...two, healthy: false }] });
    expect(uidsOf(state)).toEqual([one.uid]);
  });
});

describe("MeshState: policies", () => {
  it("applies mesh-wide policies, those of the destination's namespace, and those it lists", () => {
    const state = createState({
      policies: [
        aPolicy({ name: "global", namespace: "istio-system", scope: "GLOBAL" }),
        aPolicy({ name: "here", scope: "NAMESPACE" }),
        aPolicy({ name: "elsewhere", namespace: "other", scope: "NAMESPACE" }),
        aPolicy({ name: "listed" }),
        aPolicy({ name: "unlisted" }),
      ],
    });
    const { policies, missing } = state.policiesFor(aWorkload({ authorizationPolicies: ["ns/listed", "ns/here"] }));
    expect(policies.map((policy) => policy.name)).toEqual(["global", "here", "listed"]);
    expect(missing).toEqual([]);
  });

  it("follows a policy that changes its scope or goes", () => {
    const workload = aWorkload();
    const state = createState({ policies: [aPolicy({ scope: "GLOBAL" })] });
    expect(state.authorize(workload, facts).allowed).toBe(false);
    put(state, { policies: [aPolicy({ scope: "WORKLOAD_SELECTOR" })] });
    expect(state.authorize(workload, facts).allowed).toBe(true);
    put(state, { policies: [aPolicy({ scope: "NAMESPACE" })] });
    expect(state.authorize(workload, facts).allowed).toBe(false);
    const state2 = state.applyAuthorization({ ...noRest, upserts: [], removed: ["ns/policy"] });
    expect(state2.size).toBe(0);
    expect(state.authorize(workload, facts).allowed).toBe(true);
  });

  it("refuses while a listed policy is missing, unless a held DENY refuses anyway", () => {
    const workload = aWorkload({ authorizationPolicies: ["ns/late"] });
    const state = createState({ workloads: [workload] });
    expect(state.policiesFor(workload)).toMatchObject({ policies: [], missing: ["ns/late"] });
    expect(state.authorize(workload, facts)).toEqual({
      allowed: false,
      reason: "policy ns/late not received",
      policy: "ns/late",
      policyMissing: true,
      dryRun: [],
    });
    put(state, { policies: [aPolicy({ name: "deny", scope: "NAMESPACE" })] });
    expect(state.authorize(workload, facts)).toMatchObject({ policy: "ns/deny", rule: 0 });
  });

  it("decides by the workload as it is now, not as the connection found it", () => {
    const then = aWorkload();
    const state = createState({ workloads: [then], policies: [aPolicy()] });
    expect(state.authorize(then, facts).allowed).toBe(true);
    put(state, { workloads: [aWorkload({ authorizationPolicies: ["ns/policy"] })] });
    expect(state.authorize(then, facts).allowed).toBe(false);
  });

  it("lets a new connection wait for a missing policy and decides when it comes", async () => {
    const workload = aWorkload({ authorizationPolicies: ["ns/late"] });
    const state = createState({ workloads: [workload] });
    const decision = state.authorizeWhenKnown(workload, facts);
    put(state, { policies: [aPolicy({ name: "late", action: "ALLOW" })] });
    expect(await decision).toMatchObject({ allowed: true, policy: "ns/late" });
    expect(state.clock.pending).toBe(0);
  });

  it("lets it go on when the workload no longer lists the policy", async () => {
    const workload = aWorkload({ authorizationPolicies: ["ns/late"] });
    const state = createState({ workloads: [workload] });
    const decision = state.authorizeWhenKnown(workload, facts);
    put(state, { workloads: [aWorkload()] });
    expect(await decision).toMatchObject({ allowed: true });
  });

  it("refuses after five seconds", async () => {
    const workload = aWorkload({ authorizationPolicies: ["ns/late"] });
    const state = createState({ workloads: [workload] });
    const decision = state.authorizeWhenKnown(workload, facts);
    state.clock.advance(4_999);
    expect(state.clock.pending).toBe(1);
    state.clock.advance(1);
    expect(await decision).toMatchObject({ allowed: false, reason: "policy ns/late not received" });
  });

  const unreadable = (fields: Partial<istioSecurity.Authorization> = {}): istioSecurity.Authorization => {
    const wire = policyToWire(aPolicy());
    wire.action = 7 as istioSecurity.Action;
    return Object.assign(wire, fields);
  };
  const broken = (resource = unreadable()): Parameters<MeshState["applyAuthorization"]>[0] => ({
    ...noRest,
    upserts: [{ name: "ns/policy", version: "2", resource }],
  });

  it.each([
    { action: "DENY" as const, reason: "explicitly denied by: ns/policy" },
    { action: "ALLOW" as const, reason: "allowed by: ns/policy" },
  ])("keeps the last good version of a policy whose update cannot be read ($action)", ({ action, reason }) => {
    const workload = aWorkload({ authorizationPolicies: ["ns/policy"] });
    const state = createState({ policies: [aPolicy({ action })], workloads: [workload] });
    expect(state.applyAuthorization(broken()).get("ns/policy")).toBe("action: unknown value 7");
    expect(state.authorize(workload, facts)).toMatchObject({ reason });
    state.applyAuthorization({ ...noRest, upserts: [], undecodable: [{ name: "ns/policy", reason: "not protobuf" }] });
    expect(state.authorize(workload, facts)).toMatchObject({ reason });
  });

  it("denies those whom a policy that never could be read may concern, and nobody once it is readable or gone", () => {
    const listing = aWorkload({ authorizationPolicies: ["ns/policy"] });
    const state = createState();
    const allowed = (workload = listing): boolean => state.authorize(workload, facts).allowed;
    state.applyAuthorization(broken());
    expect(state.authorize(listing, facts).reason).toBe("policy ns/policy could not be read: action: unknown value 7");
    expect(allowed(aWorkload())).toBe(true);
    state.applyAuthorization(broken(unreadable({ scope: istioSecurity.Scope.NAMESPACE })));
    expect([allowed(aWorkload()), allowed(aWorkload({ namespace: "other" }))]).toEqual([false, true]);
    state.applyAuthorization(broken(unreadable({ scope: istioSecurity.Scope.GLOBAL })));
    expect(allowed(aWorkload({ namespace: "other" }))).toBe(false);
    put(state, { policies: [aPolicy({ action: "ALLOW", scope: "GLOBAL" })] });
    expect(allowed(aWorkload({ namespace: "other" }))).toBe(true);
    state.applyAuthorization({ ...noRest, upserts: [], removed: ["ns/policy"] });
    expect(allowed(aWorkload())).toBe(true);
  });

  it("denies a namespace, or the mesh, for bytes that are no policy at all", () => {
    const undecodable = (name: string): Parameters<MeshState["applyAuthorization"]>[0] => ({
      ...noRest,
      upserts: [],
      undecodable: [{ name, reason: "not protobuf" }],
    });
    const state = createState();
    state.applyAuthorization(undecodable("ns/policy"));
    expect(state.authorize(aWorkload(), facts).allowed).toBe(false);
    expect(state.authorize(aWorkload({ namespace: "other" }), facts).allowed).toBe(true);
    state.applyAuthorization(undecodable("istio-system/policy"));
    expect(state.authorize(aWorkload({ namespace: "other" }), facts).allowed).toBe(false);
  });

  it("forgets a policy it could not read when a new stream's first answer no longer has it", () => {
    const state = createState();
    state.applyAuthorization(broken(unreadable({ scope: istioSecurity.Scope.GLOBAL })));
    state.applyAuthorization({ ...noRest, upserts: [] });
    expect(state.authorize(aWorkload(), facts).allowed).toBe(false);
    state.applyAuthorization({ ...noRest, upserts: [], firstOfStream: true });
    expect(state.authorize(aWorkload(), facts).allowed).toBe(true);
  });

  it("does not wait for a policy that came and cannot be read", async () => {
    const workload = aWorkload({ authorizationPolicies: ["ns/policy"] });
    const state = createState({ workloads: [workload] });
    state.applyAuthorization(broken());
    expect(await state.authorizeWhenKnown(workload, facts)).toMatchObject({ allowed: false, policyMissing: true });
  });
});

describe("MeshState: changes", () => {
  function recorded(state: MeshState): MeshChange[] {
    const changes: MeshChange[] = [];
    state.onChange((change) => void changes.push(change));
    return changes;
  }

  it("tells what one update changed, and nothing when it changed nothing", () => {
    const state = createState();
    const changes = recorded(state);
    put(state, { policies: [aPolicy()] });
    put(state, { removed: ["ns/unknown"] });
    put(state, { workloads: [aWorkload({ services: serving })], services: [aService()] });
    expect(changes).toHaveLength(2);
    expect([...(changes[0]?.policies ?? [])]).toEqual(["ns/policy"]);
    expect(changes[1]).toMatchObject({ workloads: new Set(["Kubernetes//Pod/ns/web-1"]), services: new Set([key]) });
  });

  const enforcement: Enforcement = {
    mode: "hairpin",
    acceptedIdentities: [],
    hairpinTo: gatewayByIp("10.0.0.5"),
    hairpinIdentities: [],
    waypoint: "ns/waypoint",
  };

  it.each([
    { name: "a policy newly attached", after: aWorkload({ authorizationPolicies: ["ns/p"] }), inbound: true },
    { name: "enforcement that begins", after: aWorkload({ enforcement }), inbound: true },
    { name: "something else", after: aWorkload({ node: "node-2" }), inbound: false },
  ])("says whether open inbound connections must be decided again: $name", ({ after, inbound }) => {
    const state = createState({ workloads: [aWorkload()] });
    const changes = recorded(state);
    put(state, { workloads: [after] });
    expect(changes.at(-1)?.inboundRules.has(after.uid)).toBe(inbound);
  });

  it("tells removed workloads, and stops when the listener is taken off", () => {
    const state = createState({ workloads: [aWorkload()] });
    const changes: MeshChange[] = [];
    const unsubscribe = state.onChange((change) => void changes.push(change));
    put(state, { removed: ["Kubernetes//Pod/ns/web-1"] });
    expect([...(changes[0]?.removedWorkloads ?? [])]).toEqual(["Kubernetes//Pod/ns/web-1"]);
    unsubscribe();
    put(state, { workloads: [aWorkload()] });
    expect(changes).toHaveLength(1);
  });
});

describe("MeshState: refused resources", () => {
  it("refuses a resource whose name is not its own, and an address that is neither", () => {
    const state = createState();
    const rejected = state.applyAddress({
      ...noRest,
      upserts: [
        { name: "ns/other", version: "1", resource: serviceToWire(aService()) },
        { name: "ns/empty", version: "1", resource: { ...serviceToWire(aService()), type: { case: undefined } } },
      ],
    });
    expect(rejected).toEqual(
      new Map([
        ["ns/other", 'the resource is named "ns/web.ns.svc" inside'],
        ["ns/empty", "the address holds neither a workload nor a service"],
      ]),
    );
    expect(state.findService(key)).toBeUndefined();
    const policy = create(istioSecurity.AuthorizationSchema, { name: "a", namespace: "ns" });
    expect(
      state.applyAuthorization({ ...noRest, upserts: [{ name: "ns/b", version: "", resource: policy }] }).size,
    ).toBe(1);
  });

  it("keeps the last good workload", () => {
    const state = createState({ workloads: [aWorkload()] });
    const rejected = put(state, { workloads: [aWorkload({ services: new Map([["no-slash", ports]]) })] });
    expect(rejected.get("Kubernetes//Pod/ns/web-1")).toContain('services["no-slash"]');
    expect(state.findWorkloadByIp("", "10.0.0.1")).toBeDefined();
  });
});
