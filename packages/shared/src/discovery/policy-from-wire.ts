import { istioSecurity } from "../api/index.ts";
import type { AuthorizationPolicy, PolicyMatch, PolicyRule, ServiceAccountMatch, StringMatch } from "../model/index.ts";
import { enumName, requireText, WireError, wireCidr } from "./wire-values.ts";

const { Action, Scope } = istioSecurity;

const scopes = {
  [Scope.GLOBAL]: "GLOBAL",
  [Scope.NAMESPACE]: "NAMESPACE",
  [Scope.WORKLOAD_SELECTOR]: "WORKLOAD_SELECTOR",
} as const;

const actions = { [Action.ALLOW]: "ALLOW", [Action.DENY]: "DENY" } as const;

/**
 * Reads an Authorization. Throws {@link WireError} for anything that cannot be understood. A string match of unknown kind,
 * a malformed IP or a port above 65535 refuses the whole policy: ztunnel leaves such values out or truncates them, which
 * can widen an ALLOW.
 */
export function policyFromWire(wire: istioSecurity.Authorization): AuthorizationPolicy {
  return {
    name: requireText(wire.name, "name"),
    namespace: requireText(wire.namespace, "namespace"),
    scope: enumName(scopes, wire.scope, "scope"),
    action: enumName(actions, wire.action, "action"),
    rules: wire.rules.map((rule, i) => ruleFromWire(rule, `rules[${i}]`)),
    dryRun: wire.dryRun,
  };
}

/** The scope alone, for a policy whose other parts cannot be read; undefined when it cannot be read either. */
export function policyScopeFromWire(wire: istioSecurity.Authorization): AuthorizationPolicy["scope"] | undefined {
  return (scopes as Readonly<Record<number, AuthorizationPolicy["scope"]>>)[wire.scope];
}

function ruleFromWire(wire: istioSecurity.Rule, path: string): PolicyRule {
  const clauses = wire.clauses.map((clause, c) =>
    clause.matches.map((match, m) => matchFromWire(match, `${path}.clauses[${c}].matches[${m}]`)),
  );
  return { clauses };
}

function matchFromWire(wire: istioSecurity.Match, path: string): PolicyMatch {
  const strings = (field: "namespaces" | "notNamespaces" | "principals" | "notPrincipals"): StringMatch[] =>
    wire[field].map((value, i) => stringFromWire(value, `${path}.${field}[${i}]`));
  const cidrs = (
    field: "sourceIps" | "notSourceIps" | "destinationIps" | "notDestinationIps",
  ): PolicyMatch["sourceIps"] =>
    wire[field].map((value, i) => wireCidr(value.address, value.length, `${path}.${field}[${i}]`));
  const ports = (field: "destinationPorts" | "notDestinationPorts"): number[] =>
    wire[field].map((value, i) => portFromWire(value, `${path}.${field}[${i}]`));
  return {
    namespaces: strings("namespaces"),
    notNamespaces: strings("notNamespaces"),
    principals: strings("principals"),
    notPrincipals: strings("notPrincipals"),
    serviceAccounts: wire.serviceAccounts.map(accountFromWire),
    notServiceAccounts: wire.notServiceAccounts.map(accountFromWire),
    sourceIps: cidrs("sourceIps"),
    notSourceIps: cidrs("notSourceIps"),
    destinationIps: cidrs("destinationIps"),
    notDestinationIps: cidrs("notDestinationIps"),
    destinationPorts: ports("destinationPorts"),
    notDestinationPorts: ports("notDestinationPorts"),
  };
}

function stringFromWire(wire: istioSecurity.StringMatch, path: string): StringMatch {
  const { matchType } = wire;
  switch (matchType.case) {
    case "exact":
    case "prefix":
    case "suffix":
      return { kind: matchType.case, value: matchType.value };
    case "presence":
      return { kind: "presence" };
    case undefined:
      throw new WireError(path, "a string match of unknown kind");
    default:
      throw new WireError(path, `unknown kind ${JSON.stringify(matchType satisfies never)}`);
  }
}

function accountFromWire(wire: istioSecurity.ServiceAccountMatch): ServiceAccountMatch {
  return { namespace: wire.namespace, serviceAccount: wire.serviceAccount };
}

/** 0 is kept: it matches no connection, and refusing the policy would open nothing. */
function portFromWire(value: number, path: string): number {
  if (value > 65535) throw new WireError(path, `${value} is not a port`);
  return value;
}
