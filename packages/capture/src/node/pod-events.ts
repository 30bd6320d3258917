// Tells users in a pod's events why it is not captured.
import type { KubernetesApi, KubernetesObject } from "@hairpin/shared/kubernetes";
import { type Clock, errorMessage } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { NodePod } from "./node-pod.ts";

/** The same again is not told within this time. */
const repeatMs = 10 * 60_000;
const maxRemembered = 1000;
/** The API server's limit for the text of an event. */
const maxMessageLength = 1024;

interface Event extends KubernetesObject {
  readonly involvedObject: Readonly<Record<string, string>>;
  readonly type: "Warning";
  readonly reason: string;
  readonly message: string;
  readonly source: { readonly component: string; readonly host: string };
  readonly firstTimestamp: string;
  readonly lastTimestamp: string;
  readonly count: number;
}

export interface PodEventsComponents {
  readonly api: KubernetesApi;
  readonly clock: Clock;
  readonly logger: Logger;
}

export class PodEvents {
  readonly #components: PodEventsComponents;
  readonly #nodeName: string;
  /** When what was told, oldest first. */
  readonly #told = new Map<string, number>();

  constructor(components: PodEventsComponents, nodeName: string) {
    this.#components = components;
    this.#nodeName = nodeName;
  }

  /** Does not wait; what cannot be written is logged. */
  captureFailed(pod: NodePod, error: unknown): void {
    const { api, clock, logger } = this.#components;
    const message = `The pod is not captured by the mesh yet: ${errorMessage(error)}`.slice(0, maxMessageLength);
    const key = `${pod.uid} ${message}`;
    const last = this.#told.get(key);
    if (last !== undefined && clock.now() - last < repeatMs) return;
    this.#told.delete(key);
    this.#told.set(key, clock.now());
    for (const oldest of this.#told.keys()) {
      if (this.#told.size <= maxRemembered) break;
      this.#told.delete(oldest);
    }
    api.create(this.#event(pod, message)).catch((reason: unknown) => {
      logger.warn("an event was not written", { pod: `${pod.namespace}/${pod.name}`, error: errorMessage(reason) });
    });
  }

  #event({ uid, namespace, name }: NodePod, message: string): Event {
    const now = this.#components.clock.wallTime();
    const time = now.toISOString();
    return {
      apiVersion: "v1",
      kind: "Event",
      // As the kubelet names them.
      metadata: { name: `${name}.${(now.getTime() * 1_000_000).toString(16)}`, namespace },
      involvedObject: { apiVersion: "v1", kind: "Pod", namespace, name, uid },
      type: "Warning",
      reason: "CaptureFailed",
      message,
      source: { component: "hairpin-capture", host: this.#nodeName },
      firstTimestamp: time,
      lastTimestamp: time,
      count: 1,
    };
  }
}
