import { type NetnsHandle, openNetns } from "@hairpin/native";
import { type Clock, errorMessage, type Timer } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { PodIdentity } from "../pod-proxy.ts";
import type { PodHandler } from "./zds-client.ts";

/** As ztunnel: a pod that could not be served is tried again this often. */
const retryMs = 5000;

export interface PodRetryComponents {
  readonly pods: PodHandler;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called when the number of pending pods may have changed. */
  onChange(): void;
  /** Default: native's; a second handle on the same namespace. */
  readonly reopen?: (netns: NetnsHandle) => NetnsHandle;
}

/**
 * Adds pods, and keeps trying those that could not be served: the agent hears of the failure at once (so that the pod's
 * sandbox may be made again), and a pod whose trouble passes is served without being asked again.
 */
export class PodRetry implements PodHandler {
  readonly #components: PodRetryComponents;
  readonly #waiting = new Map<string, { readonly timer: Timer; readonly netns: NetnsHandle }>();
  /** The last attempt for each pod that was not removed since: an older one must not try again. */
  readonly #current = new Map<string, symbol>();

  constructor(components: PodRetryComponents) {
    this.#components = components;
  }

  get uids(): readonly string[] {
    return this.#components.pods.uids;
  }

  async add(pod: PodIdentity, netns: NetnsHandle): Promise<void> {
    this.#forget(pod.uid);
    const spare = this.#reopen(netns);
    const attempt = Symbol(pod.uid);
    this.#current.set(pod.uid, attempt);
    try {
      await this.#components.pods.add(pod, netns);
      spare.close();
    } catch (error) {
      // Removed, or added again, while it was tried.
      if (this.#current.get(pod.uid) !== attempt) spare.close();
      else this.#retryLater(pod, spare);
      throw error;
    } finally {
      this.#components.onChange();
    }
  }

  async remove(uid: string): Promise<void> {
    this.#forget(uid);
    await this.#components.pods.remove(uid);
    this.#components.onChange();
  }

  /** Gives up all retries. */
  stop(): void {
    for (const uid of this.#current.keys()) this.#forget(uid);
  }

  #retryLater(pod: PodIdentity, netns: NetnsHandle): void {
    const timer = this.#components.clock.setTimer(retryMs, () => void this.#retry(pod, netns), { background: true });
    this.#waiting.set(pod.uid, { timer, netns });
  }

  /** A second handle; when there can be none (too many open files) the first is closed. */
  #reopen(netns: NetnsHandle): NetnsHandle {
    try {
      return (this.#components.reopen ?? reopenNetns)(netns);
    } catch (error) {
      netns.close();
      throw error;
    }
  }

  async #retry(pod: PodIdentity, netns: NetnsHandle): Promise<void> {
    this.#waiting.delete(pod.uid);
    try {
      await this.add(pod, netns);
      this.#components.logger.info("pod is served after all", { pod: `${pod.info.namespace}/${pod.info.name}` });
    } catch (error) {
      this.#components.logger.warn("pod is still not served", {
        pod: `${pod.info.namespace}/${pod.info.name}`,
        error: errorMessage(error),
      });
    }
  }

  #forget(uid: string): void {
    this.#current.delete(uid);
    const waiting = this.#waiting.get(uid);
    if (!waiting) return;
    this.#waiting.delete(uid);
    waiting.timer.cancel();
    waiting.netns.close();
  }
}

function reopenNetns(netns: NetnsHandle): NetnsHandle {
  return openNetns(`/proc/self/fd/${netns.fd}`);
}
