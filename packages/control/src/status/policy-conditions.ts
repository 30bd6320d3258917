import type { AmbientModel } from "../ambient/ambient-model.ts";
import type { Problem } from "../ambient/build-each.ts";
import type { ConvertedPolicy } from "../ambient/policy/authorization-policy.ts";
import type { Memo } from "../collection/memo.ts";
import type { PolicyTargets, TargetOutcome, TargetedPolicy } from "../gateway/policy-target.ts";
import { type ConditionInit, type StatusUpdate, condition, listNames } from "./status-update.ts";
import { describeUnmanaged, isManaged } from "./service-coverage.ts";

const advice = "Deploy a waypoint and name its Service or Gateway in targetRefs to enforce HTTP rules.";

/**
 * ZtunnelAccepted or WaypointAccepted for every AuthorizationPolicy, and a warning where a waypoint is shut out (`shutOut`: by
 * policy key).
 */
export function policyConditions(
  model: AmbientModel,
  context: {
    readonly targets: PolicyTargets;
    readonly problems: readonly Problem[];
    readonly shutOut: ReadonlyMap<string, string>;
    readonly memo: Memo<ConvertedPolicy, StatusUpdate>;
  },
): StatusUpdate[] {
  const { targets, shutOut } = context;
  const unreadable = new Map(context.problems.map(({ object, reason }) => [object, reason]));
  const plain = model.policies.map((policy): StatusUpdate => {
    const reason = unreadable.get(policy.policy);
    const waypoints = shutOut.get(policy.key);
    return context.memo.get(policy, [reason, waypoints], () => {
      const conditions = [reason === undefined ? ztunnelAccepted(policy) : cannotRead("ZtunnelAccepted", reason)];
      if (waypoints !== undefined)
        conditions.push(condition("hairpin.mesh/WaypointAllowed", false, "WaypointNotAllowed", waypoints));
      return { object: policy.policy, conditions };
    });
  });
  const targeted = targets.policies.map((policy): StatusUpdate => {
    const reason = unreadable.get(policy.policy);
    const accepted = reason === undefined ? waypointAccepted(policy, model) : cannotRead("WaypointAccepted", reason);
    return { object: policy.policy, conditions: [accepted] };
  });
  return [...plain, ...targeted];
}

function cannotRead(type: string, reason: string): ConditionInit {
  return condition(
    type,
    false,
    "Invalid",
    `the policy cannot be read, so everything in its scope is refused: ${reason}`,
  );
}

function ztunnelAccepted({ policy, message, findings }: ConvertedPolicy): ConditionInit {
  const type = "ZtunnelAccepted";
  const action = policy.spec?.action ?? "ALLOW";
  if (message === undefined)
    return condition(
      type,
      false,
      "UnsupportedValue",
      `ztunnel cannot enforce action ${action}; the policy has no effect. ${advice}`,
    );
  const { unsupported, invalid, omittedRules, deadRules, widenedRules } = findings;
  if (unsupported.length === 0 && invalid.length === 0) return condition(type, true, "Accepted", "attached to ztunnel");
  const causes = [
    ...(unsupported.length > 0 ? [`ztunnel cannot compare these attributes: ${listNames(unsupported, 10)}.`] : []),
    ...(invalid.length > 0 ? [`These values are not valid: ${listNames(invalid, 10)}.`] : []),
  ];
  const effects = [
    ...(omittedRules > 0 ? [`Left out, so this ALLOW policy permits less than it says: ${count(omittedRules)}.`] : []),
    ...(deadRules > 0 ? [`Without effect in this DENY policy, because it can never match: ${count(deadRules)}.`] : []),
    ...(widenedRules > 0 ? [`Refusing more than written in this DENY policy: ${count(widenedRules)}.`] : []),
  ];
  const remedy = unsupported.length > 0 ? [advice] : [];
  const reason = unsupported.length > 0 ? "UnsupportedValue" : "Invalid";
  return condition(type, false, reason, [...causes, ...effects, ...remedy].join(" "));
}

function count(rules: number): string {
  return rules === 1 ? "1 rule" : `${rules} rules`;
}

function waypointAccepted({ outcomes }: TargetedPolicy, model: AmbientModel): ConditionInit {
  const type = "WaypointAccepted";
  const results = outcomes.map((outcome) => describe(outcome, model));
  const failed = results.filter((result) => !result.ok);
  const message = results.map((result) => result.message).join("; ");
  if (failed.length === 0) return condition(type, true, "Accepted", message);
  if (failed.length < results.length) return condition(type, false, "PartiallyInvalid", message);
  return condition(type, false, failed[0]?.reason ?? "TargetNotFound", message);
}

function describe(
  outcome: TargetOutcome,
  model: AmbientModel,
): { readonly ok: boolean; readonly reason: string; readonly message: string } {
  switch (outcome.kind) {
    case "failed":
      return { ok: false, reason: outcome.reason, message: outcome.message };
    case "gateway":
      return { ok: true, reason: "Accepted", message: `bound to ${outcome.key}` };
    case "class":
      return { ok: true, reason: "Accepted", message: "bound to every waypoint of the class" };
    case "service": {
      const unmanaged = outcome.keys.find((key) => !isManaged(key, model));
      if (unmanaged === undefined) return { ok: true, reason: "Accepted", message: `bound to ${outcome.name}` };
      const message = `${outcome.name} is not bound to a waypoint: ${describeUnmanaged(unmanaged, model)}`;
      return { ok: false, reason: "AncestorNotBound", message };
    }
  }
  return outcome satisfies never;
}
