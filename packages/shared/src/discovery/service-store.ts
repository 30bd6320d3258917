import {
  type Cidr,
  formatNamespacedHostname,
  formatNetworkAddress,
  type IpAddress,
  type PortMapping,
  type Service,
  type Workload,
} from "../model/index.ts";
import { CidrIndex } from "./cidr-index.ts";
import type { ServiceEndpoint } from "./mesh-lookup.ts";

/**
 * Services by name, virtual IP, range and host name, with their endpoints. Endpoints that come before their service are
 * staged, and belong to it once it comes; a service that goes leaves its endpoints staged.
 */
export class ServiceStore {
  readonly #byKey = new Map<string, Service>();
  readonly #byVip = new Map<string, Service[]>();
  readonly #byHostname = new Map<string, Service[]>();
  readonly #cidrs = new CidrIndex<Service>();
  /** By service key, then workload uid; unhealthy ones too. */
  readonly #endpoints = new Map<string, Map<string, ServiceEndpoint>>();
  /** What {@link endpointsOf} answered, until an endpoint or the service changes. */
  readonly #usable = new Map<string, readonly ServiceEndpoint[]>();

  get size(): number {
    return this.#byKey.size;
  }

  set(service: Service): void {
    const key = formatNamespacedHostname(service);
    const before = this.#byKey.get(key);
    this.#byKey.set(key, service);
    this.#usable.delete(key);
    replaceIn(this.#byVip, before, before ? vipKeys(before) : [], service, vipKeys(service));
    replaceIn(this.#byHostname, before, before ? [hostKey(before)] : [], service, [hostKey(service)]);
    if (before) for (const { network, cidr } of before.cidrVips) this.#cidrs.delete(network, cidr, before);
    for (const { network, cidr } of service.cidrVips) this.#cidrs.add(network, cidr, service);
  }

  /** Returns whether there was one. */
  delete(key: string): boolean {
    const before = this.#byKey.get(key);
    if (before === undefined) return false;
    this.#byKey.delete(key);
    this.#usable.delete(key);
    replaceIn(this.#byVip, before, vipKeys(before), undefined, []);
    replaceIn(this.#byHostname, before, [hostKey(before)], undefined, []);
    for (const { network, cidr } of before.cidrVips) this.#cidrs.delete(network, cidr, before);
    return true;
  }

  get(key: string): Service | undefined {
    return this.#byKey.get(key);
  }

  findByVip(network: string, ip: IpAddress, clientNamespace: string): Service | undefined {
    return this.findByExactVip(network, ip, clientNamespace) ?? this.#findByCidr(network, ip, clientNamespace);
  }

  /** As {@link findByVip}, without ranges. */
  findByExactVip(network: string, ip: IpAddress, clientNamespace: string): Service | undefined {
    return pickService(this.#byVip.get(`${network}/${ip}`) ?? [], clientNamespace);
  }

  findByHostname(hostname: string, clientNamespace: string): Service | undefined {
    return pickService(this.#byHostname.get(hostname.toLowerCase()) ?? [], clientNamespace);
  }

  /** Of every namespace, in the order of their arrival. */
  byHostname(hostname: string): readonly Service[] {
    return this.#byHostname.get(hostname.toLowerCase()) ?? [];
  }

  values(): Iterable<Service> {
    return this.#byKey.values();
  }

  /** Takes the endpoints of a workload out of the services it was in and puts it into those it is in now. Returns all their keys. */
  moveEndpoints(before: Workload | undefined, after: Workload | undefined): ReadonlySet<string> {
    const touched = new Set<string>();
    for (const key of before?.services.keys() ?? []) {
      touched.add(key);
      if (!after?.services.has(key)) this.#removeEndpoint(key, before?.uid ?? "");
    }
    for (const [key, ports] of after?.services ?? []) {
      touched.add(key);
      if (after) this.#putEndpoint(key, after, ports);
    }
    for (const key of touched) this.#usable.delete(key);
    return touched;
  }

  endpointsOf(service: Service): readonly ServiceEndpoint[] {
    const key = formatNamespacedHostname(service);
    const cached = this.#usable.get(key);
    if (cached !== undefined && this.#byKey.get(key) === service) return cached;
    const all = [...(this.#endpoints.get(key)?.values() ?? [])];
    const usable = all.filter(({ workload }) => workload.healthy || service.loadBalancing.allowUnhealthy);
    if (this.#byKey.get(key) === service) this.#usable.set(key, usable);
    return usable;
  }

  /** Endpoints whose service has not come. */
  staged(): ReadonlyMap<string, readonly ServiceEndpoint[]> {
    const staged = [...this.#endpoints].filter(([key]) => !this.#byKey.has(key));
    return new Map(staged.map(([key, endpoints]) => [key, [...endpoints.values()]]));
  }

  #findByCidr(network: string, ip: IpAddress, clientNamespace: string): Service | undefined {
    const matches = this.#cidrs.find(network, ip).filter(({ value }) => isVisible(value, clientNamespace));
    const rank = ({ value, cidr }: { value: Service; cidr: Cidr }): number =>
      (value.namespace === clientNamespace ? 1000 : 0) + cidr.prefixLength * 2 + (value.canonical ? 1 : 0);
    let best = matches[0];
    for (const match of matches) if (best === undefined || rank(match) > rank(best)) best = match;
    return best?.value;
  }

  #putEndpoint(key: string, workload: Workload, ports: readonly PortMapping[]): void {
    const endpoints = this.#endpoints.get(key) ?? new Map<string, ServiceEndpoint>();
    endpoints.set(workload.uid, { workload, ports });
    this.#endpoints.set(key, endpoints);
  }

  #removeEndpoint(key: string, uid: string): void {
    const endpoints = this.#endpoints.get(key);
    endpoints?.delete(uid);
    if (endpoints?.size === 0) this.#endpoints.delete(key);
  }
}

/** Of services with one address or host name: visible to the client; its own namespace; canonical; the first that came. */
function pickService(services: readonly Service[], clientNamespace: string): Service | undefined {
  const visible = services.filter((service) => isVisible(service, clientNamespace));
  return (
    visible.find((service) => service.namespace === clientNamespace) ??
    visible.find((service) => service.canonical) ??
    visible[0]
  );
}

function isVisible(service: Service, clientNamespace: string): boolean {
  return service.visibility === "PUBLIC" || service.namespace === clientNamespace;
}

function vipKeys(service: Service): readonly string[] {
  return service.vips.map(formatNetworkAddress);
}

function hostKey(service: Service): string {
  return service.hostname.toLowerCase();
}

/** Updates a multi-map in place, so that an updated service keeps its place among the others. */
function replaceIn(
  index: Map<string, Service[]>,
  before: Service | undefined,
  keysBefore: readonly string[],
  after: Service | undefined,
  keysAfter: readonly string[],
): void {
  for (const key of keysBefore) {
    if (keysAfter.includes(key)) continue;
    const left = (index.get(key) ?? []).filter((service) => service !== before);
    if (left.length === 0) index.delete(key);
    else index.set(key, left);
  }
  if (after === undefined) return;
  for (const key of keysAfter) {
    const list = index.get(key) ?? [];
    const at = before === undefined ? -1 : list.indexOf(before);
    if (at >= 0) list[at] = after;
    else if (!list.includes(after)) list.push(after);
    index.set(key, list);
  }
}
