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

  constructor(components: PodRetryComponents) {
    this.#components = components;
  }

  get uids(): readonly string[] {
    return this.#components.pods.uids;
  }

  async add(pod: PodIdentity, netns: NetnsHandle): Promise<void> {
    this.#forget(pod.uid);
    const spare = (this.#components.reopen ?? reopenNetns)(netns);
    try {
      await this.#components.pods.add(pod, netns);
      spare.close();
    } catch (error) {
      this.#waiting.set(pod.uid, {
        netns: spare,
        timer: this.#components.clock.setTimer(retryMs, () => void this.#retry(pod, spare), { background: true }),
      });
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
    for (const uid of this.#waiting.keys()) this.#forget(uid);
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
