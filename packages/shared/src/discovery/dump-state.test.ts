import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { stringify } from "yaml";
import type { JsonObject, StateDump } from "./dump-state.ts";
import { aService, aWorkload, createState, gatewayByHostname, put } from "./model.test-support.ts";
import { parseStateFile } from "./state-file.ts";

/** What a real ztunnel printed for its state (certificates, config and connections left out). */
const sample = JSON.parse(
  readFileSync(new URL("testdata/ztunnel-config-dump.json", import.meta.url), "utf8"),
) as StateDump;

type Endpoint = { readonly port: JsonObject };

/** The dump says the same as a state file, but a workload only names its services: their endpoints know the ports. */
function asStateFile(dump: StateDump): string {
  const portsOf = (uid: unknown, key: string): unknown => {
    const service = dump.services.find((each) => `${String(each["namespace"])}/${String(each["hostname"])}` === key);
    const endpoints = service?.["endpoints"] as Record<string, Endpoint> | undefined;
    return endpoints?.[String(uid)]?.port;
  };
  return stringify({
    workloads: dump.workloads.map((workload) => ({
      ...workload,
      services: Object.fromEntries(
        ((workload["services"] ?? []) as string[]).map((key) => [key, portsOf(workload["uid"], key)]),
      ),
    })),
    services: dump.services.map((service) =>
      Object.fromEntries(Object.entries(service).filter(([field]) => field !== "endpoints")),
    ),
    policies: dump.policies,
  });
}

describe("dumpState", () => {
  it("prints what ztunnel prints for the same state, in its order", () => {
    const state = createState();
    state.loadStateFile(parseStateFile(asStateFile(sample)));
    const dump = state.dumpState();
    // The sample's ztunnel had its state from xDS: its static part is empty.
    expect({ ...dump, staticConfig: sample.staticConfig }).toEqual(sample);
    expect(dump.staticConfig.workloads).toHaveLength(sample.workloads.length);
  });

  it("prints only what is there when nothing is", () => {
    expect(createState().dumpState()).toEqual({
      workloads: [],
      services: [],
      policies: [],
      stagedServices: {},
      staticConfig: { workloads: [], services: [], policies: [] },
    });
  });

  it("prints every optional field in ztunnel's words", () => {
    const key = "ns/web.ns.svc";
    const state = createState({
      workloads: [
        aWorkload({
          hostname: "h",
          network: "n",
          applicationTunnel: { protocol: "PROXY", port: 0 },
          networkGateway: gatewayByHostname("ns", "gw"),
          locality: { region: "r", zone: "", subzone: "" },
          nativeTunnel: true,
          healthy: false,
          services: new Map([[key, [{ servicePort: 80, targetPort: 8080 }]]]),
        }),
      ],
    });
    expect(state.dumpState().workloads[0]).toMatchObject({
      hostname: "h",
      network: "n",
      applicationTunnel: { protocol: "PROXY" },
      networkGateway: { destination: "ns/gw", hboneMtlsPort: 15008 },
      locality: { region: "r" },
      nativeTunnel: true,
      status: "Unhealthy",
      services: [key],
    });
    expect(Object.keys(state.dumpState().stagedServices)).toEqual([key]);
    put(state, {
      services: [
        aService({
          cidrVips: [{ network: "n", cidr: { ip: "10.0.0.0", prefixLength: 8 } }],
          weightedWaypoints: [{ destination: gatewayByHostname("ns", "gw"), weight: 3 }],
          loadBalancing: { mode: "STRICT", routingPreferences: ["NODE"], allowUnhealthy: true },
          ipFamilies: "DUAL",
          visibility: "NAMESPACE",
        }),
      ],
    });
    expect(state.dumpState().services[0]).toMatchObject({
      cidrVips: [{ network: "n", cidr: "10.0.0.0/8" }],
      weightedWaypoints: [{ destination: { destination: "ns/gw", hboneMtlsPort: 15008 }, weight: 3 }],
      loadBalancer: { mode: "Strict", routingPreferences: ["Node"], healthPolicy: "AllowAll" },
      ipFamilies: "Dual",
      visibility: "Namespace",
      endpoints: { "Kubernetes//Pod/ns/web-1": { port: { "80": 8080 }, status: "Unhealthy" } },
    });
  });
});

describe("parseStateFile", () => {
  it("reads ztunnel's schema, with its defaults", () => {
    const file = parseStateFile(`
workloads:
- uid: c1//v1/Pod/default/local
  name: local
  namespace: default
  workloadIps: ["127.0.0.1"]
  protocol: HBONE
  waypoint: { destination: /10.0.0.5 }
  authorizationPolicies: [default/deny]
  services:
    default/example.com: { 80: 8080 }
services:
- { name: s, namespace: default, hostname: example.com, vips: [/127.0.0.3], ports: { 80: 8080 } }
policies:
- name: deny
  namespace: default
  scope: WorkloadSelector
  action: Deny
  dryRun: false
  rules: [[[{ principals: [{ Exact: x }, { Presence: [] }], notSourceIps: [10.0.0.0/8], destinationPorts: [80] }]]]
`);
    expect(file.workloads[0]).toMatchObject({
      addresses: ["127.0.0.1"],
      tunnelProtocol: "HBONE",
      trustDomain: "",
      serviceAccount: "",
      capacity: 1,
      healthy: true,
      workloadType: "DEPLOYMENT",
      waypoint: { destination: { kind: "address", address: { network: "", ip: "10.0.0.5" } }, hboneMtlsPort: 15008 },
    });
    expect(file.workloads[0]?.services.get("default/example.com")).toEqual([{ servicePort: 80, targetPort: 8080 }]);
    expect(file.services[0]).toMatchObject({ vips: [{ network: "", ip: "127.0.0.3" }], ipFamilies: "AUTOMATIC" });
    expect(file.policies[0]?.rules[0]?.clauses[0]?.[0]).toMatchObject({
      principals: [{ kind: "exact", value: "x" }, { kind: "presence" }],
      notSourceIps: [{ ip: "10.0.0.0", prefixLength: 8 }],
      destinationPorts: [80],
    });
  });

  it("takes an empty file for an empty mesh", () => {
    expect(parseStateFile("")).toEqual({ workloads: [], services: [], policies: [] });
  });

  const workload = "{ uid: u, namespace: n, workloadIps: [], services: {} }";
  it.each([
    { text: "[1", error: "The state file is not YAML" },
    { text: "[]", error: "must be a mapping, is a list" },
    { text: "pods: []", error: "pods is not a known field; known: workloads, services, policies" },
    { text: "workloads: {}", error: "workloads must be a list, is a mapping" },
    { text: "workloads: [{ uid: u, namespace: n, services: {} }]", error: "workloads[0].workloadIps is required" },
    { text: `workloads: [${workload.replace("uid: u", "uid: 1")}]`, error: "workloads[0].uid must be text, is 1" },
    {
      text: `workloads: [${workload.replace("[]", "[x]")}]`,
      error: 'workloads[0].workloadIps[0] is wrong: "x" is not an IP address',
    },
    {
      text: `workloads: [${workload.replace("uid: u", "uid: u, port: 1")}]`,
      error: "workloads[0].port is not a known field",
    },
    {
      text: `workloads: [${workload.replace("uid: u", "uid: u, protocol: QUIC")}]`,
      error: 'workloads[0].protocol must be one of TCP, HBONE, is "QUIC"',
    },
    {
      text: `workloads: [${workload.replace("uid: u", "uid: u, capacity: -1")}]`,
      error: "workloads[0].capacity must be a whole number from 0",
    },
    {
      text: `workloads: [${workload.replace("{}", "{ nohost: {} }")}]`,
      error: "workloads[0].services.nohost is not keyed by namespace/hostname",
    },
    {
      text: `workloads: [${workload.replace("uid: u", "uid: u, waypoint: { destination: x }")}]`,
      error: "workloads[0].waypoint.destination is wrong",
    },
    {
      text: "services: [{ namespace: n, hostname: h, vips: [10.0.0.1] }]",
      error: 'is not network/ip (the default network is empty: "/10.0.0.1")',
    },
    {
      text: "services: [{ namespace: n, hostname: h, ports: { http: 80 } }]",
      error: 'services[0].ports.http "http" is not a port',
    },
    {
      text: "services: [{ namespace: n, hostname: h, canonical: yes please }]",
      error: "services[0].canonical must be true or false",
    },
    {
      text: "policies: [{ name: p, namespace: n, scope: Global, action: Audit, dryRun: false }]",
      error: "policies[0].action must be one of Allow, Deny",
    },
    {
      text: "policies: [{ name: p, namespace: n, scope: Global, action: Deny }]",
      error: "policies[0].dryRun is required",
    },
    {
      text: "policies: [{ name: p, namespace: n, scope: Global, action: Deny, dryRun: false, rules: [[[{ principals: [{ Exact: a, Prefix: b }] }]]] }]",
      error: "policies[0].rules[0][0][0].principals[0] needs exactly one of",
    },
  ])("refuses $text", ({ text, error }) => {
    expect(() => parseStateFile(text)).toThrow(error);
  });

  it("does not take names of Object.prototype for values", () => {
    expect(() => parseStateFile(`workloads: [${workload.replace("uid: u", "uid: u, status: constructor")}]`)).toThrow(
      "must be one of Healthy",
    );
  });
});
