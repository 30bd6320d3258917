import { cidrContains, formatPrincipal, parseCidr, type Cidr } from "@hairpin/shared/model";
import type { hairpinWaypoint } from "@hairpin/shared/api";
import { loosePath } from "../canonical-path.ts";
import type { RequestFacts } from "./request-facts.ts";
import {
  compileCaselessPattern,
  compileNamespacePattern,
  compilePathPattern,
  compilePattern,
} from "./string-pattern.ts";

export type PolicyAction = "ALLOW" | "DENY" | "AUDIT" | "CUSTOM";

/** A policy ready to be asked. */
export interface CompiledPolicy {
  /** `namespace/name`. */
  readonly key: string;
  readonly action: PolicyAction;
  readonly dryRun: boolean;
  /** Index of the first rule that matches, or -1. */
  match(facts: RequestFacts): number;
}

/**
 * One test of a request. Undefined: it asks for something that this traffic does not have (HTTP attributes of a TCP
 * connection) or that cannot be understood; a rule of an ALLOW policy does not match then, and one of a DENY policy goes
 * on as if the test were not there (istio-proxy's behaviour: wider, never narrower, refusal).
 */
type Test = (facts: RequestFacts) => boolean | undefined;

const actions: readonly PolicyAction[] = ["ALLOW", "DENY", "AUDIT", "CUSTOM"];

/** Compiles a user's AuthorizationPolicy (security.istio.io/v1). Values that cannot be understood fail closed, see {@link Test}. */
export function compilePolicy(policy: hairpinWaypoint.Policy): CompiledPolicy {
  const action = actions[policy.action] ?? "DENY";
  const refuses = action === "DENY" || action === "CUSTOM";
  const rules = policy.rules.map((rule) => compileRule(rule, refuses));
  return {
    key: `${policy.namespace}/${policy.name}`,
    action,
    dryRun: policy.dryRun,
    match: (facts) => rules.findIndex((rule) => rule(facts)),
  };
}

function compileRule(rule: hairpinWaypoint.PolicyRule, refuses: boolean): (facts: RequestFacts) => boolean {
  const from = rule.from.map((source) => sourceTests(source));
  const to = rule.to.map((operation) => operationTests(operation, refuses));
  const when = rule.when.map((condition) => [conditionTest(condition, refuses)]);
  const every = (tests: readonly Test[], facts: RequestFacts): boolean =>
    // An alternative without any test was meant to say something: it must not let everything in.
    tests.length > 0 ? tests.every((test) => test(facts) ?? refuses) : refuses;
  const some = (alternatives: readonly (readonly Test[])[], facts: RequestFacts): boolean =>
    alternatives.length === 0 || alternatives.some((tests) => every(tests, facts));
  return (facts) => some(from, facts) && some(to, facts) && when.every((tests) => every(tests, facts));
}

/** A field and its `not` twin: any of the values, and none of the others. Empty lists test nothing. */
function twin<T>(values: readonly T[], notValues: readonly T[], test: (value: T) => Test): Test[] {
  const tests: Test[] = [];
  if (values.length > 0) tests.push(anyOf(values.map(test)));
  if (notValues.length > 0) tests.push(negate(anyOf(notValues.map(test))));
  return tests;
}

function anyOf(tests: readonly Test[]): Test {
  return (facts) => {
    let unknown = false;
    for (const test of tests) {
      const result = test(facts);
      if (result === true) return true;
      if (result === undefined) unknown = true;
    }
    return unknown ? undefined : false;
  };
}

function negate(test: Test): Test {
  return (facts) => {
    const result = test(facts);
    return result === undefined ? undefined : !result;
  };
}

const notSupported: Test = () => undefined;

function sourceTests(source: hairpinWaypoint.Source): Test[] {
  return [
    ...twin(source.principals, source.notPrincipals, principalTest),
    ...twin(source.namespaces, source.notNamespaces, namespaceTest),
    ...twin(source.serviceAccounts, source.notServiceAccounts, serviceAccountTest),
    ...twin(source.trustDomains, source.notTrustDomains, trustDomainTest),
    ...twin(source.ipBlocks, source.notIpBlocks, sourceIpTest),
    ...twin(source.remoteIpBlocks, source.notRemoteIpBlocks, sourceIpTest),
    // Without RequestAuthentication there is no request principal: no value matches, every `not` value holds.
    ...twin(source.requestPrincipals, source.notRequestPrincipals, () => () => false),
  ];
}

function operationTests(operation: hairpinWaypoint.Operation, refuses: boolean): Test[] {
  return [
    ...twin(operation.hosts, [], (host) => hostTest(host, refuses)),
    ...twin([], operation.notHosts, (host) => hostTest(host, !refuses)),
    ...twin(operation.methods, operation.notMethods, methodTest),
    ...twin(operation.paths, [], (path) => pathTest(path, refuses)),
    ...twin([], operation.notPaths, (path) => pathTest(path, !refuses)),
    ...twin(operation.ports, operation.notPorts, portTest),
  ];
}

function principalTest(value: string): Test {
  const pattern = compilePattern(value);
  return ({ sourceIdentity }) => sourceIdentity !== undefined && pattern(formatPrincipal(sourceIdentity));
}

function namespaceTest(value: string): Test {
  const pattern = compileNamespacePattern(value);
  return ({ sourceIdentity }) => sourceIdentity !== undefined && pattern(sourceIdentity.namespace);
}

/** `namespace/name`, whatever the trust domain. */
function serviceAccountTest(value: string): Test {
  return ({ sourceIdentity }) =>
    sourceIdentity !== undefined && `${sourceIdentity.namespace}/${sourceIdentity.serviceAccount}` === value;
}

function trustDomainTest(value: string): Test {
  const pattern = compilePattern(value);
  return ({ sourceIdentity }) => sourceIdentity !== undefined && pattern(sourceIdentity.trustDomain);
}

function sourceIpTest(value: string): Test {
  const cidr = readCidr(value);
  return cidr ? ({ sourceIp }) => cidrContains(cidr, sourceIp) : notSupported;
}

function destinationIpTest(value: string): Test {
  const cidr = readCidr(value);
  return cidr ? ({ destinationIp }) => cidrContains(cidr, destinationIp) : notSupported;
}

function readCidr(value: string): Cidr | undefined {
  try {
    return parseCidr(value);
  } catch {
    // Reported by control as a condition of the policy; here it must only not match.
    return undefined;
  }
}

/**
 * Host names compare without regard to case, and with the port as written. Where a match widens a refusal, a pattern
 * without port also matches the host with any port, or with the root's dot: neither `example.com:80` nor `example.com.` must
 * slip past a DENY of `example.com`.
 */
function hostTest(value: string, widen: boolean): Test {
  const pattern = compileCaselessPattern(value);
  return ({ http }) => {
    if (!http) return undefined;
    const { authority } = http;
    if (pattern(authority) || !widen) return pattern(authority);
    const [, host = "", port = ""] = /^(.*?)\.?(:[0-9]+)?$/.exec(authority) ?? [];
    return pattern(host) || pattern(host + port);
  };
}

function methodTest(value: string): Test {
  const pattern = compilePattern(value);
  return ({ http }) => http && pattern(http.method);
}

/** Where a match widens a refusal, the path as careless servers read it counts too: `/a;x/b`, `/a//b` and `/a%2Fb` are `/a/b`. */
function pathTest(value: string, widen: boolean): Test {
  const pattern = compilePathPattern(value);
  if (!pattern) return notSupported;
  return ({ http }) => {
    if (!http) return undefined;
    if (pattern(http.path)) return true;
    const loose = widen ? loosePath(http.path) : undefined;
    return loose !== undefined && pattern(loose);
  };
}

function portTest(value: string): Test {
  const port = Number(value);
  return Number.isInteger(port) && value !== "" ? ({ destinationPort }) => destinationPort === port : notSupported;
}

/** `when`: one key, and values of which one (`notValues`: none) must match. */
function conditionTest(condition: hairpinWaypoint.Condition, refuses: boolean): Test {
  const { key, values, notValues } = condition;
  const header = /^request\.headers\[([^\]]+)\]$/.exec(key)?.[1];
  const test = (value: string, widen: boolean): Test =>
    header === undefined ? attributeTest(key, value) : headerTest(header, value, widen);
  const tests = [
    ...twin(values, [], (value) => test(value, refuses)),
    ...twin([], notValues, (value) => test(value, !refuses)),
  ];
  return (facts) => {
    let unknown = tests.length === 0;
    for (const one of tests) {
      const result = one(facts);
      if (result === false) return false;
      if (result === undefined) unknown = true;
    }
    return unknown ? undefined : true;
  };
}

function attributeTest(key: string, value: string): Test {
  switch (key) {
    case "source.ip":
    case "remote.ip":
      return sourceIpTest(value);
    case "source.namespace":
      return namespaceTest(value);
    case "source.principal":
      return principalTest(value);
    case "source.serviceAccount":
      return serviceAccountTest(value);
    case "source.trustDomain":
      return trustDomainTest(value);
    case "destination.ip":
      return destinationIpTest(value);
    case "destination.port":
      return portTest(value);
    default:
      return notSupported;
  }
}

/**
 * A header may come in several lines, which servers join or pick from as they like. Where a match widens a refusal, the
 * joined value or any line may match; where it widens a permission, every line must.
 */
function headerTest(name: string, value: string, widen: boolean): Test {
  const pattern = compilePattern(value);
  const lowerName = name.toLowerCase();
  return ({ http }) => {
    if (!http) return undefined;
    const lines = http.headerValues(lowerName);
    if (lines.length === 0) return false;
    return widen ? pattern(lines.join(",")) || lines.some(pattern) : lines.every(pattern);
  };
}
