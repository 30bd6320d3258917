// Which addresses a cluster name has. Pure; the Kubernetes DNS specification's A and AAAA records of Services.

import { endpointSliceKind, serviceKind } from "../object/kinds.ts";
import type { Service } from "../object/kubernetes-object.ts";
import type { StoreView } from "../store/object-store.ts";
import { clusterIpsOf, serviceNameLabel } from "./plan-service-rules.ts";

/** Lower-case names without a final dot → their addresses of both families; maybe none. */
export type DnsRecords = ReadonlyMap<string, readonly string[]>;

/** Records of all Services: virtual addresses, or of headless Services the ready endpoints. */
export function planDnsRecords(view: StoreView, clusterDomain: string): DnsRecords {
  const records = new Map<string, readonly string[]>();
  for (const service of view.list(serviceKind)) {
    const { name, namespace } = service.metadata;
    records.set(`${name}.${namespace}.svc.${clusterDomain}`.toLowerCase(), addressesOf(service, view));
  }
  return records;
}

function addressesOf(service: Service, view: StoreView): readonly string[] {
  const vips = clusterIpsOf(service);
  if (vips.length > 0) return vips;
  const { name, namespace } = service.metadata;
  return view
    .list(endpointSliceKind, namespace)
    .filter((slice) => slice.metadata.labels?.[serviceNameLabel] === name)
    .flatMap((slice) => slice.endpoints ?? [])
    .filter((endpoint) => endpoint.conditions?.ready !== false || service.spec?.publishNotReadyAddresses === true)
    .flatMap((endpoint) => endpoint.addresses);
}
