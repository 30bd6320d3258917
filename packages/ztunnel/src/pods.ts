import { type NetnsHandle, netnsInode } from "@hairpin/native";
import type { PodMetrics } from "./pod-metrics.ts";
import type { PodNetwork } from "./pod-network.ts";
import { type PodIdentity, PodProxy, type PodProxyComponents, type PodProxyOptions } from "./pod-proxy.ts";
import { ZtunnelError } from "./response-flag.ts";

export interface PodsComponents extends PodProxyComponents {
  /** Undefined: somebody else counts the pods. */
  readonly metrics?: PodMetrics | undefined;
  /** Makes the sockets of a pod; owns the handle from the call on. Throws when the netns cannot be used. */
  createNetwork(netns: NetnsHandle): PodNetwork;
}

/** The pods that are served, by this thread or by others. */
export interface PodServer {
  /** Uids of the pods that were added and not removed. */
  readonly uids: readonly string[];
  /** Whether every pod is served. */
  readonly allUp: boolean;
  /** Owns the handle. Resolves once the pod's listeners are bound; rejects with `POD_LISTENER_FAILED`. */
  add(pod: PodIdentity, netns: NetnsHandle): Promise<void>;
  /** Ends the pod's connections at once. Unknown uid: nothing. */
  remove(uid: string): Promise<void>;
  states(): ReadonlyMap<string, PodState>;
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
export class Pods implements PodServer {
  readonly #components: PodsComponents;
  readonly #options: PodProxyOptions;
  readonly #pods = new Map<string, ServedPod>();

  constructor(components: PodsComponents, options: PodProxyOptions) {
    this.#components = components;
    this.#options = options;
  }

  get uids(): readonly string[] {
    return [...this.#pods.keys()];
  }

  get allUp(): boolean {
    return [...this.#pods.values()].every((served) => served.proxy);
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
    this.#components.metrics?.started.add(1);
  }

  /** Ends a pod's connections and listeners at once. Unknown uid: nothing. */
  async remove(uid: string): Promise<void> {
    const served = this.#pods.get(uid);
    if (!served) return;
    this.#pods.delete(uid);
    if (!served.proxy) return;
    this.#components.metrics?.stopped.add(1);
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

  states(): ReadonlyMap<string, PodState> {
    const entries = [...this.#pods].toSorted(([a], [b]) => (a < b ? -1 : 1));
    return new Map(
      entries.map(([uid, { pod, proxy }]) => [uid, { state: proxy ? "Up" : "Pending", info: pod.info } as const]),
    );
  }
}

function podRemoved({ info }: PodIdentity): ZtunnelError {
  const message = `connection closed: pod ${info.namespace}/${info.name} was removed`;
  return new ZtunnelError(message, { code: "POD_REMOVED", origin: "internal" });
}
