// The objects of waypoints as the API server has them.

import type { Component } from "@hairpin/shared/process";
import type { KubernetesObject, ListWatchComponents } from "@hairpin/shared/kubernetes";
import { gatewayNameLabel, managedLabel } from "../ambient/waypoint/waypoint-record.ts";
import { label } from "../collection/label-match.ts";
import type { AppliedObject } from "./applied-object.ts";
import { ObjectMirror } from "./object-mirror.ts";
import { managedBy } from "./waypoint-objects.ts";

/** What a waypoint may consist of. */
export const managedKinds = [
  { group: "", kind: "ServiceAccount" },
  { group: "", kind: "Service" },
  { group: "apps", kind: "Deployment" },
  { group: "autoscaling", kind: "HorizontalPodAutoscaler" },
  { group: "policy", kind: "PodDisruptionBudget" },
] as const;

/** An object of ours, without its status. */
export interface ManagedObject extends KubernetesObject {
  readonly metadata: Omit<KubernetesObject["metadata"], "ownerReferences"> & {
    readonly ownerReferences?: readonly { readonly kind: string; readonly name: string; readonly uid?: string }[];
  };
  readonly spec?: unknown;
}

/** Every object that carries our label, by kind. */
export class ManagedObjects implements Component {
  readonly name = "managed objects";
  readonly #mirrors: ReadonlyMap<string, ObjectMirror<ManagedObject>>;

  /** `onChange` gets the Gateway (`namespace/name`) whose object changed. */
  constructor(components: ListWatchComponents, onChange: (gatewayKey: string) => void) {
    const mirrors = managedKinds.map(
      ({ group, kind }) =>
        new ObjectMirror<ManagedObject>(components, {
          group,
          kind,
          selection: { labelSelector: `${managedLabel}=${managedBy}` },
          trim: withoutBookkeeping,
          onChange: (object) => onChange(gatewayKeyOf(object)),
        }),
    );
    this.#mirrors = new Map(
      managedKinds.map(({ kind }, index) => [kind, mirrors[index] as ObjectMirror<ManagedObject>]),
    );
  }

  async start(): Promise<void> {
    await Promise.all([...this.#mirrors.values()].map((mirror) => mirror.start()));
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#mirrors.values()].map((mirror) => mirror.stop()));
  }

  async whenSynced(): Promise<void> {
    await Promise.all([...this.#mirrors.values()].map((mirror) => mirror.whenSynced()));
  }

  find({ kind, metadata }: AppliedObject): ManagedObject | undefined {
    return this.#mirrors.get(kind)?.find(metadata.namespace ?? "", metadata.name);
  }

  list(): readonly ManagedObject[] {
    return [...this.#mirrors.values()].flatMap((mirror) => mirror.list());
  }

  listOf(gatewayKey: string): readonly ManagedObject[] {
    return this.list().filter((object) => gatewayKeyOf(object) === gatewayKey);
  }
}

/** `namespace/name` of the Gateway that an object says it belongs to. */
export function gatewayKeyOf(object: KubernetesObject): string {
  return `${object.metadata.namespace ?? ""}/${label(object, gatewayNameLabel) ?? ""}`;
}

/** What others may have changed of what we applied: everything but the status and the API server's own counters. */
export function withoutBookkeeping({ apiVersion, kind, metadata, spec }: ManagedObject): ManagedObject {
  const { name, namespace, uid, labels, annotations, ownerReferences } = metadata;
  return {
    apiVersion,
    kind,
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      ...(uid === undefined ? {} : { uid }),
      ...(labels === undefined ? {} : { labels }),
      ...(annotations === undefined ? {} : { annotations }),
      ...(ownerReferences === undefined ? {} : { ownerReferences }),
    },
    ...(spec === undefined ? {} : { spec }),
  };
}
