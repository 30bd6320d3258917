// Starts capturing on a node, and keeps what the kernel and ztunnel have in step with what is wanted.
import { type Clock, type Component, errorMessage, type ReadinessTask, type Timer } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { ZdsServer } from "../zds-server.ts";
import { adoptPods } from "./adopt-pods.ts";
import type { NodeCapture } from "./capture-actions.ts";
import type { HostProc } from "./host-proc.ts";
import type { NodeObjects } from "./node-objects.ts";
import type { NodePod } from "./node-pod.ts";
import type { PodCapture } from "./pod-capture.ts";
import type { PodEvents } from "./pod-events.ts";

const reconcileMs = 60_000;
/** A pod that runs and of which the CNI plugin has not told: it may be a moment from doing so. */
const adoptDelayMs = 1_000;

const noNetns = "none of the node's processes is in a network namespace that has the pod's address";

export interface CaptureLoopComponents {
  readonly objects: NodeObjects;
  readonly capture: PodCapture;
  readonly node: NodeCapture;
  readonly zds: ZdsServer;
  readonly events: PodEvents;
  readonly host: HostProc;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class CaptureLoop implements Component {
  readonly name = "capture";
  readonly #components: CaptureLoopComponents;
  readonly #ready: ReadinessTask;
  #timer: Timer | undefined;
  #adopting: Timer | undefined;
  /** Reading /proc and repairs follow each other. */
  #queue: Promise<void> = Promise.resolve();
  #isStopped = false;

  constructor(components: CaptureLoopComponents, ready: ReadinessTask) {
    this.#components = components;
    this.#ready = ready;
  }

  /** Pods of the agent before come first: a ztunnel ends pods that its snapshot leaves out. */
  async start(): Promise<void> {
    const { objects, capture, node, zds } = this.#components;
    await objects.whenSynced();
    await adoptPods(this.#components, { hold: true });
    await node.writeHostRules();
    zds.start();
    objects.onChange(() => {
      capture.review();
      this.#adoptSoon();
    });
    await this.reconcile();
    this.#ready.done();
    this.#expectReconcile();
  }

  async stop(): Promise<void> {
    const { capture, zds } = this.#components;
    this.#isStopped = true;
    this.#timer?.cancel();
    this.#adopting?.cancel();
    await this.#queue;
    zds.stop();
    capture.stop();
  }

  #expectReconcile(): void {
    this.#timer = this.#components.clock.setTimer(reconcileMs, () => {
      this.#queue = this.#queue.then(async () => {
        await this.reconcile();
        if (!this.#isStopped) this.#expectReconcile();
      });
    });
  }

  /** Never rejects. */
  async reconcile(): Promise<void> {
    const { capture, node } = this.#components;
    await this.#try("pods that have gone were not found", this.#forgetGone());
    await this.#try("running pods were not found", adoptPods(this.#components, { hold: false }));
    for (const pod of this.#missing()) this.#components.events.captureFailed(pod, new Error(noNetns));
    capture.review();
    await this.#try("rules of pods were not checked", capture.repairAll());
    await this.#try("the node's own rules were not written", node.writeHostRules());
  }

  /** Pods of whose end neither the runtime nor the watch has told. */
  async #forgetGone(): Promise<void> {
    const { objects, capture } = this.#components;
    for (const pod of capture.tracked())
      if (objects.find(pod) === undefined && (await objects.fetch(pod)) === undefined) await capture.remove(pod.uid);
  }

  /** Pods that run and are to be captured, and of which nobody knows the network. */
  #missing(): NodePod[] {
    const { objects, capture } = this.#components;
    return objects
      .list()
      .filter((pod) => objects.isWanted(pod) && !pod.isEnding && pod.ips.length > 0 && !capture.isTracked(pod.uid));
  }

  #adoptSoon(): void {
    const { clock } = this.#components;
    if (this.#missing().length === 0 || this.#adopting !== undefined || this.#isStopped) return;
    this.#adopting = clock.setTimer(adoptDelayMs, () => {
      this.#adopting = undefined;
      this.#queue = this.#queue.then(async () => {
        await this.#try("running pods were not found", adoptPods(this.#components, { hold: false }));
      });
    });
  }

  async #try(what: string, work: Promise<void>): Promise<void> {
    try {
      await work;
    } catch (error) {
      if (!this.#isStopped) this.#components.logger.warn(what, { error: errorMessage(error) });
    }
  }
}
