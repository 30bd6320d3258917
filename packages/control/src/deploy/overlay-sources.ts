import type { Component } from "@hairpin/shared/process";
import type { KubernetesObject, ListWatchComponents } from "@hairpin/shared/kubernetes";
import { byAge } from "../ambient/age.ts";
import { waypointClassName } from "../ambient/waypoint/waypoint-record.ts";
import { ObjectMirror } from "./object-mirror.ts";
import { type Overlay, parseOverlay } from "./overlay.ts";
import type { WaypointGateway } from "./waypoint-objects.ts";

const defaultsLabel = "gateway.istio.io/defaults-for-class";

interface ConfigMap extends KubernetesObject {
  readonly data?: Readonly<Record<string, string>>;
}

/**
 * The ConfigMaps that change how waypoints are deployed: the class's default (the oldest with its label in the root namespace) and those
 * that Gateways name. Only these are watched; a cluster's other ConfigMaps are many and none of our business.
 */
export class OverlaySources implements Component {
  readonly name = "overlays";
  readonly #components: ListWatchComponents;
  readonly #onChange: () => void;
  readonly #defaults: ObjectMirror<ConfigMap>;
  /** By `namespace/name`. */
  readonly #named = new Map<string, ObjectMirror<ConfigMap>>();
  #isStopped = false;

  constructor(
    components: ListWatchComponents,
    options: { readonly rootNamespace: string; readonly onChange: () => void },
  ) {
    this.#components = components;
    this.#onChange = options.onChange;
    this.#defaults = new ObjectMirror<ConfigMap>(components, {
      group: "",
      kind: "ConfigMap",
      selection: { namespace: options.rootNamespace, labelSelector: `${defaultsLabel}=${waypointClassName}` },
      onChange: options.onChange,
    });
  }

  async start(): Promise<void> {
    await this.#defaults.start();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await Promise.all([this.#defaults, ...this.#named.values()].map((mirror) => mirror.stop()));
  }

  /** Resolves when the class's default is known. */
  whenSynced(): Promise<void> {
    return this.#defaults.whenSynced();
  }

  /** Watches exactly the ConfigMaps that these Gateways name. */
  async follow(gateways: readonly WaypointGateway[]): Promise<void> {
    const wanted = new Set(gateways.flatMap((gateway) => referenceOf(gateway)?.key ?? []));
    const gone = [...this.#named].filter(([key]) => !wanted.has(key));
    for (const [key] of gone) this.#named.delete(key);
    await Promise.all(gone.map(([, mirror]) => mirror.stop()));
    for (const key of wanted) if (!this.#named.has(key) && !this.#isStopped) await this.#watch(key);
  }

  /**
   * What is laid over the Gateway's objects, in order. Throws `Error` for a reference that cannot be followed, and for a ConfigMap that
   * cannot be read.
   */
  async overlaysOf(gateway: WaypointGateway): Promise<readonly Overlay[]> {
    const [first] = this.#defaults.list().toSorted(byAge);
    const overlays = first === undefined ? [] : [parseOverlay(first)];
    const { parametersRef } = gateway.spec?.infrastructure ?? {};
    if (parametersRef === undefined) return overlays;
    const reference = referenceOf(gateway);
    if (reference === undefined) {
      const { group = "", kind = "" } = parametersRef;
      throw new Error(
        `parametersRef names a ${group === "" ? "" : `${group} `}${kind}; only a ConfigMap is understood`,
      );
    }
    const mirror = this.#named.get(reference.key);
    await mirror?.whenSynced();
    const found = mirror?.find(reference.namespace, reference.name);
    if (found === undefined) throw new Error(`ConfigMap ${reference.key}, which parametersRef names, does not exist`);
    return [...overlays, parseOverlay(found)];
  }

  async #watch(key: string): Promise<void> {
    const [namespace = "", name = ""] = key.split("/");
    const mirror = new ObjectMirror<ConfigMap>(this.#components, {
      group: "",
      kind: "ConfigMap",
      selection: { namespace, fieldSelector: `metadata.name=${name}` },
      onChange: this.#onChange,
    });
    this.#named.set(key, mirror);
    await mirror.start();
  }
}

interface Reference {
  readonly key: string;
  readonly namespace: string;
  readonly name: string;
}

function referenceOf({ metadata, spec }: WaypointGateway): Reference | undefined {
  const { group = "", kind, name = "" } = spec?.infrastructure?.parametersRef ?? {};
  if (group !== "" || kind !== "ConfigMap" || name === "") return undefined;
  const namespace = metadata.namespace ?? "";
  return { key: `${namespace}/${name}`, namespace, name };
}
