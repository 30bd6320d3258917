import { parseCidr } from "@hairpin/shared/model";
import type { ServiceEntry } from "../collection/kubernetes-object.ts";
import { appProtocolOf } from "./app-protocol.ts";
import { type ServiceAddress, type ServiceRecord, plainLoadBalancing } from "./service-record.ts";

const dnsResolutions: ReadonlySet<string> = new Set(["DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"]);

/** One service per host. Addresses are those written, else those that an allocator put into the status. Throws on bad ones. */
export function buildServiceEntryRecords(entry: ServiceEntry): ServiceRecord[] {
  const spec = entry.spec ?? {};
  const namespace = entry.metadata.namespace ?? "";
  const written = (spec.addresses ?? []).map(addressOf);
  const passthrough = (spec.resolution ?? "NONE") === "NONE";
  return (spec.hosts ?? []).map((hostname) => ({
    source: { kind: "ServiceEntry", object: entry },
    name: entry.metadata.name,
    namespace,
    hostname,
    key: `${namespace}/${hostname}`,
    addresses: written.length > 0 || passthrough ? written : allocatedAddresses(entry, hostname),
    ports: (spec.ports ?? [])
      .filter((port) => port.protocol?.toUpperCase() !== "UDP")
      .map((port) => ({
        name: port.name ?? "",
        port: port.number,
        targetPort: port.targetPort ?? port.number,
        appProtocol: appProtocolOf({ port: port.number, name: (port.protocol ?? port.name ?? "").toLowerCase() }),
      })),
    selector: spec.workloadSelector?.labels,
    loadBalancing: passthrough
      ? { mode: "PASSTHROUGH", routingPreferences: [], allowUnhealthy: true }
      : plainLoadBalancing,
    ipFamilies: [],
    subjectAltNames: spec.subjectAltNames ?? [],
  }));
}

/** A DNS entry without endpoints is served by its own host names. */
export function hasImplicitEndpoints(entry: ServiceEntry): boolean {
  const spec = entry.spec ?? {};
  return (
    dnsResolutions.has(spec.resolution ?? "") &&
    (spec.endpoints ?? []).length === 0 &&
    spec.workloadSelector === undefined
  );
}

function allocatedAddresses(entry: ServiceEntry, hostname: string): ServiceAddress[] {
  return (entry.status?.addresses ?? [])
    .filter((address) => address.host === undefined || address.host === hostname)
    .flatMap((address) => (address.value === undefined ? [] : [addressOf(address.value)]));
}

function addressOf(text: string): ServiceAddress {
  const { ip, prefixLength } = parseCidr(text);
  return text.includes("/") ? { ip, prefixLength } : { ip };
}
