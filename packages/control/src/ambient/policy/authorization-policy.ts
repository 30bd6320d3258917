// AuthorizationPolicy without targetRefs → istio.security.Authorization for ztunnel, as istiod converts it: what ztunnel
// cannot compare is left out by rules that are worth knowing (convertRule), and every omission is reported.

import { type MessageInitShape, create } from "@bufbuild/protobuf";
import { istioSecurity } from "@hairpin/shared/api";
import type { AuthorizationPolicyObject, AuthorizationRule } from "../../collection/kubernetes-object.ts";
import { annotation } from "../../collection/label-match.ts";
import {
  type MatchInit,
  type PolicyField,
  fieldsOfCondition,
  fieldsOfOperation,
  fieldsOfSource,
} from "./policy-field.ts";

type RuleInit = MessageInitShape<typeof istioSecurity.RuleSchema>;

export interface ConvertedPolicy {
  readonly policy: AuthorizationPolicyObject;
  /** `namespace/name`, the resource name. */
  readonly key: string;
  /** Undefined: ztunnel does not get it (the action is not one of its own). */
  readonly message: istioSecurity.Authorization | undefined;
  /** Set when the policy applies to selected workloads only. */
  readonly selector: Readonly<Record<string, string>> | undefined;
  readonly findings: PolicyFindings;
}

/** What of the policy ztunnel cannot enforce. */
interface PolicyFindings {
  /** Attributes that only a waypoint can compare. */
  readonly unsupported: readonly string[];
  /** Values that cannot be understood, as `ports "http"`. */
  readonly invalid: readonly string[];
  /** ALLOW rules left out. */
  readonly omittedRules: number;
  /** DENY rules that can never match after the omission. */
  readonly deadRules: number;
  /** DENY rules that match more than was asked for. */
  readonly widenedRules: number;
}

type Action = "ALLOW" | "DENY";

export function isTargeted(policy: AuthorizationPolicyObject): boolean {
  return policy.spec?.targetRef !== undefined || (policy.spec?.targetRefs ?? []).length > 0;
}

/** Converts a policy without targetRefs. Throws only on fields of the wrong type. */
export function convertPolicy(policy: AuthorizationPolicyObject, rootNamespace: string): ConvertedPolicy {
  const namespace = policy.metadata.namespace ?? "";
  const { name } = policy.metadata;
  const matchLabels = policy.spec?.selector?.matchLabels ?? {};
  const selector = Object.keys(matchLabels).length > 0 ? matchLabels : undefined;
  const action = policy.spec?.action ?? "ALLOW";
  const base = { policy, key: `${namespace}/${name}`, selector };
  if (action !== "ALLOW" && action !== "DENY") return { ...base, message: undefined, findings: noFindings };

  const converted = (policy.spec?.rules ?? []).map((rule) => convertRule(rule, action, namespace));
  const everywhere = namespace === rootNamespace ? istioSecurity.Scope.GLOBAL : istioSecurity.Scope.NAMESPACE;
  const message = create(istioSecurity.AuthorizationSchema, {
    name,
    namespace,
    scope: selector === undefined ? everywhere : istioSecurity.Scope.WORKLOAD_SELECTOR,
    action: istioSecurity.Action[action],
    // An ALLOW policy left without rules is still sent: it refuses everything.
    rules: converted.flatMap(({ rule }) => (rule === undefined ? [] : [rule])),
    dryRun: isDryRun(policy),
  });
  return { ...base, message, findings: sumFindings(converted) };
}

export function isDryRun(policy: AuthorizationPolicyObject): boolean {
  return annotation(policy, "istio.io/dry-run") === "true";
}

interface ConvertedRule {
  /** Undefined: left out. */
  readonly rule: RuleInit | undefined;
  readonly unsupported: readonly string[];
  readonly invalid: readonly string[];
  readonly dead: boolean;
  readonly widened: boolean;
}

/**
 * ALLOW: a rule with anything that cannot be compared is left out (narrower). DENY: such parts are removed; what remains
 * of a source or operation matches more, and one of which nothing remains is an empty Match, which never matches.
 * Values that are not valid at all fail closed instead: they never make an ALLOW match or a DENY not match.
 */
function convertRule(rule: AuthorizationRule, action: Action, namespace: string): ConvertedRule {
  const groups = [
    (rule.to ?? []).map(({ operation }) => fieldsOfOperation(operation ?? {})),
    (rule.from ?? []).map(({ source }) => fieldsOfSource(source ?? {})),
    ...(rule.when ?? []).map((condition) => [fieldsOfCondition(condition)]),
  ].filter((group) => group.length > 0);
  const clauses = groups.map((group) => group.map((fields) => convertMatch(fields, action, namespace)));
  const all = clauses.flat();
  const unsupported = all.flatMap((match) => match.unsupported);
  const invalid = all.flatMap((match) => match.invalid);
  if (action === "ALLOW") {
    const clauseInits = clauses.map((clause) => clause.filter((match) => !match.unusable));
    const omit = unsupported.length > 0 || clauseInits.some((clause) => clause.length === 0);
    const built = omit ? undefined : { clauses: clauseInits.map((clause) => ({ matches: clause.map(toInit) })) };
    return { rule: built, unsupported, invalid, dead: false, widened: false };
  }
  // A clause in which one alternative lost all of its (invalid) constraints holds for everything.
  const kept = clauses.filter((clause) => !clause.some((match) => match.unusable));
  return {
    rule: { clauses: kept.map((clause) => ({ matches: clause.map(toInit) })) },
    unsupported,
    invalid,
    dead: kept.some((clause) => clause.every((match) => isEmpty(match.init))),
    widened:
      kept.length < clauses.length ||
      all.some((match) => match.unsupported.length + match.invalid.length > 0 && !isEmpty(match.init)),
  };
}

interface ConvertedMatch {
  readonly init: MatchInit;
  readonly unsupported: readonly string[];
  readonly invalid: readonly string[];
  /** ALLOW: may never match. DENY: matches everything. Because of invalid values. */
  readonly unusable: boolean;
}

function convertMatch(fields: readonly PolicyField[], action: Action, namespace: string): ConvertedMatch {
  const init: Partial<Record<string, unknown[]>> = {};
  const unsupported: string[] = [];
  const invalid: string[] = [];
  let unusable = false;
  for (const { name, values, target } of fields) {
    if (target === undefined) {
      unsupported.push(name);
      continue;
    }
    const read = values.map((text) => ({ text, value: target.read(text, namespace) }));
    const bad = read.filter(({ value }) => value === undefined);
    invalid.push(...bad.map(({ text }) => `${name} ${JSON.stringify(text)}`));
    const good = read.flatMap(({ value }) => (value === undefined ? [] : [value]));
    if (good.length > 0) init[target.field] = good;
    if (bad.length > 0 && action === "ALLOW" && (target.negative || good.length === 0)) unusable = true;
  }
  if (action === "DENY" && invalid.length > 0 && Object.keys(init).length === 0) unusable = true;
  return { init, unsupported, invalid, unusable };
}

function toInit(match: ConvertedMatch): MatchInit {
  return match.init;
}

function isEmpty(init: MatchInit): boolean {
  return Object.keys(init).length === 0;
}

const noFindings: PolicyFindings = {
  unsupported: [],
  invalid: [],
  omittedRules: 0,
  deadRules: 0,
  widenedRules: 0,
};

function sumFindings(rules: readonly ConvertedRule[]): PolicyFindings {
  return {
    unsupported: unique(rules.flatMap((rule) => rule.unsupported)),
    invalid: unique(rules.flatMap((rule) => rule.invalid)),
    omittedRules: rules.filter((rule) => rule.rule === undefined).length,
    deadRules: rules.filter((rule) => rule.dead).length,
    widenedRules: rules.filter((rule) => rule.widened && !rule.dead).length,
  };
}

function unique(texts: readonly string[]): string[] {
  return [...new Set(texts)].sort();
}
