import { describe, expect, it } from "vitest";
import { tryParseSocketAddress, formatSpiffeId } from "@hairpin/shared/model";
import { meshOf, workloadNamed, type Extensions } from "../testing/mesh.ts";
import { completeResolvedPlan, type OutboundPlan, planOutbound } from "./plan-connection.ts";

const pod = (name: string, ip: string, rest = ""): string => `
- { uid: c//Pod/ns/${name}, name: ${name}, namespace: ns, trustDomain: cluster.local, serviceAccount: ${name}, workloadIps: ["${ip}"], protocol: HBONE${rest}${rest.includes("services:") ? "" : ", services: {}"} }`;

const service = (name: string, vip: string, rest = ""): string => `
- { name: ${name}, namespace: ns, hostname: ${name}.ns.svc.cluster.local, vips: ["/${vip}"], ports: { 80: 8080 }${rest}${rest.includes("subjectAltNames") ? "" : ", subjectAltNames: []"} }`;

const serves = (name: string, ports = "{ 80: 8080 }"): string =>
  `services: { "ns/${name}.ns.svc.cluster.local": ${ports} }`;

const client = pod("client", "10.0.0.1");
const waypointPod = pod("waypoint", "10.0.9.1", `, ${serves("waypoint", "{ 15008: 15008 }")}`);
const waypointService = `
- { name: waypoint, namespace: ns, hostname: waypoint.ns.svc.cluster.local, vips: ["/10.1.9.9"], ports: { 15008: 15008 } }`;
const toWaypoint = 'waypoint: { destination: "ns/waypoint.ns.svc.cluster.local", hboneMtlsPort: 15008 }';

interface Case {
  readonly workloads: string;
  readonly services?: string;
  readonly extensions?: Extensions;
  readonly from?: string;
  readonly to: string;
  readonly random?: number;
}

function plan(row: Case): OutboundPlan {
  const mesh = meshOf(`workloads: ${row.workloads}\nservices: ${row.services ?? "[]"}`, row.extensions);
  const source = workloadNamed(mesh, row.from ?? "client");
  const destination = tryParseSocketAddress(row.to);
  if (!destination) throw new Error(`bad address ${row.to}`);
  const input = {
    source,
    sourceIp: source.addresses[0] ?? "",
    destination,
    network: "",
    illegalPorts: new Set([15_001, 15_006, 15_008]),
    random: () => row.random ?? 0,
  };
  return planOutbound(input, mesh);
}

function told(outcome: OutboundPlan): string {
  switch (outcome.kind) {
    case "hbone": {
      const identities = outcome.expectedIdentities.map(formatSpiffeId).join(" ");
      return `hbone ${outcome.address.ip}:${outcome.address.port} for ${outcome.authority} via ${outcome.via} as ${identities}`;
    }
    case "tcp":
      return `tcp ${outcome.address.ip}:${outcome.address.port}`;
    case "resolve":
      return `resolve ${outcome.hostname}:${outcome.port}`;
    case "reject":
      return `reject ${outcome.reason}`;
    default:
      throw new Error(outcome satisfies never);
  }
}

const sa = (name: string): string => `spiffe://cluster.local/ns/ns/sa/${name}`;

describe("planOutbound", () => {
  it.each<[string, Case, string]>([
    ["an unknown address goes out as it is", { workloads: client, to: "203.0.113.7:443" }, "tcp 203.0.113.7:443"],
    [
      "a pod that takes no tunnels is dialled at its own port",
      { workloads: client + pod("plain", "10.0.0.2").replace("HBONE", "TCP"), to: "10.0.0.2:8080" },
      "tcp 10.0.0.2:8080",
    ],
    [
      "a captured pod is reached by a tunnel, also on the same node",
      { workloads: client + pod("server", "10.0.0.2"), to: "10.0.0.2:8080" },
      `hbone 10.0.0.2:15008 for 10.0.0.2:8080 via endpoint as ${sa("server")}`,
    ],
    [
      "a service without waypoint: authority is the endpoint and its target port",
      {
        workloads: client + pod("server", "10.0.0.2", `, ${serves("web")}`),
        services: service("web", "10.1.0.1"),
        to: "10.1.0.1:80",
      },
      `hbone 10.0.0.2:15008 for 10.0.0.2:8080 via endpoint as ${sa("server")}`,
    ],
    [
      "a service's alternative names are accepted besides the endpoint's",
      {
        workloads: client + pod("server", "10.0.0.2", `, ${serves("web")}`),
        services: service("web", "10.1.0.1", `, subjectAltNames: ["${sa("extra")}"]`),
        to: "10.1.0.1:80",
      },
      `hbone 10.0.0.2:15008 for 10.0.0.2:8080 via endpoint as ${sa("server")} ${sa("extra")}`,
    ],
    [
      "a service with an endpoint that takes no tunnels: balanced here, plain TCP",
      {
        workloads: client + pod("server", "10.0.0.2", `, ${serves("web")}`).replace("HBONE", "TCP"),
        services: service("web", "10.1.0.1"),
        to: "10.1.0.1:80",
      },
      "tcp 10.0.0.2:8080",
    ],
    [
      "a service with a waypoint: the authority stays the service's address",
      {
        workloads: client + waypointPod + pod("server", "10.0.0.2", `, ${serves("web")}`),
        services: service("web", "10.1.0.1", `, ${toWaypoint}`) + waypointService,
        to: "10.1.0.1:80",
      },
      `hbone 10.0.9.1:15008 for 10.1.0.1:80 via waypoint as ${sa("waypoint")}`,
    ],
    [
      "a service with a waypoint named by the address of its pod",
      {
        workloads: client + waypointPod + pod("server", "10.0.0.2", `, ${serves("web")}`),
        services: service("web", "10.1.0.1", ', waypoint: { destination: "/10.0.9.1", hboneMtlsPort: 15008 }'),
        to: "10.1.0.1:80",
      },
      `hbone 10.0.9.1:15008 for 10.1.0.1:80 via waypoint as ${sa("waypoint")}`,
    ],
    [
      "a service's waypoint serves it also when it has no endpoint",
      {
        workloads: client + waypointPod,
        services: service("web", "10.1.0.1", `, ${toWaypoint}`) + waypointService,
        to: "10.1.0.1:80",
      },
      `hbone 10.0.9.1:15008 for 10.1.0.1:80 via waypoint as ${sa("waypoint")}`,
    ],
    [
      "a pod's own waypoint plays no part when the pod is reached by a service (upstream)",
      {
        workloads: client + waypointPod + pod("server", "10.0.0.2", `, ${serves("web")}, ${toWaypoint}`),
        services: service("web", "10.1.0.1") + waypointService,
        to: "10.1.0.1:80",
      },
      `hbone 10.0.0.2:15008 for 10.0.0.2:8080 via endpoint as ${sa("server")}`,
    ],
    [
      "a pod with a waypoint: the authority stays the pod's address",
      {
        workloads: client + waypointPod + pod("server", "10.0.0.2", `, ${toWaypoint}`),
        services: waypointService,
        to: "10.0.0.2:8080",
      },
      `hbone 10.0.9.1:15008 for 10.0.0.2:8080 via waypoint as ${sa("waypoint")}`,
    ],
    [
      "the waypoint itself goes straight to the pod",
      {
        workloads: waypointPod + pod("server", "10.0.0.2", `, ${toWaypoint}`),
        services: waypointService,
        from: "waypoint",
        to: "10.0.0.2:8080",
      },
      `hbone 10.0.0.2:15008 for 10.0.0.2:8080 via endpoint as ${sa("server")}`,
    ],
    [
      "a waypoint that is not known refuses, it is never passed over",
      { workloads: client + pod("server", "10.0.0.2", `, ${toWaypoint}`), to: "10.0.0.2:8080" },
      "reject unknown waypoint (waypoint ns/waypoint.ns.svc.cluster.local is not known)",
    ],
    [
      "a waypoint without a healthy endpoint refuses",
      {
        workloads: client + pod("server", "10.0.0.2", `, ${toWaypoint}`),
        services: waypointService,
        to: "10.0.0.2:8080",
      },
      "reject no healthy waypoint (ns/waypoint.ns.svc.cluster.local: waypoint.ns.svc.cluster.local has no healthy endpoint)",
    ],
    [
      "a service without endpoints refuses",
      { workloads: client, services: service("web", "10.1.0.1"), to: "10.1.0.1:80" },
      "reject no healthy upstream: 10.1.0.1:80 (web.ns.svc.cluster.local has no healthy endpoint)",
    ],
    [
      "a port that the service does not have refuses",
      {
        workloads: client + pod("server", "10.0.0.2", `, ${serves("web")}`),
        services: service("web", "10.1.0.1"),
        to: "10.1.0.1:81",
      },
      "reject no healthy upstream: 10.1.0.1:81 (web.ns.svc.cluster.local has no port 81)",
    ],
    [
      "a pass-through service goes to the address that was dialled",
      {
        workloads: client,
        services: service(
          "web",
          "10.1.0.1",
          ", loadBalancer: { routingPreferences: [], mode: Passthrough, healthPolicy: AllowAll }",
        ),
        to: "10.1.0.1:443",
      },
      "tcp 10.1.0.1:443",
    ],
    [
      "a pod of another network is not dialled directly",
      { workloads: client + pod("far", "10.0.0.3", ", network: other"), to: "10.0.0.3:80" },
      "tcp 10.0.0.3:80",
    ],
    [
      "a call to our own port on localhost refuses",
      { workloads: client, to: "127.0.0.1:15001" },
      "reject attempted recursive call to ourselves",
    ],
    [
      "a call to our own port on the pod's own address refuses",
      { workloads: client, to: "10.0.0.1:15008" },
      "reject attempted recursive call to ourselves",
    ],
    [
      "our port on another pod is an ordinary port",
      { workloads: client, to: "203.0.113.7:15008" },
      "tcp 203.0.113.7:15008",
    ],
    [
      "an endpoint known by name is resolved first",
      {
        workloads:
          client +
          `\n- { uid: c/we, name: vm, namespace: ns, serviceAccount: vm, hostname: vm.example, workloadIps: [], protocol: TCP, ${serves("web")} }`,
        services: service("web", "10.1.0.1"),
        to: "10.1.0.1:80",
      },
      "resolve vm.example:8080",
    ],
  ])("%s", (_claim, row, outcome) => {
    expect(told(plan(row))).toBe(outcome);
  });

  describe("with Hairpin's bindings", () => {
    const accountWaypoint = pod("account", "10.0.9.2", `, ${serves("account", "{ 15008: 15008 }")}`);
    const accountService = `
- { name: account, namespace: ns, hostname: account.ns.svc.cluster.local, vips: ["/10.1.9.8"], ports: { 15008: 15008 } }`;
    const toAccount = 'waypoint: { destination: "ns/account.ns.svc.cluster.local", hboneMtlsPort: 15008 }';
    const bound = (scope: "OBJECT" | "NAMESPACE" | "NONE", refuseReason = "") => ({
      scope,
      refuseReason,
      waypoint: "ns/w",
    });
    const both = {
      workloads: client + waypointPod + accountWaypoint + pod("server", "10.0.0.2", `, ${serves("web")}, ${toAccount}`),
      services: service("web", "10.1.0.1", `, ${toWaypoint}`) + waypointService + accountService,
      to: "10.1.0.1:80",
    };

    it.each<[string, Case, string]>([
      [
        "a waypoint of the service's label beats the endpoint's own",
        { ...both, extensions: { binding: { web: bound("OBJECT"), server: bound("OBJECT") } } },
        `hbone 10.0.9.1:15008 for 10.1.0.1:80 via waypoint as ${sa("waypoint")}`,
      ],
      [
        "the endpoint's own beats the service's from its namespace",
        { ...both, extensions: { binding: { web: bound("NAMESPACE"), server: bound("OBJECT") } } },
        `hbone 10.0.9.2:15008 for 10.1.0.1:80 via waypoint as ${sa("account")}`,
      ],
      [
        "the service's from its namespace beats the endpoint's from its own",
        { ...both, extensions: { binding: { web: bound("NAMESPACE"), server: bound("NAMESPACE") } } },
        `hbone 10.0.9.1:15008 for 10.1.0.1:80 via waypoint as ${sa("waypoint")}`,
      ],
      [
        "a service whose label names an unusable waypoint refuses with the reason",
        { ...both, extensions: { binding: { web: bound("OBJECT", "not ready") } } },
        "reject waypoint ns/w cannot be used: not ready",
      ],
      [
        "a pod whose waypoint is unusable refuses with the reason",
        { ...both, to: "10.0.0.2:8080", extensions: { binding: { server: bound("OBJECT", "gone") } } },
        "reject waypoint ns/w cannot be used: gone",
      ],
      [
        "the endpoint's waypoint does not take calls that come from itself",
        { ...both, from: "account", extensions: { binding: { web: bound("NONE"), server: bound("OBJECT") } } },
        `hbone 10.0.0.2:15008 for 10.0.0.2:8080 via endpoint as ${sa("server")}`,
      ],
    ])("%s", (_claim, row, outcome) => {
      if (row.from === "account") {
        const services = service("web", "10.1.0.1") + accountService;
        expect(told(plan({ ...row, services }))).toBe(outcome);
        return;
      }
      expect(told(plan(row))).toBe(outcome);
    });
  });

  it("samples weighted waypoints by their weight", () => {
    const other = pod("other", "10.0.9.3", `, ${serves("other", "{ 15008: 15008 }")}`);
    const weights =
      ', weightedWaypoints: [{ destination: { destination: "/10.0.9.1", hboneMtlsPort: 15008 }, weight: 1 }, { destination: { destination: "/10.0.9.3", hboneMtlsPort: 15008 }, weight: 3 }]';
    const row = {
      workloads: client + waypointPod + other,
      services: service("web", "10.1.0.1", weights),
      to: "10.1.0.1:80",
    };
    expect(told(plan({ ...row, random: 0.2 }))).toContain("10.0.9.1:15008");
    expect(told(plan({ ...row, random: 0.3 }))).toContain("10.0.9.3:15008");
  });

  it("names the service and the dialled instance for metrics", () => {
    const outcome = plan({
      workloads: client + waypointPod + pod("server", "10.0.0.2", `, ${serves("web")}`),
      services: service("web", "10.1.0.1", `, ${toWaypoint}`) + waypointService,
      to: "10.1.0.1:80",
    });
    expect(outcome.service?.hostname).toBe("web.ns.svc.cluster.local");
    expect(outcome.workload?.name).toBe("waypoint");
  });
});

describe("completeResolvedPlan", () => {
  it("keeps the port, and tunnels when the endpoint takes tunnels", () => {
    const outcome = plan({
      workloads:
        client +
        `\n- { uid: c/we, name: vm, namespace: ns, serviceAccount: vm, trustDomain: cluster.local, hostname: vm.example, workloadIps: [], protocol: HBONE, ${serves("web")} }`,
      services: service("web", "10.1.0.1"),
      to: "10.1.0.1:80",
    });
    if (outcome.kind !== "resolve") throw new Error("not a plan to resolve");
    expect(told(completeResolvedPlan(outcome, "192.0.2.5"))).toBe(
      `hbone 192.0.2.5:15008 for 192.0.2.5:8080 via endpoint as ${sa("vm")}`,
    );
  });
});
