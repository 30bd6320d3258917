import { noLogger } from "@hairpin/shared/telemetry";
import { ControllerLoop } from "../controller/controller-loop.ts";
import type { Planner } from "../controller/planner.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { StatusWriter } from "../store/object-status.ts";

/** Runs planners on a store until they want nothing more. */
export async function settle(store: ObjectStore, planners: readonly Planner[]): Promise<void> {
  const loop = new ControllerLoop(store, new StatusWriter(store), planners, noLogger);
  loop.start();
  // The loop does its work in the check phase; one turn more and it has come to rest.
  await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
  loop.stop();
}
