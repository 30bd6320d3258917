import { type Clock, type Timer, errorMessage } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { KubernetesObject } from "../collection/kubernetes-object.ts";
import type { ObjectCollection } from "../collection/object-collection.ts";
import type { ObjectSource } from "./object-source.ts";

export interface ListSourceOptions {
  readonly name: string;
  /** Gives all objects. When it rejects, what was there stays. */
  readonly list: () => Promise<readonly KubernetesObject[]>;
  /** Lists again this often. Default: once, and on {@link ListSource.refresh}. */
  readonly intervalMs?: number;
}

export interface ListSource extends ObjectSource {
  refresh(): Promise<void>;
}

/** A source that is asked for everything: files of manifests, or a test's array. */
export function createListSource(
  components: { readonly objects: ObjectCollection; readonly clock: Clock; readonly logger: Logger },
  options: ListSourceOptions,
): ListSource {
  const { objects, clock, logger } = components;
  let timer: Timer | undefined;
  let last = "";
  let stopped = false;
  const refresh = async (): Promise<void> => {
    try {
      const listed = await options.list();
      const text = JSON.stringify(listed);
      if (!stopped && (text !== last || !objects.synced)) {
        last = text;
        objects.replaceAll(listed);
      }
    } catch (error) {
      logger.error("objects could not be listed", { source: options.name, error: errorMessage(error) });
    }
    if (options.intervalMs !== undefined && !stopped) timer = clock.setTimer(options.intervalMs, () => void refresh());
  };
  return {
    name: options.name,
    refresh,
    start: refresh,
    stop: async () => {
      stopped = true;
      timer?.cancel();
      await Promise.resolve();
    },
  };
}
