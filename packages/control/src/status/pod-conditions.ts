import type { Problem } from "../ambient/build-each.ts";
import type { NamespaceModel } from "../ambient/namespace-model.ts";
import type { Pod } from "../collection/kubernetes-object.ts";
import { ownConditionTypes } from "./own-conditions.ts";
import { type ConditionInit, type StatusUpdate, condition } from "./status-update.ts";

const boundType = "hairpin.mesh/WaypointBound";

/** Only bad news: pods whose waypoint cannot be used. Pods that show old news are listed too, so that it goes away. */
export function podConditions({ pods }: NamespaceModel): StatusUpdate[] {
  return pods.flatMap(({ record, binding, enforcement }) => {
    const conditions: ConditionInit[] = [];
    const { resolution } = binding;
    if (resolution.kind === "refused") {
      const effect = enforcement.kind === "refuse" ? "connections to this pod are refused" : "nothing is enforced";
      conditions.push(condition(boundType, false, resolution.reason, `${resolution.message}; ${effect}`));
    } else if (resolution.kind === "unsupported" && !resolution.inherited)
      conditions.push(condition(boundType, false, "UnsupportedTrafficType", resolution.message));
    else if (!showsOwnConditions(record.pod)) return [];
    return [{ object: record.pod, conditions }];
  });
}

function showsOwnConditions({ status }: Pod): boolean {
  return status?.conditions?.some(({ type }) => ownConditionTypes.test(type)) === true;
}

const policyKinds: ReadonlySet<string> = new Set(["AuthorizationPolicy"]);

/** Objects that could not be read; policies say it in conditions of their own. */
export function problemConditions(problems: readonly Problem[]): StatusUpdate[] {
  return problems
    .filter(({ object }) => !policyKinds.has(object.kind))
    .map(({ object, reason }) => ({
      object,
      conditions: [condition("hairpin.mesh/Readable", false, "Invalid", `ignored by the mesh: ${reason}`)],
    }));
}
