// istio-cni's role: keeps every pod captured or not, as its labels say, from before its first program until after its last.

import { type Clock, errorMessage, type Timer } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { PodNetwork } from "../fabric/fabric.ts";
import type { PodHooks } from "../kubelet/pod-services.ts";
import { podKind } from "../object/kinds.ts";
import type { Pod } from "../object/kubernetes-object.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { isCaptureWanted } from "./capture-rule.ts";

export const redirectionAnnotation = "ambient.istio.io/redirection";

/** What is done to a pod's namespace and told to the ztunnel of its node. */
export interface CaptureActions {
  /** Hands the namespace to ztunnel; resolves when its listeners are bound. Rejects when no ztunnel takes it. */
  readonly handOver: (pod: Pod, network: PodNetwork) => Promise<void>;
  readonly takeBack: (pod: Pod) => Promise<void>;
  /** Programs the redirection, and the exemption of the node's probes. */
  readonly redirect: (pod: Pod, network: PodNetwork) => Promise<void>;
  /** New connections go their own way; open ones stay redirected, or they would break. */
  readonly spareNewConnections: (pod: Pod, network: PodNetwork) => Promise<void>;
  readonly stopRedirecting: (pod: Pod, network: PodNetwork) => Promise<void>;
}

interface TrackedPod {
  readonly pod: Pod;
  readonly network: PodNetwork;
  isCaptured: boolean;
  isGone: boolean;
  /** The last operation; operations on one pod follow each other. */
  queue: Promise<void>;
  goodbye: Timer | undefined;
}

/**
 * How long ztunnel keeps serving a pod whose label has gone: others may send it HBONE until they have heard of it, and open
 * connections shall have time to end.
 */
export const goodbyeMs = 10_000;
const retryMs = 500;

export class PodCapture implements PodHooks {
  readonly #store: ObjectStore;
  readonly #actions: CaptureActions;
  readonly #logger: Logger;
  readonly #clock: Clock;
  readonly #pods = new Map<string, TrackedPod>();

  constructor({
    store,
    actions,
    clock,
    logger,
  }: {
    store: ObjectStore;
    actions: CaptureActions;
    clock: Clock;
    logger: Logger;
  }) {
    this.#store = store;
    this.#actions = actions;
    this.#logger = logger;
    this.#clock = clock;
    store.onChange(({ object, type }) => {
      // A new pod is looked at before its start; everything else may change what is wanted of running pods.
      if (object.kind === "Namespace" || (object.kind === "Pod" && type === "MODIFIED"))
        queueMicrotask(() => this.#review());
    });
  }

  readonly beforeStart: PodHooks["beforeStart"] = async (pod, network) => {
    const uid = pod.metadata.uid ?? "";
    const tracked = this.#pods.get(uid) ?? newlyTracked(pod, network);
    if (isCaptureWanted(pod, this.#store)) await this.#capture(tracked);
    // Tracked from here on: a label that changed meanwhile is looked at now.
    this.#pods.set(uid, tracked);
    this.#review();
  };

  readonly afterStop: PodHooks["afterStop"] = async (pod) => {
    const uid = pod.metadata.uid ?? "";
    const tracked = this.#pods.get(uid);
    this.#pods.delete(uid);
    if (tracked === undefined) return;
    tracked.isGone = true;
    await tracked.queue;
    if (!tracked.isCaptured && tracked.goodbye === undefined) return;
    tracked.goodbye?.cancel();
    await this.#letGo(tracked);
  };

  #review(): void {
    for (const tracked of this.#pods.values()) {
      const { namespace, name } = tracked.pod.metadata;
      const pod = this.#store.find(podKind, namespace, name);
      if (pod === undefined || pod.metadata.deletionTimestamp !== undefined) continue;
      if (isCaptureWanted(pod, this.#store) !== tracked.isCaptured) this.#enqueue(tracked);
      // A user may write the annotation too; control believes it and would call an open door guarded.
      else if ((pod.metadata.annotations?.[redirectionAnnotation] === "enabled") !== tracked.isCaptured)
        this.#annotate(pod, tracked.isCaptured ? "enabled" : undefined);
    }
  }

  #enqueue(tracked: TrackedPod): void {
    tracked.queue = tracked.queue.then(async () => await this.#adjust(tracked));
  }

  /** Never rejects. */
  async #adjust(tracked: TrackedPod): Promise<void> {
    const { namespace, name } = tracked.pod.metadata;
    const pod = this.#store.find(podKind, namespace, name) ?? tracked.pod;
    const isWanted = isCaptureWanted(pod, this.#store);
    if (tracked.isGone || isWanted === tracked.isCaptured) return;
    try {
      if (isWanted) await this.#capture(tracked);
      else await this.#release(tracked);
    } catch (error) {
      this.#logger.warn("capture could not be changed", { pod: name, error: errorMessage(error) });
      this.#clock.setTimer(retryMs, () => this.#review());
    }
  }

  /** Listeners first, rules second: a connection is never sent to a port where nobody listens. */
  async #capture(tracked: TrackedPod): Promise<void> {
    tracked.goodbye?.cancel();
    tracked.goodbye = undefined;
    await this.#actions.handOver(tracked.pod, tracked.network);
    await this.#actions.redirect(tracked.pod, tracked.network);
    tracked.isCaptured = true;
    this.#annotate(tracked.pod, "enabled");
  }

  async #release(tracked: TrackedPod): Promise<void> {
    tracked.isCaptured = false;
    this.#annotate(tracked.pod, undefined);
    await this.#actions.spareNewConnections(tracked.pod, tracked.network);
    tracked.goodbye = this.#clock.setTimer(goodbyeMs, () => {
      tracked.goodbye = undefined;
      tracked.queue = tracked.queue.then(async () => {
        if (!tracked.isCaptured && !tracked.isGone) await this.#letGo(tracked);
      });
    });
  }

  /** Never rejects: what ztunnel does not take back ends with its connection, rules end with the namespace. */
  async #letGo({ pod, network }: TrackedPod): Promise<void> {
    const outcomes = await Promise.allSettled([
      this.#actions.takeBack(pod),
      this.#actions.stopRedirecting(pod, network),
    ]);
    for (const outcome of outcomes)
      if (outcome.status === "rejected")
        this.#logger.warn("a pod was not let go in order", {
          pod: pod.metadata.name,
          error: errorMessage(outcome.reason),
        });
  }

  #annotate({ metadata: { namespace, name, uid } }: Pod, value: string | undefined): void {
    const pod = this.#store.find(podKind, namespace, name);
    if (pod?.metadata.uid !== uid || pod === undefined) return;
    const { [redirectionAnnotation]: _former, ...annotations } = pod.metadata.annotations ?? {};
    const wanted = value === undefined ? annotations : { ...annotations, [redirectionAnnotation]: value };
    this.#store.update({ ...pod, metadata: { ...pod.metadata, annotations: wanted } });
  }
}

function newlyTracked(pod: Pod, network: PodNetwork): TrackedPod {
  return { pod, network, isCaptured: false, isGone: false, queue: Promise.resolve(), goodbye: undefined };
}
