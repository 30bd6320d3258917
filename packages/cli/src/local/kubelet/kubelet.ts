// Runs the pods that are assigned to the mesh's nodes: starts new ones, ends deleted ones.

import { errorMessage } from "@hairpin/shared/process";
import { podKind } from "../object/kinds.ts";
import type { Pod } from "../object/kubernetes-object.ts";
import { PodRunner } from "./pod-runner.ts";
import type { PodServices } from "./pod-services.ts";

export class Kubelet {
  readonly #services: PodServices;
  readonly #runners = new Map<string, PodRunner>();
  #stopListening: () => void = () => {};

  constructor(services: PodServices) {
    this.#services = services;
  }

  start(): void {
    this.#stopListening = this.#services.store.onChange(({ type, object }) => {
      if (object.kind !== "Pod") return;
      // Not within the store's notification: a runner writes to the store.
      const pod = object as Pod;
      queueMicrotask(() => (type === "DELETED" ? this.#end(pod) : this.#look(pod)));
    });
    for (const pod of this.#services.store.list(podKind)) this.#look(pod);
  }

  findRunner(namespace: string, name: string): PodRunner | undefined {
    const pod = this.#services.store.find(podKind, namespace, name);
    return pod === undefined ? undefined : this.#runners.get(pod.metadata.uid ?? "");
  }

  async stop(): Promise<void> {
    this.#stopListening();
    await Promise.all([...this.#runners.values()].map(async (runner) => await runner.stop()));
  }

  #look(pod: Pod): void {
    const uid = pod.metadata.uid ?? "";
    if (pod.metadata.deletionTimestamp !== undefined) return this.#end(pod);
    const nodeName = pod.spec?.nodeName;
    if (nodeName === undefined || this.#runners.has(uid)) return;
    const node = this.#services.fabric.findNode(nodeName);
    if (node === undefined) return;
    const runner = new PodRunner(pod, node, this.#services);
    this.#runners.set(uid, runner);
    runner.start();
  }

  #end(pod: Pod): void {
    void this.#stopRunner(pod).catch((error: unknown) => {
      this.#services.logger.error("a pod did not end in order", { pod: pod.metadata.name, error: errorMessage(error) });
    });
  }

  async #stopRunner(pod: Pod): Promise<void> {
    const uid = pod.metadata.uid ?? "";
    await this.#runners.get(uid)?.stop();
    this.#runners.delete(uid);
    const current = this.#services.store.find(podKind, pod.metadata.namespace, pod.metadata.name);
    if (current?.metadata.uid === uid) this.#services.store.remove(current);
  }
}
