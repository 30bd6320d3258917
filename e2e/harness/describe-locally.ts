import { describe } from "vitest";
import { cluster } from "./scenario-mesh.ts";

/** A `describe` for the local mesh only: in a cluster it is skipped, and its name says why. docs/scenarios.md lists it so. */
export function describeLocally(name: string, why: string, scenarios: () => void): void {
  describe.skipIf(cluster !== undefined)(cluster === undefined ? name : `${name} (local mesh only: ${why})`, scenarios);
}
