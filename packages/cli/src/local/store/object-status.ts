// Status by manager: several parts write conditions on one object, and none removes another's.

import { isDeepStrictEqual } from "node:util";
import type { Condition, KubernetesObject } from "../object/kubernetes-object.ts";
import { formatTime, type ObjectStore } from "./object-store.ts";

export interface StatusUpdate {
  readonly apiVersion: string;
  readonly kind: string;
  readonly namespace?: string;
  readonly name: string;
  /** Who writes; its conditions are replaced as a set. */
  readonly manager: string;
  readonly conditions?: readonly Condition[];
  /** Other fields of status, replaced one by one; null removes one. */
  readonly merge?: Readonly<Record<string, unknown>>;
}

/** Writes statuses and remembers which manager owns which condition of which object. */
export class StatusWriter {
  readonly #store: ObjectStore;
  readonly #wallTime: () => Date;
  /** uid → condition type → manager */
  readonly #owners = new Map<string, Map<string, string>>();

  constructor(store: ObjectStore, wallTime: () => Date = () => new Date()) {
    this.#store = store;
    this.#wallTime = wallTime;
    store.onChange(({ type, object }) => {
      if (type === "DELETED" && object.metadata.uid !== undefined) this.#owners.delete(object.metadata.uid);
    });
  }

  /** Only a real change makes a new resourceVersion. */
  write(update: StatusUpdate): "changed" | "unchanged" | "not found" {
    const current = this.#store.findSame({
      apiVersion: update.apiVersion,
      kind: update.kind,
      metadata: { name: update.name, ...(update.namespace === undefined ? {} : { namespace: update.namespace }) },
    });
    if (current === undefined) return "not found";
    const status = { ...(current.status as Record<string, unknown> | undefined) };
    for (const [field, value] of Object.entries(update.merge ?? {})) {
      if (value === null) delete status[field];
      else status[field] = value;
    }
    if (update.conditions !== undefined) {
      const conditions = this.#mergeConditions(current, update.manager, update.conditions);
      if (conditions.length > 0 || "conditions" in status) status["conditions"] = conditions;
    }
    if (isDeepStrictEqual(status, current.status ?? {})) return "unchanged";
    this.#store.update({ ...current, status });
    return "changed";
  }

  #mergeConditions(current: KubernetesObject, manager: string, wanted: readonly Condition[]): readonly Condition[] {
    const owners = this.#ownersOf(current);
    const existing = (current.status as { conditions?: readonly Condition[] } | undefined)?.conditions ?? [];
    const wantedByType = new Map(wanted.map((condition) => [condition.type, condition]));
    const kept = existing.filter(({ type }) => wantedByType.has(type) || owners.get(type) !== manager);
    for (const [type, owner] of owners) if (owner === manager && !wantedByType.has(type)) owners.delete(type);
    for (const type of wantedByType.keys()) owners.set(type, manager);
    const merged = kept.map((condition) => {
      const next = wantedByType.get(condition.type);
      wantedByType.delete(condition.type);
      return next === undefined ? condition : this.#withTransition(next, condition);
    });
    return [...merged, ...[...wantedByType.values()].map((condition) => this.#withTransition(condition, undefined))];
  }

  #withTransition(next: Condition, before: Condition | undefined): Condition {
    const { lastTransitionTime: _ignored, ...rest } = next;
    const unchanged = before?.status === next.status ? before.lastTransitionTime : undefined;
    return { ...rest, lastTransitionTime: unchanged ?? formatTime(this.#wallTime()) };
  }

  #ownersOf(object: KubernetesObject): Map<string, string> {
    const uid = object.metadata.uid ?? "";
    let owners = this.#owners.get(uid);
    if (owners === undefined) this.#owners.set(uid, (owners = new Map()));
    return owners;
  }
}
