import type { IpAddress, NamespacedHostname, Workload } from "../model/index.ts";
import type { PodInfo } from "./mesh-lookup.ts";

/**
 * Workloads by uid, IP, pod and host name. Where several share a key, the order is by rank, and within a rank by arrival;
 * a workload that is updated keeps its place.
 */
export class WorkloadStore {
  readonly #byUid = new Map<string, Workload>();
  readonly #byIp = new RankedIndex((workload) => (isPod(workload) ? 0 : workload.tunnelProtocol === "HBONE" ? 1 : 2));
  readonly #byPod: RankedIndex;
  readonly #byHostname = new RankedIndex(() => 0);

  /** Of pods with one name in several clusters those of `clusterId` come first. */
  constructor(clusterId: string) {
    this.#byPod = new RankedIndex((workload) => (workload.clusterId === clusterId ? 0 : 1) + (isPod(workload) ? 0 : 2));
  }

  get size(): number {
    return this.#byUid.size;
  }

  /** Adds or replaces; returns what was replaced. */
  set(workload: Workload): Workload | undefined {
    const before = this.#byUid.get(workload.uid);
    this.#byUid.set(workload.uid, workload);
    this.#byIp.replace(before, before ? ipKeys(before) : [], workload, ipKeys(workload));
    this.#byPod.replace(before, before ? [podKey(before)] : [], workload, [podKey(workload)]);
    this.#byHostname.replace(before, before ? hostnameKeys(before) : [], workload, hostnameKeys(workload));
    return before;
  }

  delete(uid: string): Workload | undefined {
    const before = this.#byUid.get(uid);
    if (before === undefined) return undefined;
    this.#byUid.delete(uid);
    this.#byIp.replace(before, ipKeys(before), undefined, []);
    this.#byPod.replace(before, [podKey(before)], undefined, []);
    this.#byHostname.replace(before, hostnameKeys(before), undefined, []);
    return before;
  }

  get(uid: string): Workload | undefined {
    return this.#byUid.get(uid);
  }

  findByIp(network: string, ip: IpAddress): Workload | undefined {
    return this.#byIp.first(`${network}/${ip}`);
  }

  findByPod(pod: PodInfo): Workload | undefined {
    return this.#byPod.first(podKey(pod));
  }

  findByHostname(name: NamespacedHostname): Workload | undefined {
    return this.#byHostname.first(`${name.namespace}/${name.hostname.toLowerCase()}`);
  }

  values(): Iterable<Workload> {
    return this.#byUid.values();
  }
}

/** `namespace/name/service account`. None of the parts can hold a slash. */
function podKey(pod: PodInfo): string {
  return `${pod.namespace}/${pod.name}/${pod.serviceAccount}`;
}

export function isPod(workload: Workload): boolean {
  return workload.uid.includes("//Pod/");
}

/** Workloads on the host's network share the node's address: that is nobody's key. */
function ipKeys(workload: Workload): readonly string[] {
  return workload.hostNetwork ? [] : workload.addresses.map((ip) => `${workload.network}/${ip}`);
}

function hostnameKeys(workload: Workload): readonly string[] {
  return workload.hostname === "" ? [] : [`${workload.namespace}/${workload.hostname.toLowerCase()}`];
}

/** Workloads by a key that several may share; the first is the best ranked. Lists are short: linear work is on purpose. */
class RankedIndex {
  readonly #byKey = new Map<string, Workload[]>();
  readonly #rankOf: (workload: Workload) => number;

  constructor(rankOf: (workload: Workload) => number) {
    this.#rankOf = rankOf;
  }

  first(key: string): Workload | undefined {
    return this.#byKey.get(key)?.[0];
  }

  replace(
    before: Workload | undefined,
    keysBefore: readonly string[],
    after: Workload | undefined,
    keysAfter: readonly string[],
  ): void {
    for (const key of keysBefore) if (!keysAfter.includes(key)) this.#remove(key, before?.uid);
    if (after) for (const key of keysAfter) this.#put(key, after);
  }

  #put(key: string, workload: Workload): void {
    const list = this.#byKey.get(key) ?? [];
    const at = list.findIndex((other) => other.uid === workload.uid);
    if (at >= 0) list[at] = workload;
    else list.push(workload);
    list.sort((a, b) => this.#rankOf(a) - this.#rankOf(b));
    this.#byKey.set(key, list);
  }

  #remove(key: string, uid: string | undefined): void {
    const left = (this.#byKey.get(key) ?? []).filter((other) => other.uid !== uid);
    if (left.length === 0) this.#byKey.delete(key);
    else this.#byKey.set(key, left);
  }
}
