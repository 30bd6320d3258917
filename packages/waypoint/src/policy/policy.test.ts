import { create, type MessageInitShape } from "@bufbuild/protobuf";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hairpinWaypoint } from "@hairpin/shared/api";
import { authorizeAll as decideAll, PolicySet } from "./authorize.ts";
import { compilePolicy, type CompiledPolicy } from "./compile-policy.ts";
import type { HttpFacts, RequestFacts } from "./request-facts.ts";
import { compileNamespacePattern, compilePathPattern, compilePattern } from "./string-pattern.ts";

type PolicyInit = MessageInitShape<typeof hairpinWaypoint.PolicySchema>;
type RuleInit = MessageInitShape<typeof hairpinWaypoint.PolicyRuleSchema>;
const { ALLOW, DENY, AUDIT, CUSTOM } = hairpinWaypoint.Policy_Action;

function policy(init: PolicyInit) {
  return compilePolicy(create(hairpinWaypoint.PolicySchema, { namespace: "ns", name: "p", ...init }));
}

const curl = { trustDomain: "cluster.local", namespace: "shop", serviceAccount: "curl" };

function request(
  http: Partial<HttpFacts> & { headers?: Record<string, string[]> } = {},
  rest: Partial<RequestFacts> = {},
): RequestFacts {
  const headers = http.headers ?? {};
  return {
    sourceIdentity: curl,
    sourceIp: "10.244.1.5",
    destinationIp: "10.96.0.7",
    destinationPort: 80,
    http: { method: "GET", path: "/", authority: "reviews", headerValues: (name) => headers[name] ?? [], ...http },
    ...rest,
  };
}

const tcp: RequestFacts = { ...request(), http: undefined };

/** Whether one rule matches, asked through an ALLOW and a DENY policy. */
function matches(rule: RuleInit, facts: RequestFacts): { allow: boolean; deny: boolean } {
  return {
    allow: policy({ action: ALLOW, rules: [rule] }).match(facts) === 0,
    deny: policy({ action: DENY, rules: [rule] }).match(facts) === 0,
  };
}
const both = { allow: true, deny: true };
const neither = { allow: false, deny: false };
/** Cannot be answered: lets nobody in and refuses. */
const failsClosed = { allow: false, deny: true };

describe("compilePolicy", () => {
  it.each<[string, RuleInit, RequestFacts, { allow: boolean; deny: boolean }]>([
    ["an empty rule matches everything", {}, request(), both],
    ["an empty source fails closed", { from: [{}] }, request(), failsClosed],
    ["exact principal", { from: [{ principals: ["cluster.local/ns/shop/sa/curl"] }] }, request(), both],
    [
      "principal with scheme is another text",
      { from: [{ principals: ["spiffe://cluster.local/ns/shop/sa/curl"] }] },
      request(),
      neither,
    ],
    ["principal suffix", { from: [{ principals: ["*/sa/curl"] }] }, request(), both],
    ["principal presence", { from: [{ principals: ["*"] }] }, request(), both],
    [
      "principal presence without identity",
      { from: [{ principals: ["*"] }] },
      request({}, { sourceIdentity: undefined }),
      neither,
    ],
    [
      "not principal without identity",
      { from: [{ notPrincipals: ["*"] }] },
      request({}, { sourceIdentity: undefined }),
      both,
    ],
    ["namespace", { from: [{ namespaces: ["shop"] }] }, request(), both],
    ["namespace with stars inside", { from: [{ namespaces: ["s*p"] }] }, request(), both],
    ["another namespace", { from: [{ namespaces: ["sho"] }] }, request(), neither],
    ["service account", { from: [{ serviceAccounts: ["shop/curl"] }] }, request(), both],
    ["service account with a dot is no pattern", { from: [{ serviceAccounts: ["shop/c.rl"] }] }, request(), neither],
    ["trust domain", { from: [{ trustDomains: ["cluster.local"] }] }, request(), both],
    ["not trust domain", { from: [{ notTrustDomains: ["cluster.local"] }] }, request(), neither],
    ["ip block", { from: [{ ipBlocks: ["10.244.0.0/16"] }] }, request(), both],
    ["remote ip block", { from: [{ remoteIpBlocks: ["10.244.1.5"] }] }, request(), both],
    ["not ip block", { from: [{ notIpBlocks: ["10.244.0.0/16"] }] }, request(), neither],
    ["bad ip block fails closed", { from: [{ ipBlocks: ["10.0.0.0/99"] }] }, request(), failsClosed],
    ["request principal without JWT", { from: [{ requestPrincipals: ["*"] }] }, request(), neither],
    [
      "fields of a source are AND-ed",
      { from: [{ namespaces: ["shop"], ipBlocks: ["192.0.2.0/24"] }] },
      request(),
      neither,
    ],
    ["sources are OR-ed", { from: [{ namespaces: ["x"] }, { namespaces: ["shop"] }] }, request(), both],
    [
      "from, to and when are AND-ed",
      { from: [{ namespaces: ["shop"] }], to: [{ methods: ["POST"] }] },
      request(),
      neither,
    ],
    ["method", { to: [{ methods: ["GET"] }] }, request(), both],
    ["method is case-sensitive", { to: [{ methods: ["get"] }] }, request(), neither],
    ["not method", { to: [{ notMethods: ["POST"] }] }, request(), both],
    ["path prefix", { to: [{ paths: ["/api/*"] }] }, request({ path: "/api/x" }), both],
    ["path prefix is not a segment", { to: [{ paths: ["/api/*"] }] }, request({ path: "/apix" }), neither],
    ["path suffix", { to: [{ paths: ["*/x"] }] }, request({ path: "/api/x" }), both],
    ["path template", { to: [{ paths: ["/a/{*}/c"] }] }, request({ path: "/a/b/c" }), both],
    ["path template, wrong depth", { to: [{ paths: ["/a/{*}/c"] }] }, request({ path: "/a/b/b/c" }), neither],
    ["path template, many", { to: [{ paths: ["/a/{**}"] }] }, request({ path: "/a/b/b/c" }), both],
    ["bad path template fails closed", { to: [{ paths: ["/a/{x}"] }] }, request({ path: "/a/x" }), failsClosed],
    ["host", { to: [{ hosts: ["Reviews"] }] }, request(), both],
    [
      "host with port, DENY is wider",
      { to: [{ hosts: ["reviews"] }] },
      request({ authority: "reviews:80" }),
      { allow: false, deny: true },
    ],
    [
      "not host with port, ALLOW is narrower",
      { to: [{ notHosts: ["reviews"] }] },
      request({ authority: "reviews:80" }),
      { allow: false, deny: true },
    ],
    ["port", { to: [{ ports: ["80"] }] }, request(), both],
    ["another port", { to: [{ ports: ["8080"] }] }, request(), neither],
    ["bad port fails closed", { to: [{ ports: ["http"] }] }, request(), failsClosed],
    [
      "header",
      { when: [{ key: "request.headers[X-Role]", values: ["admin"] }] },
      request({ headers: { "x-role": ["admin"] } }),
      both,
    ],
    ["header that is missing", { when: [{ key: "request.headers[x-role]", values: ["*"] }] }, request(), neither],
    [
      "missing header with notValues",
      { when: [{ key: "request.headers[x-role]", notValues: ["admin"] }] },
      request(),
      both,
    ],
    [
      "repeated header, one value",
      { when: [{ key: "request.headers[x-role]", values: ["admin"] }] },
      request({ headers: { "x-role": ["user", "admin"] } }),
      { allow: false, deny: true },
    ],
    [
      "repeated header, notValues",
      { when: [{ key: "request.headers[x-role]", notValues: ["admin"] }] },
      request({ headers: { "x-role": ["user", "admin"] } }),
      { allow: false, deny: true },
    ],
    [
      "values and notValues are AND-ed",
      { when: [{ key: "source.namespace", values: ["sh*"], notValues: ["shop"] }] },
      request(),
      neither,
    ],
    ["source.ip", { when: [{ key: "source.ip", values: ["10.244.1.0/24"] }] }, request(), both],
    ["destination.port", { when: [{ key: "destination.port", values: ["80"] }] }, request(), both],
    ["destination.ip", { when: [{ key: "destination.ip", values: ["10.96.0.0/16"] }] }, request(), both],
    ["unknown key fails closed", { when: [{ key: "request.auth.claims[x]", values: ["y"] }] }, request(), failsClosed],
    ["condition without values fails closed", { when: [{ key: "source.ip" }] }, request(), failsClosed],
    ["HTTP fields of TCP fail closed", { to: [{ methods: ["GET"] }] }, tcp, failsClosed],
    ["negated HTTP fields of TCP fail closed", { to: [{ notPaths: ["/x"] }] }, tcp, failsClosed],
    [
      "L4 part of a mixed rule still decides TCP",
      { from: [{ namespaces: ["other"] }], to: [{ methods: ["GET"] }] },
      tcp,
      neither,
    ],
  ])("%s", (_, rule, facts, expected) => {
    expect(matches(rule, facts)).toEqual(expected);
  });
});

const authorize = (policies: readonly CompiledPolicy[], facts: RequestFacts) => new PolicySet(policies).decide(facts);
const authorizeAll = (sets: readonly (readonly CompiledPolicy[])[], facts: RequestFacts) =>
  decideAll(
    sets.map((policies) => new PolicySet(policies)),
    facts,
  );

describe("authorize", () => {
  const allowGet = policy({ name: "get", action: ALLOW, rules: [{ to: [{ methods: ["GET"] }] }] });
  const denyAdmin = policy({
    name: "admin",
    action: DENY,
    rules: [{ to: [{ paths: ["/x"] }] }, { to: [{ paths: ["/admin*"] }] }],
  });

  it("allows when no policy applies", () => {
    expect(authorize([], request())).toMatchObject({ allowed: true, policy: undefined });
  });

  it("names the ALLOW policy and rule that let the request in", () => {
    expect(authorize([allowGet], request())).toMatchObject({ allowed: true, policy: "ns/get", rule: 0 });
  });

  it("refuses what no ALLOW policy matches, and names those that might have", () => {
    expect(authorize([allowGet], request({ method: "POST" }))).toMatchObject({
      allowed: false,
      reason: "allow policies exist, but none allowed",
      policy: "ns/get",
    });
  });

  it("lets DENY beat ALLOW and names the rule", () => {
    const decision = authorize([allowGet, denyAdmin], request({ path: "/admin/x" }));
    expect(decision).toMatchObject({
      allowed: false,
      reason: "explicitly denied by: ns/admin",
      policy: "ns/admin",
      rule: 1,
    });
  });

  it("refuses everything for an ALLOW policy without rules, nothing for a DENY without", () => {
    expect(authorize([policy({ action: ALLOW })], request()).allowed).toBe(false);
    expect(authorize([policy({ action: DENY })], request()).allowed).toBe(true);
  });

  it("refuses what a CUSTOM policy matches, since there is no authorizer, and ignores AUDIT", () => {
    expect(authorize([policy({ action: CUSTOM, rules: [{}] })], request()).reason).toBe(
      "no external authorizer for: ns/p",
    );
    expect(authorize([policy({ action: AUDIT, rules: [{}] })], request()).allowed).toBe(true);
  });

  it("reports dry-run policies and does not obey them", () => {
    const dry = policy({ name: "dry", action: DENY, dryRun: true, rules: [{}] });
    expect(authorize([dry], request())).toMatchObject({ allowed: true, dryRun: ["ns/dry"] });
    expect(authorize([policy({ action: ALLOW, dryRun: true })], request()).allowed).toBe(true);
  });

  it("refuses a pod-addressed call that any of the pod's Services would refuse", () => {
    const allowPost = policy({ name: "post", action: ALLOW, rules: [{ to: [{ methods: ["POST"] }] }] });
    expect(authorize([allowGet, allowPost], request()).allowed).toBe(true);
    expect(authorizeAll([[allowGet], [allowPost]], request()).allowed).toBe(false);
    expect(authorizeAll([[allowGet], []], request()).allowed).toBe(true);
    expect(authorizeAll([[], []], request()).allowed).toBe(true);
    expect(authorizeAll([], request())).toMatchObject({ allowed: false, reason: "no policies received" });
  });
});

describe("patterns", () => {
  it("treats a star inside as a character, but for namespaces", () => {
    expect(compilePattern("a*b")("a*b")).toBe(true);
    expect(compilePattern("a*b")("axb")).toBe(false);
    expect(compileNamespacePattern("a*b")("axb")).toBe(true);
  });

  it("matches namespace patterns as the regular expression would", () => {
    const text = fc.stringMatching(/^[ab]{0,6}$/);
    const pattern = fc.stringMatching(/^[ab*]{0,5}$/);
    fc.assert(
      fc.property(pattern, text, (p, t) => {
        const expected = new RegExp(`^${p.replaceAll("*", ".*")}$`).test(t);
        expect(compileNamespacePattern(p)(t)).toBe(expected);
      }),
    );
  });

  it.each([
    ["/{*}", "/a", true],
    ["/{*}", "/", false],
    ["/a/{**}/z", "/a/z", true],
    ["/a/{**}/z", "/a/b/c/z", true],
    ["/a/{**}/z", "/a/b/c", false],
    ["/{*}/{**}", "/a", true],
    ["/{*}/{**}", "/a/b", true],
  ])("template %s on %s: %s", (template, path, expected) => {
    expect(compilePathPattern(template)?.(path)).toBe(expected);
  });

  it.each(["/a{*}", "/{**}/{*}", "/{a}", "/{*}*", "{*}"])("refuses the template %s", (template) => {
    expect(compilePathPattern(template)).toBeUndefined();
  });
});
