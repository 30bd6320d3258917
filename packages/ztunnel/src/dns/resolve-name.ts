import type { MeshLookup } from "@hairpin/shared/discovery";
import type { IpAddress, Service } from "@hairpin/shared/model";
import { candidateNames, withWildcards } from "./candidate-names.ts";

/** The part of the mesh that names are looked up in. */
export type NameView = Pick<MeshLookup, "servicesByHostname" | "endpointsOf">;

/** Who asks: names mean different things in different namespaces and networks. */
export interface NameClient {
  readonly namespace: string;
  readonly network: string;
}

export interface NameQuestion {
  /** In lower case and without final dot. */
  readonly name: string;
  readonly family: 4 | 6;
}

export interface ResolveOptions {
  /** In lower case. */
  readonly clusterDomain: string;
  /** False: no name has IPv6 addresses. */
  readonly ipv6: boolean;
}

export type Resolution =
  /** Not ours: to be forwarded. */
  | { readonly kind: "unknown" }
  | {
      readonly kind: "known";
      readonly service: Service;
      /** Of the asked family; none when the service has none. In the order of the mesh: shuffle before answering. */
      readonly addresses: readonly IpAddress[];
      /** The name that the asked one is an alias of: the pod's resolver had added a search domain. */
      readonly canonicalName: string | undefined;
    };

/** The addresses of a service of the mesh, by any name that Kubernetes or a search list gives it. */
export function resolveName(
  view: NameView,
  client: NameClient,
  { name, family }: NameQuestion,
  options: ResolveOptions,
): Resolution {
  for (const candidate of candidateNames(name, client.namespace, options.clusterDomain)) {
    for (const hostname of withWildcards(candidate.name)) {
      const service = chooseService(view.servicesByHostname(hostname), client, options);
      if (!service) continue;
      const addresses = hasFamily(service, family, options) ? addressesOf(view, service, client, family) : [];
      // What matched by a wildcard has no name of its own to be an alias of.
      const canonicalName = hostname === candidate.name ? candidate.stripped : undefined;
      return { kind: "known", service, addresses, canonicalName };
    }
  }
  return { kind: "unknown" };
}

/** Of services with one host name: those with addresses, visible to the client; its own namespace, canonical, the first. */
function chooseService(
  services: readonly Service[],
  { namespace }: NameClient,
  { clusterDomain }: ResolveOptions,
): Service | undefined {
  let best: Service | undefined;
  let bestRank = -1;
  for (const service of services) {
    if (service.visibility !== "PUBLIC" && service.namespace !== namespace) continue;
    // Without addresses of its own only a Kubernetes Service (headless) is ours; a ServiceEntry leaves its name to the world.
    if (service.vips.length === 0 && !service.hostname.toLowerCase().endsWith(`.svc.${clusterDomain}`)) continue;
    const rank = (service.namespace === namespace ? 2 : 0) + (service.canonical ? 1 : 0);
    if (rank <= bestRank) continue;
    best = service;
    bestRank = rank;
  }
  return best;
}

function hasFamily({ ipFamilies }: Service, family: 4 | 6, { ipv6 }: ResolveOptions): boolean {
  if (family === 6) return ipv6 && ipFamilies !== "IPV4_ONLY";
  return ipFamilies !== "IPV6_ONLY";
}

/** Virtual addresses, or of a headless service one address of each endpoint; addresses of other networks cannot be reached. */
function addressesOf(view: NameView, service: Service, client: NameClient, family: 4 | 6): readonly IpAddress[] {
  const isAsked = (ip: IpAddress): boolean => ip.includes(":") === (family === 6);
  if (service.vips.length > 0) {
    return service.vips.filter(({ network, ip }) => network === client.network && isAsked(ip)).map(({ ip }) => ip);
  }
  const addresses = view
    .endpointsOf(service)
    .filter(({ workload }) => workload.network === client.network)
    .map(({ workload }) => workload.addresses.find(isAsked));
  return [...new Set(addresses.filter((ip) => ip !== undefined))];
}
