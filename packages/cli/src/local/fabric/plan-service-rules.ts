import { endpointSliceKind, serviceKind } from "../object/kinds.ts";
import { type EndpointSlice, namespacedName, type Service } from "../object/kubernetes-object.ts";
import type { StoreView } from "../store/object-store.ts";
import { familyOf } from "./address-plan.ts";
import type { ServicePortRule } from "./service-rules.ts";

/** The label by which an EndpointSlice names its Service. */
export const serviceNameLabel = "kubernetes.io/service-name";

/** What every node must translate: each port of each Service with a cluster IP, to the ready endpoints of its family. */
export function planServiceRules(view: StoreView): readonly ServicePortRule[] {
  const slices = new Map<string, EndpointSlice[]>();
  for (const slice of view.list(endpointSliceKind)) {
    const service = `${slice.metadata.namespace}/${slice.metadata.labels?.[serviceNameLabel] ?? ""}`;
    slices.set(service, [...(slices.get(service) ?? []), slice]);
  }
  return view.list(serviceKind).flatMap((service) => rulesOf(service, slices.get(namespacedName(service)) ?? []));
}

/** The virtual addresses of a Service; none for headless ones. */
export function clusterIpsOf(service: Service): readonly string[] {
  const { clusterIPs, clusterIP } = service.spec ?? {};
  const ips = clusterIPs ?? (clusterIP === undefined ? [] : [clusterIP]);
  return ips.filter((ip) => ip !== "None" && ip !== "");
}

function rulesOf(service: Service, slices: readonly EndpointSlice[]): readonly ServicePortRule[] {
  return clusterIpsOf(service).flatMap((vip) =>
    (service.spec?.ports ?? []).flatMap((port) => {
      const protocol = (port.protocol ?? "TCP").toLowerCase();
      if (protocol !== "tcp" && protocol !== "udp") return [];
      const backends = slices.flatMap((slice) => readyBackends(slice, port.name, familyOf(vip)));
      return [{ vip, protocol, port: port.port, backends }];
    }),
  );
}

function readyBackends(
  slice: EndpointSlice,
  portName: string | undefined,
  family: 4 | 6,
): readonly { ip: string; port: number }[] {
  const port = slice.ports?.find((candidate) => (candidate.name ?? "") === (portName ?? ""))?.port;
  if (port === undefined) return [];
  return (slice.endpoints ?? [])
    .filter((endpoint) => endpoint.conditions?.ready !== false)
    .map((endpoint) => endpoint.addresses[0] ?? "")
    .filter((ip) => ip !== "" && familyOf(ip) === family)
    .map((ip) => ({ ip, port }));
}
