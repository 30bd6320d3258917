// What the API server says of this node's pods, and what is written to them.
import {
  type KubernetesApi,
  type KubernetesObject,
  ListWatch,
  type ListWatchHandler,
} from "@hairpin/shared/kubernetes";
import { type Clock, type Component, errorCode } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import { type CaptureDecision, type CaptureRuleOptions, decideCapture } from "../capture-rule.ts";
import { type NodePod, nodePodOf, type PodObject } from "./node-pod.ts";
import { type CapturePods, type Redirection, redirectionAnnotation } from "./pod-capture.ts";

const pods = { apiVersion: "v1", kind: "Pod" } as const;
const namespaces = { apiVersion: "v1", kind: "Namespace" } as const;
const fieldManager = "hairpin-capture";

export interface NodeObjectsComponents {
  readonly api: KubernetesApi;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface NodeObjectsOptions extends CaptureRuleOptions {
  readonly nodeName: string;
}

type Labels = Readonly<Record<string, string>>;
type WatchedPod = KubernetesObject & PodObject;

/** This node's pods and all namespaces, kept in step with the API server. */
export class NodeObjects implements CapturePods, Component {
  readonly name = "pod watch";
  readonly #api: KubernetesApi;
  readonly #options: NodeObjectsOptions;
  readonly #pods = new Map<string, NodePod>();
  readonly #namespaces = new Map<string, Labels>();
  readonly #listeners: (() => void)[] = [];
  readonly #watches: readonly [ListWatch<WatchedPod>, ListWatch<KubernetesObject>];
  #isLeaving = false;

  constructor(components: NodeObjectsComponents, options: NodeObjectsOptions) {
    this.#api = components.api;
    this.#options = options;
    this.#watches = [
      new ListWatch<WatchedPod>(components, {
        group: "",
        kind: "Pod",
        selection: { fieldSelector: `spec.nodeName=${options.nodeName}` },
        handler: this.#handler(this.#pods, ({ metadata: { uid = "" } }) => uid, nodePodOf),
      }),
      new ListWatch<KubernetesObject>(components, {
        group: "",
        kind: "Namespace",
        handler: this.#handler(
          this.#namespaces,
          ({ metadata: { name } }) => name,
          ({ metadata: { labels = {} } }) => labels,
        ),
      }),
    ];
  }

  async start(): Promise<void> {
    for (const watch of this.#watches) await watch.start();
  }

  async stop(): Promise<void> {
    await Promise.all(this.#watches.map(async (watch) => await watch.stop()));
  }

  /** Resolves when everything has been listed once; rejects when stopped before. */
  async whenSynced(): Promise<void> {
    await Promise.all(this.#watches.map(async (watch) => await watch.whenSynced()));
  }

  /** Called after every change. */
  onChange(listener: () => void): void {
    this.#listeners.push(listener);
  }

  list(): NodePod[] {
    return [...this.#pods.values()];
  }

  find({ uid }: { readonly uid: string }): NodePod | undefined {
    return this.#pods.get(uid);
  }

  /** From now on no pod is wanted. */
  leave(): void {
    this.#isLeaving = true;
  }

  isWanted(pod: NodePod): boolean {
    return !this.#isLeaving && !pod.isFinished && this.decide(pod).captured;
  }

  decide(pod: NodePod): CaptureDecision {
    return decideCapture(pod, this.#namespaces.get(pod.namespace) ?? {}, this.#options);
  }

  /**
   * A pod by name, asked for where the watch has not caught up: a runtime makes networks of pods that were bound to this node a
   * moment ago. Undefined: there is none of that name and uid. Rejects with `API_*`.
   */
  async fetch(wanted: {
    readonly namespace: string;
    readonly name: string;
    readonly uid: string | undefined;
  }): Promise<NodePod | undefined> {
    const isIt = (pod: NodePod): boolean =>
      pod.namespace === wanted.namespace &&
      pod.name === wanted.name &&
      (wanted.uid === undefined || pod.uid === wanted.uid);
    const { namespace, name } = wanted;
    const known = this.list().find(isIt);
    if (known === undefined) {
      const object = await this.#api.get<WatchedPod>({ ...pods, namespace, name });
      const pod = object === undefined ? undefined : nodePodOf(object);
      if (pod === undefined || !isIt(pod)) return undefined;
      this.#pods.set(pod.uid, pod);
    }
    if (!this.#namespaces.has(namespace)) {
      const object = await this.#api.get({ ...namespaces, name: namespace });
      this.#namespaces.set(namespace, object?.metadata.labels ?? {});
    }
    return this.list().find(isIt);
  }

  async annotate({ uid, namespace, name }: NodePod, value: Redirection | undefined): Promise<void> {
    const change = { metadata: { uid, annotations: { [redirectionAnnotation]: value ?? null } } };
    try {
      const path = { ...pods, namespace, name };
      const changed = await this.#api.mergePatch<WatchedPod>(path, change, { fieldManager, subresource: "status" });
      // Until the watch tells, or it would be written again.
      if (this.#pods.has(uid)) this.#pods.set(uid, nodePodOf(changed));
    } catch (error) {
      // Gone, or another of the same name.
      if (!["API_NOT_FOUND", "API_CONFLICT"].includes(errorCode(error))) throw error;
    }
  }

  #handler<T, Kept>(
    kept: Map<string, Kept>,
    keyOf: (object: T) => string,
    keep: (object: T) => Kept,
  ): ListWatchHandler<T> {
    const tell = (): void => {
      for (const listener of this.#listeners) listener();
    };
    return {
      replace(objects) {
        kept.clear();
        for (const object of objects) kept.set(keyOf(object), keep(object));
        tell();
      },
      put(object) {
        kept.set(keyOf(object), keep(object));
        tell();
      },
      remove(object) {
        kept.delete(keyOf(object));
        tell();
      },
    };
  }
}
