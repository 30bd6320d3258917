import { type NetnsHandle, netnsInode } from "@hairpin/native";
import { type Clock, errorMessage } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { PodMetrics } from "../pod-metrics.ts";
import type { PodIdentity } from "../pod-proxy.ts";
import type { PodServer, PodState } from "../pods.ts";
import type { WorkerThread } from "./worker-thread.ts";

/** What a worker that is to serve pods is asked. */
export type PodWorker = Pick<WorkerThread, "number" | "alive"> & {
  readonly calls: Pick<WorkerThread["calls"], "call">;
};

export interface WorkerPodsComponents {
  /** The workers that may be given pods, at least one; waits for the first. Rejects when there will be none. */
  whenServing(): Promise<readonly PodWorker[]>;
  readonly metrics: PodMetrics;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** As a pod that could not be served at all (pod-retry.ts). */
const retryMs = 5000;

interface Entry {
  readonly pod: PodIdentity;
  readonly netns: NetnsHandle;
  readonly inode: number;
  /** Workers that were given the pod, whether they could listen or not. */
  readonly given: Set<PodWorker>;
  /** One attempt a worker; an attempt that failed is taken out. */
  readonly attempts: Map<PodWorker, Promise<void>>;
  readonly listening: Set<PodWorker>;
  /** The handle is closed: nobody is given the pod any more. */
  withdrawn: boolean;
}

/**
 * The pods of the node, each served by every worker: their listeners share the ports (SO_REUSEPORT). Main keeps one handle of
 * each netns until every worker has given the pod up, and each worker opens its own from it.
 */
export class WorkerPods implements PodServer {
  readonly #components: WorkerPodsComponents;
  readonly #pods = new Map<string, Entry>();

  constructor(components: WorkerPodsComponents) {
    this.#components = components;
  }

  get uids(): readonly string[] {
    return [...this.#pods.keys()];
  }

  get allUp(): boolean {
    return [...this.#pods.values()].every((entry) => entry.listening.size > 0);
  }

  /**
   * Resolves once every serving worker listens for the pod; one that ends meanwhile is not waited for, as long as another
   * listens. When one cannot listen, none does.
   */
  async add(pod: PodIdentity, netns: NetnsHandle): Promise<void> {
    const inode = closingOnError(netns, () => netnsInode(netns));
    const before = this.#pods.get(pod.uid);
    if (before && before.listening.size > 0 && before.inode === inode) {
      netns.close();
      return;
    }
    if (before) await this.remove(pod.uid);
    const entry = createEntry(pod, netns, inode);
    this.#pods.set(pod.uid, entry);
    try {
      do {
        const workers = await this.#components.whenServing();
        await Promise.all(workers.map((worker) => this.#listen(worker, entry)));
      } while (entry.listening.size === 0 && !entry.withdrawn);
    } catch (error) {
      await withdraw(entry);
      throw error;
    }
    if (!entry.withdrawn) this.#components.metrics.started.add(1);
  }

  async remove(uid: string): Promise<void> {
    const entry = this.#pods.get(uid);
    if (!entry) return;
    this.#pods.delete(uid);
    if (entry.listening.size > 0) this.#components.metrics.stopped.add(1);
    await withdraw(entry);
  }

  states(): ReadonlyMap<string, PodState> {
    const entries = [...this.#pods].toSorted(([a], [b]) => (a < b ? -1 : 1));
    return new Map(
      entries.map(([uid, { pod, listening }]) => {
        return [uid, { state: listening.size > 0 ? "Up" : "Pending", info: pod.info } as const];
      }),
    );
  }

  /** Makes a worker that has just begun to serve listen for every pod. What fails is logged and tried again. */
  async listenOn(worker: PodWorker): Promise<void> {
    const open = [...this.#pods.values()].filter((entry) => !entry.withdrawn);
    await Promise.all(open.map((entry) => this.#listenOrRetry(worker, entry)));
  }

  /** The worker has ended, and its listeners with it. */
  lost(worker: PodWorker): void {
    for (const entry of this.#pods.values()) {
      entry.given.delete(worker);
      entry.attempts.delete(worker);
      entry.listening.delete(worker);
    }
  }

  /** Closes the handles; the workers are gone. */
  close(): void {
    for (const entry of this.#pods.values()) closeNetns(entry);
    this.#pods.clear();
  }

  async #listenOrRetry(worker: PodWorker, entry: Entry): Promise<void> {
    try {
      await this.#listen(worker, entry);
    } catch (error) {
      const { clock, logger } = this.#components;
      const { name, namespace } = entry.pod.info;
      const fields = { pod: `${namespace}/${name}`, worker: worker.number, error: errorMessage(error) };
      logger.error("pod is not served by a worker", fields);
      const retry = (): void => {
        if (worker.alive && !entry.withdrawn) void this.#listenOrRetry(worker, entry);
      };
      clock.setTimer(retryMs, retry, { background: true });
    }
  }

  /** Resolves when the worker listens, or has ended. Rejects when it cannot listen. */
  #listen(worker: PodWorker, entry: Entry): Promise<void> {
    const attempt = entry.attempts.get(worker) ?? this.#launch(worker, entry);
    entry.attempts.set(worker, attempt);
    return attempt;
  }

  async #launch(worker: PodWorker, entry: Entry): Promise<void> {
    entry.given.add(worker);
    try {
      await worker.calls.call("addPod", { pod: entry.pod, netnsFd: entry.netns.fd });
      if (worker.alive && !entry.withdrawn) entry.listening.add(worker);
    } catch (error) {
      if (!worker.alive) return;
      entry.attempts.delete(worker);
      throw error;
    }
  }
}

function createEntry(pod: PodIdentity, netns: NetnsHandle, inode: number): Entry {
  return { pod, netns, inode, given: new Set(), attempts: new Map(), listening: new Set(), withdrawn: false };
}

/** Takes the pod from every worker that was given it, and then closes the handle. */
async function withdraw(entry: Entry): Promise<void> {
  if (entry.withdrawn) return;
  entry.withdrawn = true;
  entry.listening.clear();
  const { uid } = entry.pod;
  // A worker that is gone has given it up.
  const removals = [...entry.given].map((worker) => worker.calls.call("removePod", uid).catch(() => {}));
  await Promise.all(removals);
  entry.netns.close();
}

function closeNetns(entry: Entry): void {
  entry.withdrawn = true;
  entry.netns.close();
}

function closingOnError<T>(netns: NetnsHandle, action: () => T): T {
  try {
    return action();
  } catch (error) {
    netns.close();
    throw error;
  }
}
