import { isDeepStrictEqual } from "node:util";
import { type Kind, kindsRead, objectKey } from "../collection/kind.ts";
import type { KubernetesObject } from "../collection/kubernetes-object.ts";
import type { ObjectCollection } from "../collection/object-collection.ts";
import type { ObjectSource } from "../source/object-source.ts";
import { type Selection, ListWatch, type ListWatchComponents } from "@hairpin/shared/kubernetes";
import { trimObject } from "./trim.ts";

/** What is not asked for: pods that ended run nothing, have no address any more and get no certificate. */
const selections: { readonly [K in Kind]?: Selection } = {
  Pod: { fieldSelector: "status.phase!=Succeeded,status.phase!=Failed" },
};

/**
 * Keeps a collection in step with the API server: one list-watch a kind. The collection counts as synced when every kind that
 * is served was listed once; until then a failing kind holds everything up, so that nothing is derived from half a cluster.
 */
export class KubernetesSource implements ObjectSource {
  readonly name: string;
  readonly #components: ListWatchComponents & { readonly objects: ObjectCollection };
  readonly #watches: readonly ListWatch<KubernetesObject>[];
  readonly #pending: Set<Kind>;

  constructor(
    components: ListWatchComponents & { readonly objects: ObjectCollection },
    options: { readonly name: string },
  ) {
    this.name = options.name;
    this.#components = components;
    this.#pending = new Set(kindsRead.map(({ kind }) => kind));
    this.#watches = kindsRead.map(({ kind, group }) => this.#createWatch(kind, group));
  }

  async start(): Promise<void> {
    await Promise.all(this.#watches.map((watch) => watch.start()));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#watches.map((watch) => watch.stop()));
  }

  #createWatch(kind: Kind, group: string): ListWatch<KubernetesObject> {
    const { objects } = this.#components;
    const selection = selections[kind];
    return new ListWatch<KubernetesObject>(this.#components, {
      group,
      kind,
      ...(selection === undefined ? {} : { selection }),
      trim: (object) => trimObject(kind, object),
      handler: {
        replace: (listed) => {
          objects.replaceKind(kind, listed);
          this.#listed(kind);
        },
        put: (object) => {
          if (!isSame(objects.find(kind, objectKey(object)), object)) objects.put(object);
        },
        remove: (object) => objects.remove(object),
      },
    });
  }

  #listed(kind: Kind): void {
    const { objects, logger } = this.#components;
    if (!this.#pending.delete(kind) || this.#pending.size > 0) return;
    objects.markSynced();
    logger.info("objects synced", { source: this.name, objects: objects.size });
  }
}

/** Most writes to Nodes and Pods change nothing that is kept: heartbeats, times, images. */
function isSame(held: KubernetesObject | undefined, object: KubernetesObject): boolean {
  return held !== undefined && isDeepStrictEqual(withoutVersion(held), withoutVersion(object));
}

function withoutVersion({ metadata, ...rest }: KubernetesObject): unknown {
  return { ...rest, metadata: { ...metadata, resourceVersion: "" } };
}
