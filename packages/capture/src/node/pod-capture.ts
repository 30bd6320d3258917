// istio-cni's role: keeps every pod of a node captured or not, as is wanted of it, from before its first program until after
// its last. Knows neither Kubernetes nor netfilter: those are its components.

import { type Clock, errorMessage, type Timer } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { NodePod } from "./node-pod.ts";
import type { PodNetwork } from "./pod-network.ts";

export const redirectionAnnotation = "ambient.istio.io/redirection";
/** Values of {@link redirectionAnnotation}; control believes the first. */
export const Redirection = { enabled: "enabled", pending: "pending" } as const;
export type Redirection = (typeof Redirection)[keyof typeof Redirection];

/** What is done to a pod's namespace and told to the ztunnel of its node. */
export interface CaptureActions {
  /** Hands the namespace to ztunnel; resolves when its listeners are bound. Rejects when no ztunnel takes it. */
  handOver(pod: NodePod, network: PodNetwork): Promise<void>;
  /** ztunnel lets the pod go, and the node's probes go to it as to any other. */
  takeBack(pod: NodePod, network: PodNetwork): Promise<void>;
  /** Programs the redirection, and the exemption of the node's probes. */
  redirect(pod: NodePod, network: PodNetwork): Promise<void>;
  /** Puts back what is missing of {@link redirect}; false when nothing was. */
  repair(pod: NodePod, network: PodNetwork): Promise<boolean>;
  /** New connections go their own way; open ones stay redirected, or they would break. */
  spareNewConnections(network: PodNetwork): Promise<void>;
  stopRedirecting(network: PodNetwork): Promise<void>;
}

/** The pods of this node, as they are now. */
export interface CapturePods {
  find(pod: { readonly uid: string; readonly namespace: string; readonly name: string }): NodePod | undefined;
  isWanted(pod: NodePod): boolean;
  /** Undefined: takes the annotation away. Rejects when it could not be written; harmless when the pod is gone. */
  annotate(pod: NodePod, value: Redirection | undefined): Promise<void>;
}

/** What an operator wants to hear of. */
export interface CaptureObserver {
  onCaptured?(pod: NodePod, durationMs: number): void;
  onReleased?(pod: NodePod): void;
  onRepaired?(pod: NodePod): void;
  onFailed?(pod: NodePod, error: unknown): void;
}

export interface PodCaptureComponents {
  readonly pods: CapturePods;
  readonly actions: CaptureActions;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly observer?: CaptureObserver;
}

/** States: spared ⇄ captured → leaving (goodbye is set: ztunnel still serves it) → spared. */
interface TrackedPod {
  /** As last seen. */
  pod: NodePod;
  readonly network: PodNetwork;
  isCaptured: boolean;
  isGone: boolean;
  /** The last operation; operations on one pod follow each other. */
  queue: Promise<void>;
  goodbye: Timer | undefined;
  retry: Timer | undefined;
  /** In a row. */
  failures: number;
}

/**
 * How long ztunnel keeps serving a pod whose label has gone: others may send it HBONE until they have heard of it, and open
 * connections shall have time to end.
 */
export const goodbyeMs = 10_000;
const firstRetryMs = 500;
const maxRetryMs = 15_000;

export class PodCapture {
  readonly #pods: CapturePods;
  readonly #actions: CaptureActions;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #observer: CaptureObserver;
  readonly #tracked = new Map<string, TrackedPod>();

  constructor({ pods, actions, clock, logger, observer = {} }: PodCaptureComponents) {
    this.#pods = pods;
    this.#actions = actions;
    this.#clock = clock;
    this.#logger = logger;
    this.#observer = observer;
  }

  /**
   * A pod whose network has just been made, and none of whose programs runs yet. Resolves when it may start: captured if that
   * is wanted, true then. Rejects when it is wanted and cannot be; the network is the caller's again then.
   */
  async add(pod: NodePod, network: PodNetwork): Promise<boolean> {
    const former = this.#tracked.get(pod.uid);
    const tracked = former?.network.id === network.id ? former : newlyTracked(pod, network);
    const isWanted = this.#pods.isWanted(pod);
    if (isWanted) await this.#enqueue(tracked, async () => await this.#capture(tracked));
    // A new sandbox of the same pod: ztunnel has replaced the former by it.
    if (former !== undefined && former !== tracked) this.#drop(former);
    if (former === tracked && tracked.network !== network) network.close();
    // Tracked from here on: a label that changed meanwhile is looked at now.
    this.#tracked.set(pod.uid, tracked);
    this.review();
    return isWanted;
  }

  /**
   * A pod that runs already. `isCaptured`: by an earlier agent, and nothing is to be done for it but to watch it; else it is
   * captured now if that is wanted. Takes over the network.
   */
  adopt(pod: NodePod, network: PodNetwork, isCaptured: boolean): void {
    if (this.#tracked.has(pod.uid)) return network.close();
    const tracked = newlyTracked(pod, network);
    tracked.isCaptured = isCaptured;
    this.#tracked.set(pod.uid, tracked);
    this.#reviewOne(tracked);
  }

  isTracked(uid: string): boolean {
    return this.#tracked.has(uid);
  }

  isCaptured(uid: string): boolean {
    return this.#tracked.get(uid)?.isCaptured === true;
  }

  /** All pods that were added or adopted, and not removed since. */
  tracked(): NodePod[] {
    return [...this.#tracked.values()].map(({ pod }) => pod);
  }

  get capturedCount(): number {
    return [...this.#tracked.values()].filter(({ isCaptured }) => isCaptured).length;
  }

  /**
   * A pod whose last program has ended, and whose network goes. With `networkId` only if that is the network it has: a pod
   * may have a new one by then. Its rules stay: what is left of it must not speak in the clear.
   */
  async remove(uid: string, networkId?: string): Promise<void> {
    const tracked = this.#tracked.get(uid);
    if (tracked === undefined || (networkId !== undefined && tracked.network.id !== networkId)) return;
    this.#tracked.delete(uid);
    tracked.isGone = true;
    await tracked.queue;
    const { pod, network } = tracked;
    if (tracked.isCaptured || tracked.goodbye !== undefined)
      await this.#try("a pod was not taken back", pod, this.#actions.takeBack(pod, network));
    this.#drop(tracked);
  }

  /** Looks at all pods again; call it whenever a pod or a namespace has changed. */
  review(): void {
    for (const tracked of this.#tracked.values()) this.#reviewOne(tracked);
  }

  /** Tries at once what failed and waits for its turn: a ztunnel has come. */
  retry(): void {
    for (const tracked of this.#tracked.values()) {
      tracked.retry?.cancel();
      tracked.retry = undefined;
      tracked.failures = 0;
    }
    this.review();
  }

  /** Puts back what is missing of the captured pods' rules. Resolves when all have been looked at. */
  async repairAll(): Promise<void> {
    for (const tracked of this.#tracked.values())
      if (tracked.isCaptured) await this.#enqueue(tracked, async () => await this.#repair(tracked)).catch(() => {});
  }

  /** Releases every pod as if its label had gone; resolves when no pod has a rule any more. For an agent that goes for good. */
  async releaseAll(): Promise<void> {
    const leaving = [...this.#tracked.values()];
    await Promise.all(
      leaving.map(async (tracked) => {
        await this.#enqueue(tracked, async () => {
          if (tracked.isCaptured) await this.#release(tracked);
        }).catch(() => {});
      }),
    );
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#clock.setTimer(goodbyeMs, resolve);
    if (leaving.some(({ goodbye }) => goodbye !== undefined)) await promise;
    await Promise.all(leaving.map(({ queue }) => queue));
  }

  /** Forgets everything and changes nothing: pods stay as they are. */
  stop(): void {
    for (const tracked of this.#tracked.values()) this.#drop(tracked);
    this.#tracked.clear();
  }

  #reviewOne(tracked: TrackedPod): void {
    const pod = this.#pods.find(tracked.pod);
    if (pod === undefined || tracked.isGone) return;
    const former = tracked.pod;
    tracked.pod = pod;
    const isWanted = this.#pods.isWanted(pod);
    if (isWanted !== tracked.isCaptured) {
      // Its turn comes by the timer.
      if (tracked.retry === undefined) void this.#enqueue(tracked, async () => await this.#adjust(tracked));
      return;
    }
    // A user may write the annotation too; control believes it and would call an open door guarded.
    const value = tracked.isCaptured ? Redirection.enabled : undefined;
    if (pod.annotations[redirectionAnnotation] !== value) this.#annotate(tracked, value);
    if (tracked.isCaptured && !hasSameAnnotations(former, pod))
      void this.#enqueue(tracked, async () => await this.#repair(tracked)).catch(() => {});
  }

  async #enqueue(tracked: TrackedPod, operation: () => Promise<void>): Promise<void> {
    const done = tracked.queue.then(operation);
    tracked.queue = done.catch(() => {});
    await done;
  }

  /** Never rejects. */
  async #adjust(tracked: TrackedPod): Promise<void> {
    const pod = this.#pods.find(tracked.pod) ?? tracked.pod;
    const isWanted = this.#pods.isWanted(pod);
    if (tracked.isGone || isWanted === tracked.isCaptured) return;
    try {
      if (isWanted) await this.#capture(tracked);
      else await this.#release(tracked);
      tracked.failures = 0;
    } catch (error) {
      this.#logger.warn("capture could not be changed", { ...nameOf(pod), error: errorMessage(error) });
      this.#observer.onFailed?.(pod, error);
      if (isWanted) this.#annotate(tracked, Redirection.pending);
      const pauseMs = Math.min(firstRetryMs * 2 ** tracked.failures++, maxRetryMs);
      tracked.retry = this.#clock.setTimer(pauseMs, () => {
        tracked.retry = undefined;
        this.#reviewOne(tracked);
      });
    }
  }

  /** Listeners first, rules second: a connection is never sent to a port where nobody listens. */
  async #capture(tracked: TrackedPod): Promise<void> {
    const begin = this.#clock.now();
    const { pod, network } = tracked;
    tracked.goodbye?.cancel();
    tracked.goodbye = undefined;
    await this.#actions.handOver(pod, network);
    try {
      await this.#actions.redirect(pod, network);
    } catch (error) {
      if (!tracked.isCaptured) await this.#try("a pod was not taken back", pod, this.#actions.takeBack(pod, network));
      throw error;
    }
    tracked.isCaptured = true;
    this.#annotate(tracked, Redirection.enabled);
    this.#observer.onCaptured?.(pod, this.#clock.now() - begin);
  }

  async #release(tracked: TrackedPod): Promise<void> {
    const { pod, network } = tracked;
    tracked.isCaptured = false;
    this.#annotate(tracked, undefined);
    await this.#actions.spareNewConnections(network);
    tracked.goodbye = this.#clock.setTimer(goodbyeMs, () => {
      tracked.goodbye = undefined;
      void this.#enqueue(tracked, async () => {
        if (!tracked.isCaptured && !tracked.isGone) await this.#letGo(tracked);
      });
    });
    this.#observer.onReleased?.(pod);
  }

  /** Never rejects: what ztunnel does not take back ends with its connection, rules end with the namespace. */
  async #letGo({ pod, network }: TrackedPod): Promise<void> {
    await Promise.all([
      this.#try("a pod was not taken back", pod, this.#actions.takeBack(pod, network)),
      this.#try("a pod keeps its rules", pod, this.#actions.stopRedirecting(network)),
    ]);
  }

  async #repair(tracked: TrackedPod): Promise<void> {
    const { pod, network } = tracked;
    if (!tracked.isCaptured || tracked.isGone) return;
    try {
      if (!(await this.#actions.repair(pod, network))) return;
      this.#logger.warn("rules of a pod were not as they should be", nameOf(pod));
      this.#observer.onRepaired?.(pod);
    } catch (error) {
      this.#logger.warn("rules of a pod could not be checked", { ...nameOf(pod), error: errorMessage(error) });
      this.#observer.onFailed?.(pod, error);
    }
  }

  /** Not waited for: it is written again with the next review while it is not there. */
  #annotate(tracked: TrackedPod, value: Redirection | undefined): void {
    const pod = this.#pods.find(tracked.pod) ?? tracked.pod;
    if (pod.annotations[redirectionAnnotation] === value) return;
    void this.#try("the annotation of a pod was not written", pod, this.#pods.annotate(pod, value));
  }

  async #try(what: string, pod: NodePod, work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      this.#logger.warn(what, { ...nameOf(pod), error: errorMessage(error) });
    }
  }

  #drop(tracked: TrackedPod): void {
    tracked.isGone = true;
    tracked.goodbye?.cancel();
    tracked.retry?.cancel();
    // Not under the feet of an operation: the number of a closed descriptor is soon another's.
    tracked.queue = tracked.queue.then(() => tracked.network.close());
  }
}

function newlyTracked(pod: NodePod, network: PodNetwork): TrackedPod {
  return {
    pod,
    network,
    isCaptured: false,
    isGone: false,
    queue: Promise.resolve(),
    goodbye: undefined,
    retry: undefined,
    failures: 0,
  };
}

function nameOf({ namespace, name }: NodePod): Record<string, string> {
  return { pod: `${namespace}/${name}` };
}

/** But for the one that is ours. */
function hasSameAnnotations(one: NodePod, other: NodePod): boolean {
  const [own, others] = [one, other].map(({ annotations }) =>
    JSON.stringify({ ...annotations, [redirectionAnnotation]: undefined }),
  );
  return own === others;
}
