// Runs the planners after every change of the store, until they want nothing more.

import { errorMessage } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import { namespacedName } from "../object/kubernetes-object.ts";
import { deleteGracefully } from "../store/apply-objects.ts";
import type { StatusWriter } from "../store/object-status.ts";
import type { ObjectStore } from "../store/object-store.ts";
import type { Planner, StoreChange } from "./planner.ts";

/** Rounds without rest after which the loop waits for the next outside change: planners that disagree must not spin. */
const maxRounds = 50;

export class ControllerLoop {
  readonly #store: ObjectStore;
  readonly #statusWriter: StatusWriter;
  readonly #planners: readonly Planner[];
  readonly #logger: Logger;
  #scheduled = false;
  #stopListening: () => void = () => {};

  constructor(store: ObjectStore, statusWriter: StatusWriter, planners: readonly Planner[], logger: Logger) {
    this.#store = store;
    this.#statusWriter = statusWriter;
    this.#planners = planners;
    this.#logger = logger;
  }

  start(): void {
    this.#stopListening = this.#store.onChange(() => this.#schedule());
    this.#schedule();
  }

  stop(): void {
    this.#stopListening();
  }

  /** Looks again: something that a planner reads besides the store has changed. */
  poke(): void {
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled) return;
    this.#scheduled = true;
    setImmediate(() => {
      this.#settle();
      this.#scheduled = false;
    });
  }

  #settle(): void {
    for (let round = 0; round < maxRounds; round++) {
      let changed = false;
      for (const planner of this.#planners) {
        try {
          for (const change of planner(this.#store)) changed = this.#carryOut(change) || changed;
        } catch (error) {
          this.#logger.error("controller failed", { controller: planner.name, error: errorMessage(error) });
        }
      }
      if (!changed) return;
    }
    this.#logger.warn("controllers do not come to rest", { rounds: maxRounds });
  }

  /** True when the store changed. */
  #carryOut(change: StoreChange): boolean {
    if (change.type === "status") return this.#statusWriter.write(change.update) === "changed";
    const { type, object } = change;
    const current = this.#store.findSame(object);
    if (type === "create") {
      if (current !== undefined) return false;
      this.#store.create(object);
      this.#logger.debug("created", { kind: object.kind, object: namespacedName(object) });
      return true;
    }
    if (current === undefined) return false;
    if (type === "update")
      return this.#store.update(object)?.metadata.resourceVersion !== current.metadata.resourceVersion;
    deleteGracefully(this.#store, current);
    const after = this.#store.findSame(object);
    return after?.metadata.resourceVersion !== current.metadata.resourceVersion;
  }
}
