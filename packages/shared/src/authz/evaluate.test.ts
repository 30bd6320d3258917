import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { AuthorizationPolicy, Identity, PolicyMatch, PolicyRule, StringMatch } from "../model/index.ts";
import { aMatch } from "../discovery/model.test-support.ts";
import { evaluate, refuseMissingPolicy } from "./evaluate.ts";
import { explainDecision } from "./explain.ts";
import type { ConnectionFacts } from "./match-rule.ts";

const curl: Identity = { trustDomain: "td", namespace: "apps", serviceAccount: "curl" };
const facts: ConnectionFacts = {
  sourceIdentity: curl,
  sourceIp: "10.0.0.1",
  destinationIp: "10.0.0.2",
  destinationPort: 8080,
};
const plaintext: ConnectionFacts = { ...facts, sourceIdentity: undefined };

function policy(fields: Partial<AuthorizationPolicy>): AuthorizationPolicy {
  return { name: "p", namespace: "ns", scope: "NAMESPACE", action: "ALLOW", rules: [], dryRun: false, ...fields };
}

/** One rule with one clause with one match. */
function rule(fields: Partial<PolicyMatch>): PolicyRule {
  return { clauses: [[aMatch(fields)]] };
}

const presence: StringMatch = { kind: "presence" };
const exact = (value: string): StringMatch => ({ kind: "exact", value });
const prefix = (value: string): StringMatch => ({ kind: "prefix", value });
const suffix = (value: string): StringMatch => ({ kind: "suffix", value });

describe("evaluate: order of actions", () => {
  const allowAll = policy({ name: "allow-all", rules: [{ clauses: [] }] });
  const denyAll = policy({ name: "deny-all", action: "DENY", rules: [{ clauses: [] }] });
  const allowOther = policy({ name: "allow-other", rules: [rule({ destinationPorts: [1] })] });

  it.each([
    { name: "nothing applies", policies: [], allowed: true, reason: "no allow policy applies" },
    {
      name: "a DENY beats an ALLOW",
      policies: [allowAll, denyAll],
      allowed: false,
      reason: "explicitly denied by: ns/deny-all",
    },
    {
      name: "some ALLOW must match",
      policies: [allowOther],
      allowed: false,
      reason: "allow policies exist, but none allowed",
    },
    {
      name: "one ALLOW is enough",
      policies: [allowOther, allowAll],
      allowed: true,
      reason: "allowed by: ns/allow-all",
    },
    {
      name: "an ALLOW without rules allows nothing",
      policies: [policy({})],
      allowed: false,
      reason: "allow policies exist, but none allowed",
    },
    {
      name: "a DENY without rules denies nothing",
      policies: [policy({ action: "DENY" })],
      allowed: true,
      reason: "no allow policy applies",
    },
  ])("$name", ({ policies, allowed, reason }) => {
    expect(evaluate(policies, facts)).toMatchObject({ allowed, reason });
  });

  it("names the policy and the rule that decided", () => {
    const deny = policy({
      name: "d",
      action: "DENY",
      rules: [rule({ destinationPorts: [1] }), rule({ destinationPorts: [8080] })],
    });
    expect(evaluate([deny], facts)).toMatchObject({ allowed: false, policy: "ns/d", rule: 1 });
  });

  it("names the ALLOW policies that did not match", () => {
    expect(evaluate([allowOther, policy({ name: "none" })], facts).unmatchedAllow).toEqual([
      "ns/allow-other",
      "ns/none",
    ]);
  });

  it("reports dry-run policies and enforces none of them, also not as an ALLOW that exists", () => {
    const dryDeny = { ...denyAll, dryRun: true };
    const dryAllow = { ...allowOther, dryRun: true };
    const decision = evaluate([dryDeny, dryAllow], facts);
    expect(decision.allowed).toBe(true);
    expect(decision.dryRun).toEqual([
      { policy: "ns/deny-all", action: "DENY", matched: true },
      { policy: "ns/allow-other", action: "ALLOW", matched: false },
    ]);
  });
});

describe("evaluate: one rule", () => {
  const matches = (rules: readonly PolicyRule[], at: ConnectionFacts = facts): boolean =>
    evaluate([policy({ rules })], at).allowed;

  it.each<{ name: string; rules: PolicyRule[]; at?: ConnectionFacts; matched: boolean }>([
    { name: "no rules never match", rules: [], matched: false },
    { name: "a rule without clauses matches all", rules: [{ clauses: [] }], matched: true },
    { name: "a clause without matches is true", rules: [{ clauses: [[]] }], matched: true },
    { name: "a match without fields is skipped", rules: [rule({})], matched: false },
    {
      name: "a match without fields beside one that holds",
      rules: [{ clauses: [[aMatch({}), aMatch({ destinationPorts: [8080] })]] }],
      matched: true,
    },
    {
      name: "clauses are AND-ed",
      rules: [{ clauses: [[aMatch({ destinationPorts: [8080] })], [aMatch({ destinationPorts: [1] })]] }],
      matched: false,
    },
    {
      name: "matches of a clause are OR-ed",
      rules: [{ clauses: [[aMatch({ destinationPorts: [1] }), aMatch({ destinationPorts: [8080] })]] }],
      matched: true,
    },
    {
      name: "fields of a match are AND-ed",
      rules: [rule({ destinationPorts: [8080], namespaces: [exact("other")] })],
      matched: false,
    },
    { name: "values of a field are OR-ed", rules: [rule({ destinationPorts: [1, 8080] })], matched: true },
    {
      name: "a positive and its negative are AND-ed",
      rules: [rule({ namespaces: [presence], notNamespaces: [exact("apps")] })],
      matched: false,
    },
    { name: "no value of a negative may match", rules: [rule({ notDestinationPorts: [1, 8080] })], matched: false },
    { name: "a negative that does not match holds", rules: [rule({ notDestinationPorts: [1] })], matched: true },

    {
      name: "principal, exact, without spiffe://",
      rules: [rule({ principals: [exact("td/ns/apps/sa/curl")] })],
      matched: true,
    },
    {
      name: "principal, exact, with spiffe://",
      rules: [rule({ principals: [exact("spiffe://td/ns/apps/sa/curl")] })],
      matched: false,
    },
    { name: "principal, prefix", rules: [rule({ principals: [prefix("td/ns/apps/")] })], matched: true },
    { name: "principal, suffix", rules: [rule({ principals: [suffix("/sa/curl")] })], matched: true },
    { name: "principal, presence", rules: [rule({ principals: [presence] })], matched: true },
    {
      name: "plaintext has no principal, not even for an empty prefix",
      rules: [rule({ principals: [prefix(""), presence, exact("")] })],
      at: plaintext,
      matched: false,
    },
    {
      name: "plaintext and notPrincipals presence (STRICT)",
      rules: [rule({ notPrincipals: [presence] })],
      at: plaintext,
      matched: true,
    },
    { name: "mTLS and notPrincipals presence", rules: [rule({ notPrincipals: [presence] })], matched: false },

    { name: "namespace, exact", rules: [rule({ namespaces: [exact("apps")] })], matched: true },
    { name: "namespace, other case", rules: [rule({ namespaces: [exact("Apps")] })], matched: false },
    {
      name: "namespace of plaintext is empty",
      rules: [rule({ namespaces: [exact("")] })],
      at: plaintext,
      matched: true,
    },
    {
      name: "namespace presence in plaintext",
      rules: [rule({ namespaces: [presence] })],
      at: plaintext,
      matched: false,
    },

    {
      name: "service account in any trust domain",
      rules: [rule({ serviceAccounts: [{ namespace: "apps", serviceAccount: "curl" }] })],
      matched: true,
    },
    {
      name: "service account of another namespace",
      rules: [rule({ serviceAccounts: [{ namespace: "other", serviceAccount: "curl" }] })],
      matched: false,
    },
    {
      name: "notServiceAccounts in plaintext",
      rules: [rule({ notServiceAccounts: [{ namespace: "apps", serviceAccount: "curl" }] })],
      at: plaintext,
      matched: true,
    },

    { name: "source in a range", rules: [rule({ sourceIps: [{ ip: "10.0.0.0", prefixLength: 30 }] })], matched: true },
    {
      name: "source outside a range",
      rules: [rule({ sourceIps: [{ ip: "10.0.0.4", prefixLength: 30 }] })],
      matched: false,
    },
    {
      name: "an IPv6 range of everything and an IPv4 source",
      rules: [rule({ sourceIps: [{ ip: "::", prefixLength: 0 }] })],
      matched: false,
    },
    {
      name: "destination address",
      rules: [rule({ destinationIps: [{ ip: "10.0.0.2", prefixLength: 32 }] })],
      matched: true,
    },
    {
      name: "not this destination",
      rules: [rule({ notDestinationIps: [{ ip: "10.0.0.2", prefixLength: 32 }] })],
      matched: false,
    },
  ])("$name: $matched", ({ rules, at, matched }) => {
    expect(matches(rules, at)).toBe(matched);
  });
});

describe("explainDecision", () => {
  it("says who, to what, and which policy and rule", () => {
    const deny = policy({ name: "d", action: "DENY", rules: [rule({ destinationPorts: [8080] })] });
    expect(explainDecision(evaluate([deny], facts), facts)).toBe(
      "connection from 10.0.0.1 (spiffe://td/ns/apps/sa/curl) to 10.0.0.2:8080 denied: explicitly denied by: ns/d (rule 0)",
    );
  });

  it("says which ALLOW policies did not match, and what a dry run would have matched", () => {
    const policies = [
      policy({ name: "a" }),
      policy({ name: "dry", action: "DENY", rules: [{ clauses: [] }], dryRun: true }),
    ];
    expect(explainDecision(evaluate(policies, plaintext), plaintext)).toBe(
      "connection from 10.0.0.1 (no identity) to 10.0.0.2:8080 denied: allow policies exist, but none allowed " +
        "(did not match ns/a; dry run matched DENY ns/dry)",
    );
  });

  it("says which policy was not received", () => {
    expect(explainDecision(refuseMissingPolicy("ns/x"), facts)).toContain("denied: policy ns/x not received");
  });
});

/**
 * The model: the decision spelled out over tables of booleans, as slowly and plainly as possible, with its own comparison of
 * strings (regular expressions) and addresses (numbers).
 */
function slowEvaluate(policies: readonly AuthorizationPolicy[], at: ConnectionFacts): boolean {
  const live = policies.filter((each) => !each.dryRun);
  const matching = live.filter((each) => each.rules.map((one) => slowRule(one, at)).includes(true));
  if (matching.map((each) => each.action).includes("DENY")) return false;
  const allows = live.filter((each) => each.action === "ALLOW");
  return allows.length === 0 ? true : matching.map((each) => each.action).includes("ALLOW");
}

function slowRule(one: PolicyRule, at: ConnectionFacts): boolean {
  let all = true;
  for (const clause of one.clauses) {
    let any = clause.length === 0;
    for (const each of clause) if (slowMatch(each, at)) any = true;
    if (!any) all = false;
  }
  return all;
}

function slowMatch(each: PolicyMatch, at: ConnectionFacts): boolean {
  const identity = at.sourceIdentity;
  const principal = identity ? `${identity.trustDomain}/ns/${identity.namespace}/sa/${identity.serviceAccount}` : null;
  const table: [boolean[], boolean[]][] = [
    [each.namespaces, each.notNamespaces].map((list) => list.map((v) => slowString(v, identity?.namespace ?? ""))),
    [each.principals, each.notPrincipals].map((list) =>
      list.map((v) => principal !== null && slowString(v, principal)),
    ),
    [each.serviceAccounts, each.notServiceAccounts].map((list) =>
      list.map((v) => identity?.namespace === v.namespace && identity?.serviceAccount === v.serviceAccount),
    ),
    [each.sourceIps, each.notSourceIps].map((list) => list.map((v) => slowCidr(v, at.sourceIp))),
    [each.destinationIps, each.notDestinationIps].map((list) => list.map((v) => slowCidr(v, at.destinationIp))),
    [each.destinationPorts, each.notDestinationPorts].map((list) => list.map((v) => v === at.destinationPort)),
  ] as [boolean[], boolean[]][];
  if (table.every(([positive, negative]) => positive.length + negative.length === 0)) return false;
  for (const [positive, negative] of table) {
    if (positive.length > 0 && !positive.includes(true)) return false;
    if (negative.includes(true)) return false;
  }
  return true;
}

function slowString(v: StringMatch, value: string): boolean {
  if (v.kind === "presence") return value.length > 0;
  const escaped = v.value.replaceAll(/[.*+?^${}()|[\]\\/-]/g, String.raw`\$&`);
  const patterns = { exact: `^${escaped}$`, prefix: `^${escaped}`, suffix: `${escaped}$` };
  return new RegExp(patterns[v.kind], "s").test(value);
}

/** IPv4 only: the generator makes no other. */
function slowCidr(v: { ip: string; prefixLength: number }, ip: string): boolean {
  const number = (text: string): number => text.split(".").reduce((sum, part) => sum * 256 + Number(part), 0);
  const size = 2 ** (32 - v.prefixLength);
  return Math.floor(number(v.ip) / size) === Math.floor(number(ip) / size);
}

describe("evaluate against a slow model", () => {
  // Few values, so that they meet.
  const word = fc.constantFrom("apps", "curl", "td", "app", "");
  const principalText = fc.constantFrom(
    "td/ns/apps/sa/curl",
    "td/ns/",
    "/sa/curl",
    "td/ns/app/sa/curl",
    "",
    "spiffe://td",
  );
  const stringOf = (values: fc.Arbitrary<string>): fc.Arbitrary<StringMatch> =>
    fc.oneof(
      fc.constant(presence),
      fc.record({ kind: fc.constantFrom("exact" as const, "prefix" as const, "suffix" as const), value: values }),
    );
  const ip = fc.constantFrom("10.0.0.1", "10.0.0.2", "10.0.0.3", "10.0.1.1", "11.0.0.1");
  const cidr = fc.record({ ip, prefixLength: fc.constantFrom(0, 7, 8, 24, 30, 31, 32) });
  const account = fc.record({ namespace: word, serviceAccount: word });
  const few = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T[]> =>
    fc.oneof(
      { weight: 4, arbitrary: fc.constant<T[]>([]) },
      { weight: 1, arbitrary: fc.array(value, { maxLength: 2 }) },
    );
  const port = fc.constantFrom(80, 8080);
  const matchOf: fc.Arbitrary<PolicyMatch> = fc.record({
    namespaces: few(stringOf(word)),
    notNamespaces: few(stringOf(word)),
    principals: few(stringOf(principalText)),
    notPrincipals: few(stringOf(principalText)),
    serviceAccounts: few(account),
    notServiceAccounts: few(account),
    sourceIps: few(cidr),
    notSourceIps: few(cidr),
    destinationIps: few(cidr),
    notDestinationIps: few(cidr),
    destinationPorts: few(port),
    notDestinationPorts: few(port),
  });
  const ruleOf = fc.record({ clauses: fc.array(fc.array(matchOf, { maxLength: 2 }), { maxLength: 2 }) });
  const policyOf = fc.record({
    name: fc.constantFrom("a", "b"),
    namespace: fc.constant("ns"),
    scope: fc.constant("NAMESPACE" as const),
    action: fc.constantFrom("ALLOW" as const, "DENY" as const),
    rules: fc.array(ruleOf, { maxLength: 2 }),
    dryRun: fc.boolean(),
  });
  const identityOf = fc.record({
    trustDomain: fc.constant("td"),
    namespace: fc.constantFrom("apps", "app"),
    serviceAccount: fc.constantFrom("curl", "apps"),
  });
  const factsOf = fc.record({
    sourceIdentity: fc.option(identityOf, { nil: undefined }),
    sourceIp: ip,
    destinationIp: ip,
    destinationPort: port,
  });

  it("agrees on every connection", () => {
    fc.assert(
      fc.property(fc.array(policyOf, { maxLength: 3 }), factsOf, (policies, at) => {
        expect(evaluate(policies, at).allowed).toBe(slowEvaluate(policies, at));
      }),
      { numRuns: 3_000 },
    );
  });
});
