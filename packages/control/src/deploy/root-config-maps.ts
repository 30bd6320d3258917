import type { Component } from "@hairpin/shared/process";
import type { KubernetesObject, ListWatchComponents } from "@hairpin/shared/kubernetes";
import type { AuthoritySource } from "../authority/signing-authority.ts";
import { Recomputation } from "../collection/recomputation.ts";
import type { ObjectCollection } from "../collection/object-collection.ts";
import type { Leadership } from "../status/leadership.ts";
import { ObjectMirror } from "./object-mirror.ts";
import { rootCertConfigMap, rootCertKey } from "./proxy-pod.ts";
import { buildRootConfigMap } from "./root-config-map.ts";
import { WorkQueue } from "./work-queue.ts";

/** Who writes them, as the API server notes it. */
export const fieldManager = "hairpin-root-certificate";
const writesAtOnce = 8;
/** Kubernetes' own, in which no pod runs. */
const leftOut: readonly string[] = ["kube-public", "kube-node-lease"];

interface ConfigMap extends KubernetesObject {
  readonly data?: Readonly<Record<string, string>>;
  readonly immutable?: boolean;
}

export interface RootConfigMapsComponents extends ListWatchComponents {
  readonly objects: ObjectCollection;
  readonly authorities: AuthoritySource;
  readonly leadership: Leadership;
}

/**
 * Keeps `istio-ca-root-cert` in every namespace that is not being deleted: made at once in a new one, mended when somebody changes or
 * deletes it, changed when the roots do. Only the leader writes, and only where something differs.
 */
export class RootConfigMaps implements Component {
  readonly name = "root certificates";
  readonly #components: RootConfigMapsComponents;
  readonly #held: ObjectMirror<ConfigMap>;
  readonly #queue: WorkQueue;
  readonly #round: Recomputation;
  #endings: readonly (() => void)[] = [];
  /** Before the first listing everything would seem to be missing. */
  #isSynced = false;

  constructor(components: RootConfigMapsComponents) {
    this.#components = components;
    this.#queue = new WorkQueue(components, { work: (namespace) => this.#mend(namespace), concurrency: writesAtOnce });
    this.#round = new Recomputation({ clock: components.clock, work: async () => this.#lookAtAll() });
    this.#held = new ObjectMirror<ConfigMap>(components, {
      group: "",
      kind: "ConfigMap",
      selection: { fieldSelector: `metadata.name=${rootCertConfigMap}` },
      onChange: ({ metadata }) => this.#look(metadata.namespace ?? ""),
    });
  }

  async start(): Promise<void> {
    const { authorities, leadership, objects } = this.#components;
    const look = (): void => this.#round.request();
    this.#endings = [objects.onChange(look), authorities.onChange(look), leadership.onChange(look)];
    const synced = (): void => {
      this.#isSynced = true;
      look();
    };
    this.#held.whenSynced().then(synced, () => undefined);
    await this.#held.start();
  }

  async stop(): Promise<void> {
    for (const end of this.#endings) end();
    await this.#round.stop();
    await this.#held.stop();
    await this.#queue.stop();
  }

  #lookAtAll(): number {
    const { clock, leadership, objects } = this.#components;
    if (!leadership.leading || !objects.synced) return 0;
    const begin = clock.now();
    for (const { metadata } of objects.snapshot().list("Namespace")) this.#look(metadata.name);
    return clock.now() - begin;
  }

  #look(namespace: string): void {
    if (this.#isSynced && this.#components.leadership.leading && this.#isWrong(namespace)) this.#queue.add(namespace);
  }

  #isWrong(namespace: string): boolean {
    const { authorities, objects } = this.#components;
    const found = objects.snapshot().find("Namespace", "", namespace);
    if (found === undefined || found.metadata.deletionTimestamp !== undefined || leftOut.includes(namespace))
      return false;
    const held = this.#held.find(namespace, rootCertConfigMap);
    return held?.data?.[rootCertKey] !== authorities.current.authority.rootBundlePem;
  }

  async #mend(namespace: string): Promise<void> {
    const { api, authorities, leadership, logger } = this.#components;
    if (!leadership.leading || !this.#isWrong(namespace)) return;
    const wanted = buildRootConfigMap(namespace, authorities.current.authority.rootBundlePem);
    // Nobody can change an immutable one, not even to what it must say.
    if (this.#held.find(namespace, rootCertConfigMap)?.immutable === true)
      await api.delete({ apiVersion: "v1", kind: "ConfigMap", namespace, name: rootCertConfigMap });
    await api.apply(wanted, { fieldManager, force: true });
    logger.info("root certificates written", { namespace });
  }
}
