import type { Component } from "@hairpin/shared/process";
import { type KubernetesObject, ListWatch, type ListWatchComponents, type Selection } from "@hairpin/shared/kubernetes";

export interface ObjectMirrorOptions<T> {
  readonly group: string;
  readonly kind: string;
  readonly selection?: Selection;
  /** Cuts an object down to what is used. Default: as it is. */
  readonly trim?: (object: T) => T;
  /** Told of every object that came, changed or went, and of each one after a new listing. */
  readonly onChange: (object: T) => void;
}

/** The objects of one kind and selection as the API server has them. */
export class ObjectMirror<T extends KubernetesObject> implements Component {
  readonly name: string;
  readonly #watch: ListWatch<T>;
  readonly #objects = new Map<string, T>();

  constructor(components: ListWatchComponents, { onChange, ...options }: ObjectMirrorOptions<T>) {
    this.name = `mirror of ${options.kind}`;
    this.#watch = new ListWatch<T>(components, {
      ...options,
      handler: {
        replace: (objects) => {
          const gone = [...this.#objects.values()];
          this.#objects.clear();
          for (const object of objects) this.#objects.set(keyOf(object), object);
          for (const object of [...gone, ...objects]) onChange(object);
        },
        put: (object) => {
          this.#objects.set(keyOf(object), object);
          onChange(object);
        },
        remove: (object) => {
          this.#objects.delete(keyOf(object));
          onChange(object);
        },
      },
    });
  }

  whenSynced(): Promise<void> {
    return this.#watch.whenSynced();
  }

  async start(): Promise<void> {
    await this.#watch.start();
  }

  async stop(): Promise<void> {
    await this.#watch.stop();
  }

  find(namespace: string, name: string): T | undefined {
    return this.#objects.get(`${namespace}/${name}`);
  }

  list(): readonly T[] {
    return [...this.#objects.values()];
  }
}

function keyOf({ metadata }: KubernetesObject): string {
  return `${metadata.namespace ?? ""}/${metadata.name}`;
}
