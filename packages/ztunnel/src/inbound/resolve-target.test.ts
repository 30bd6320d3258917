import { parseConnectAuthority } from "@hairpin/hbone";
import { describe, expect, it } from "vitest";
import { meshOf, workloadNamed } from "../testing/mesh.ts";
import { resolveInboundTarget } from "./resolve-target.ts";

const host = (name: string): string => `${name}.ns.svc.cluster.local`;
const mesh = meshOf(`
workloads:
- { uid: c//Pod/ns/server, name: server, namespace: ns, workloadIps: ["10.0.0.2"], protocol: HBONE,
    services: { "ns/${host("web")}": { 80: 8080, 81: 0 }, "ns/${host("named")}": { 80: 9090 } } }
- { uid: c//Pod/ns/other, name: other, namespace: ns, workloadIps: ["10.0.0.3"], protocol: HBONE, services: {} }
- { uid: c//Pod/ns/guarded, name: guarded, namespace: ns, workloadIps: ["10.0.0.4"], protocol: HBONE, services: {},
    waypoint: { destination: "ns/${host("waypoint")}", hboneMtlsPort: 15008 } }
- { uid: c//Pod/ns/waypoint, name: waypoint, namespace: ns, workloadIps: ["10.0.0.5"], protocol: HBONE,
    services: { "ns/${host("waypoint")}": { 15008: 15008 } } }
- { uid: c//Pod/ns/proxied, name: proxied, namespace: ns, workloadIps: ["10.0.0.6"], protocol: HBONE,
    applicationTunnel: { protocol: PROXY, port: 15088 }, services: { "ns/${host("web")}": { 80: 8080 } } }
services:
- { name: web, namespace: ns, hostname: ${host("web")}, vips: ["/fd00::1", "/10.1.0.1"], ports: { 80: 8080, 81: 8081 }, subjectAltNames: [] }
- { name: named, namespace: ns, hostname: ${host("named")}, vips: ["/10.1.0.2"], ports: { 80: 0 }, subjectAltNames: [] }
- { name: elsewhere, namespace: ns, hostname: ${host("elsewhere")}, vips: ["/10.1.0.3"], ports: { 80: 0 }, subjectAltNames: [] }
- { name: waypoint, namespace: ns, hostname: ${host("waypoint")}, vips: ["/10.1.0.9"], ports: { 15008: 15008 }, subjectAltNames: [] }
- { name: behind, namespace: ns, hostname: ${host("behind")}, vips: ["/10.1.0.4"], ports: { 80: 8080 }, subjectAltNames: [],
    waypoint: { destination: "ns/${host("waypoint")}", hboneMtlsPort: 15008 } }
`);

function resolve(name: string, authority: string): string {
  const parsed = parseConnectAuthority(authority);
  if (!parsed) throw new Error(`bad authority ${authority}`);
  const local = workloadNamed(mesh, name);
  const localIp = local.addresses[0] ?? "";
  const illegalPorts = new Set([15_001, 15_006, 15_008]);
  const target = resolveInboundTarget({ local, localIp, authority: parsed, network: "", illegalPorts }, mesh);
  if (target.kind === "refuse") return `${target.status} ${target.reason}`;
  const proxy = target.proxyDestination ? ` PROXY ${target.proxyDestination.ip}:${target.proxyDestination.port}` : "";
  return `${target.address.ip}:${target.address.port}${target.service ? ` of ${target.service.name}` : ""}${proxy}`;
}

describe("resolveInboundTarget", () => {
  it.each([
    ["its own address", "server", "10.0.0.2:8080", "10.0.0.2:8080"],
    ["another address", "server", "10.0.0.3:8080", "400 ip mismatch: 10.0.0.2 != 10.0.0.3"],
    ["an address that nobody has", "server", "192.0.2.1:80", "400 ip mismatch: 10.0.0.2 != 192.0.2.1"],
    [
      "a service's address, unless it is its waypoint",
      "server",
      "10.1.0.1:80",
      "400 ip mismatch: 10.0.0.2 != 10.1.0.1",
    ],
    ["a service by name, port mapped", "server", `${host("web")}:80`, "10.0.0.2:8080 of web"],
    ["a named port, by the endpoint's own number", "server", `${host("named")}:80`, "10.0.0.2:9090 of named"],
    ["a port that the endpoint does not map, by the service's", "server", `${host("web")}:81`, "10.0.0.2:8081 of web"],
    [
      "a port that nobody maps",
      "server",
      `${host("elsewhere")}:80`,
      `503 no healthy upstream: ${host("elsewhere")}:80 is not served by c//Pod/ns/server`,
    ],
    [
      "an unknown service",
      "server",
      "nobody.ns.svc.cluster.local:80",
      "503 no healthy upstream: nobody.ns.svc.cluster.local:80 is not served by c//Pod/ns/server",
    ],
    ["one of our own ports", "server", "10.0.0.2:15006", "503 attempted recursive call to port 15006"],
    ["as a waypoint: a workload it covers, at its own address", "waypoint", "10.0.0.4:8080", "10.0.0.5:8080"],
    ["as a waypoint: a service it covers", "waypoint", "10.1.0.4:80", "10.0.0.5:80"],
    ["as a waypoint: nothing else", "waypoint", "10.0.0.3:80", "400 ip mismatch: 10.0.0.5 != 10.0.0.3"],
    ["an application tunnel, for any address", "proxied", "10.9.9.9:443", "10.0.0.6:15088 PROXY 10.9.9.9:443"],
    [
      "an application tunnel, for a service: its IPv4 address",
      "proxied",
      `${host("web")}:80`,
      "10.0.0.6:15088 of web PROXY 10.1.0.1:80",
    ],
  ])("%s", (_claim, name, authority, outcome) => {
    expect(resolve(name, authority)).toBe(outcome);
  });
});
