import { byAge } from "./age.ts";
import type { Problem } from "./build-each.ts";
import type { PodRecord } from "./pod.ts";
import type { ServiceAddress, ServiceRecord } from "./service-record.ts";

/**
 * Several objects may claim one host name. In a namespace the Kubernetes Service owns it, else the oldest ServiceEntry;
 * the losers are dropped. Over the mesh the same order decides which owner is canonical.
 */
export function settleHosts(records: readonly ServiceRecord[]): {
  readonly services: readonly ServiceRecord[];
  readonly canonical: ReadonlySet<ServiceRecord>;
} {
  const services = [...Map.groupBy(records, (record) => record.key).values()].flatMap(winner);
  const canonical = new Set([...Map.groupBy(services, (record) => record.hostname).values()].flatMap(winner));
  return { services, canonical };
}

function winner(claims: readonly ServiceRecord[]): ServiceRecord[] {
  const service = claims.find((claim) => claim.source.kind === "Service");
  if (service !== undefined) return [service];
  return [...claims].sort((a, b) => byAge(a.source.object, b.source.object)).slice(0, 1);
}

/**
 * Takes from ServiceEntries the addresses that are a Kubernetes Service's or a pod's of another namespace: whoever may write a
 * ServiceEntry anywhere would take their calls, and a waypoint would no longer know its pods. Reports each.
 */
export function settleAddresses(
  services: readonly ServiceRecord[],
  pods: Iterable<PodRecord>,
  problems: Problem[],
): readonly ServiceRecord[] {
  if (!services.some(claimsAddresses)) return services;
  const owners = new Map<string, string>();
  for (const pod of pods) if (!pod.hostNetwork) for (const ip of pod.addresses) owners.set(ip, pod.namespace);
  for (const { source, addresses, namespace } of services)
    if (source.kind === "Service") for (const { ip } of addresses) owners.set(ip, namespace);
  return services.map((service) => {
    if (service.source.kind === "Service") return service;
    const { namespace } = service;
    const isFree = ({ ip, prefixLength }: ServiceAddress): boolean =>
      prefixLength !== undefined || (owners.get(ip) ?? namespace) === namespace;
    const addresses = service.addresses.filter(isFree);
    if (addresses.length === service.addresses.length) return service;
    const taken = service.addresses.filter((address) => !isFree(address)).map(({ ip }) => `${ip} (${owners.get(ip)})`);
    const reason = `spec.addresses: ${taken.join(", ")} belong to Services or pods of another namespace and are left out`;
    problems.push({ object: service.source.object, reason });
    return { ...service, addresses };
  });
}

/** Whether the pods' addresses matter to it. */
export function claimsAddresses({ source, addresses }: ServiceRecord): boolean {
  return source.kind === "ServiceEntry" && addresses.length > 0;
}
