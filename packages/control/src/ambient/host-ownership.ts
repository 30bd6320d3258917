import { byAge } from "./age.ts";
import type { ServiceRecord } from "./service-record.ts";

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
