import { type NetnsHandle, netnsInode } from "@hairpin/native";
import type { MetricRegistry } from "@hairpin/shared/telemetry";
import type { PodNetwork } from "./pod-network.ts";
import { type PodIdentity, PodProxy, type PodProxyComponents, type PodProxyOptions } from "./pod-proxy.ts";
import { ZtunnelError } from "./response-flag.ts";

export interface PodsComponents extends PodProxyComponents {
  readonly metrics: MetricRegistry;
  /** Makes the sockets of a pod; owns the handle from the call on. Throws when the netns cannot be used. */
  createNetwork(netns: NetnsHandle): PodNetwork;
}

interface ServedPod {
  readonly pod: PodIdentity;
  readonly netnsInode: number;
  /** Undefined while it starts, and after it failed. */
  proxy: PodProxy | undefined;
}

/** One pod as `/config_dump` shows it. */
export interface PodState {
  readonly state: "Up" | "Pending";
  readonly info: PodIdentity["info"];
}

/**
 * The pods of this node that are captured, each with its proxy. Calls for one pod come one after the other (ZDS has one
 * request in flight); a pod that could not be served stays pending until it is added again or removed.
 */
export class Pods {
  readonly #components: PodsComponents;
  readonly #options: PodProxyOptions;
  readonly #pods = new Map<string, ServedPod>();
  readonly #metrics: ReturnType<typeof registerMetrics>;

  constructor(components: PodsComponents, options: PodProxyOptions) {
    this.#components = components;
    this.#options = options;
    this.#metrics = registerMetrics(components.metrics, () => this.#count());
  }

  /** Uids of the pods that were added and not removed. */
  get uids(): readonly string[] {
    return [...this.#pods.keys()];
  }

  /** Whether every pod is served. */
  get allUp(): boolean {
    return this.#count().pending === 0;
  }

  /**
   * Starts serving a pod; resolves once its listeners are bound. The same pod in the same netns again changes nothing; in
   * another netns it replaces what was. Owns the handle. Rejects with `POD_LISTENER_FAILED`.
   */
  async add(pod: PodIdentity, netns: NetnsHandle): Promise<void> {
    let inode: number;
    try {
      inode = netnsInode(netns);
    } catch (error) {
      netns.close();
      throw error;
    }
    const before = this.#pods.get(pod.uid);
    if (before?.proxy && before.netnsInode === inode) {
      netns.close();
      return;
    }
    if (before) await this.remove(pod.uid);
    const served: ServedPod = { pod, netnsInode: inode, proxy: undefined };
    this.#pods.set(pod.uid, served);
    const network = this.#components.createNetwork(netns);
    const proxy = await PodProxy.start(pod, network, this.#components, this.#options);
    if (this.#pods.get(pod.uid) !== served) {
      await proxy.stop(podRemoved(pod));
      return;
    }
    served.proxy = proxy;
    this.#metrics.started.add(1);
  }

  /** Ends a pod's connections and listeners at once. Unknown uid: nothing. */
  async remove(uid: string): Promise<void> {
    const served = this.#pods.get(uid);
    if (!served) return;
    this.#pods.delete(uid);
    if (!served.proxy) return;
    this.#metrics.stopped.add(1);
    await served.proxy.stop(podRemoved(served.pod));
  }

  /** No new connections for any pod; open ones go on. */
  async drain(): Promise<void> {
    await Promise.all([...this.#pods.values()].map(async ({ proxy }) => await proxy?.drain()));
  }

  /** Ends everything at once. */
  async stop(error: Error): Promise<void> {
    const served = [...this.#pods.values()];
    this.#pods.clear();
    await Promise.all(served.map(async ({ proxy }) => await proxy?.stop(error)));
  }

  /** By uid. */
  states(): ReadonlyMap<string, PodState> {
    const entries = [...this.#pods].toSorted(([a], [b]) => (a < b ? -1 : 1));
    return new Map(
      entries.map(([uid, { pod, proxy }]) => [uid, { state: proxy ? "Up" : "Pending", info: pod.info } as const]),
    );
  }

  #count(): { readonly active: number; readonly pending: number } {
    const active = [...this.#pods.values()].filter((served) => served.proxy).length;
    return { active, pending: this.#pods.size - active };
  }
}

function podRemoved({ info }: PodIdentity): ZtunnelError {
  const message = `connection closed: pod ${info.namespace}/${info.name} was removed`;
  return new ZtunnelError(message, { code: "POD_REMOVED", origin: "internal" });
}

/** ztunnel's names (ztunnel.md §10.1). */
function registerMetrics(registry: MetricRegistry, count: () => { readonly active: number; readonly pending: number }) {
  registry.gauge({
    name: "workload_manager_active_proxy_count",
    help: "The total number current workloads with active proxies (unstable).",
    collect: (gauge) => gauge.handle({}).set(count().active),
  });
  registry.gauge({
    name: "workload_manager_pending_proxy_count",
    help: "The total number current workloads with pending proxies (unstable).",
    collect: (gauge) => gauge.handle({}).set(count().pending),
  });
  const started = registry.counter({
    name: "workload_manager_proxies_started_total",
    help: "The total number of proxies that were started (unstable).",
  });
  const stopped = registry.counter({
    name: "workload_manager_proxies_stopped_total",
    help: "The total number of proxies that were stopped (unstable).",
  });
  return { started: started.handle({}), stopped: stopped.handle({}) };
}
