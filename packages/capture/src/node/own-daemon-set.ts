// Whether this agent goes for good, or another one follows it: by its DaemonSet.
import { type KubernetesApi, type KubernetesObject, ListWatch } from "@hairpin/shared/kubernetes";
import { type Clock, type Component, errorMessage } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";

const daemonSet = { apiVersion: "apps/v1", kind: "DaemonSet" } as const;

type Watched = KubernetesObject & { readonly metadata: { readonly finalizers?: readonly string[] } };

export interface OwnDaemonSetComponents {
  readonly api: KubernetesApi;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called once, when it has been deleted or is being. */
  readonly onDeleted: () => void;
}

/** Watches one DaemonSet. Rights that are taken away are no deletion: without an answer the agent stays installed. */
export class OwnDaemonSet implements Component {
  readonly name = "daemon set watch";
  readonly #components: OwnDaemonSetComponents;
  readonly #place: { readonly namespace: string; readonly name: string };
  readonly #watch: ListWatch<Watched>;
  #wasSeen = false;
  /** `kubectl delete --cascade=orphan`: the pods stay, and with them what they keep. */
  #isOrphaning = false;
  #isDeleted = false;

  constructor(components: OwnDaemonSetComponents, place: { readonly namespace: string; readonly name: string }) {
    this.#components = components;
    this.#place = place;
    this.#watch = new ListWatch<Watched>(components, {
      group: "apps",
      kind: "DaemonSet",
      selection: { namespace: place.namespace, fieldSelector: `metadata.name=${place.name}` },
      handler: {
        replace: (objects) => {
          for (const object of objects) this.#look(object);
          if (objects.length === 0 && this.#wasSeen) this.#tell();
        },
        put: (object) => this.#look(object),
        remove: () => this.#tell(),
      },
    });
  }

  async start(): Promise<void> {
    await this.#watch.start();
  }

  async stop(): Promise<void> {
    await this.#watch.stop();
  }

  /** Asks once more; for the end of the process, which may come before the watch has told. Never rejects. */
  async isDeleted(): Promise<boolean> {
    if (this.#isDeleted) return true;
    const { api, logger } = this.#components;
    try {
      const object = await api.get<Watched>({ ...daemonSet, ...this.#place });
      return (object === undefined && this.#wasSeen) || object?.metadata.deletionTimestamp !== undefined;
    } catch (error) {
      logger.warn("cannot tell whether this agent is uninstalled; it stays installed", { error: errorMessage(error) });
      return false;
    }
  }

  #look({ metadata: { deletionTimestamp, finalizers = [] } }: Watched): void {
    this.#wasSeen = true;
    this.#isOrphaning = finalizers.includes("orphan");
    if (deletionTimestamp !== undefined) this.#tell();
  }

  #tell(): void {
    if (this.#isDeleted || this.#isOrphaning) return;
    this.#isDeleted = true;
    this.#components.onDeleted();
  }
}
