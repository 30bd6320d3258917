import { type ConnectionFacts, evaluate } from "@hairpin/shared/authz";
import { policyFromWire } from "@hairpin/shared/discovery";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type {
  AuthorizationPolicyObject,
  AuthorizationRule,
  PolicyOperation,
  PolicySource,
} from "../../collection/kubernetes-object.ts";
import { convertPolicy } from "./authorization-policy.ts";

const some = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T[]> => fc.array(value, { minLength: 1, maxLength: 2 });
const ports = fc.constantFrom("80", "81");
const cidrs = fc.constantFrom("10.0.0.1", "10.0.0.0/24", "10.1.0.0/16");
const principals = fc.constantFrom("*", "cluster.local/ns/a/sa/x", "cluster.local/ns/a/*", "*/sa/y");
const namespaces = fc.constantFrom("a", "b*", "*");

// A source or operation that says nothing never matches (as in ztunnel); users cannot write one.
const isSaying = (value: object): boolean => Object.keys(value).length > 0;
const source: fc.Arbitrary<PolicySource> = fc.record(
  {
    principals: some(principals),
    notPrincipals: some(principals),
    namespaces: some(namespaces),
    ipBlocks: some(cidrs),
    notIpBlocks: some(cidrs),
  },
  { requiredKeys: [] },
);
const operation: fc.Arbitrary<PolicyOperation> = fc.record(
  { ports: some(ports), notPorts: some(ports) },
  { requiredKeys: [] },
);
const rule: fc.Arbitrary<AuthorizationRule> = fc.record(
  {
    from: some(source.filter(isSaying).map((value) => ({ source: value }))),
    to: some(operation.filter(isSaying).map((value) => ({ operation: value }))),
  },
  { requiredKeys: [] },
);
const facts: fc.Arbitrary<ConnectionFacts> = fc.record(
  {
    sourceIdentity: fc.record({
      trustDomain: fc.constant("cluster.local"),
      namespace: fc.constantFrom("a", "bb"),
      serviceAccount: fc.constantFrom("x", "y"),
    }),
    sourceIp: fc.constantFrom("10.0.0.1", "10.0.0.2", "10.1.2.3"),
    destinationIp: fc.constant("10.9.0.1"),
    destinationPort: fc.constantFrom(80, 81, 82),
  },
  { requiredKeys: ["sourceIp", "destinationIp", "destinationPort"] },
);

function allows(action: "ALLOW" | "DENY", rules: readonly AuthorizationRule[], connection: ConnectionFacts): boolean {
  const policy: AuthorizationPolicyObject = {
    apiVersion: "security.istio.io/v1",
    kind: "AuthorizationPolicy",
    metadata: { name: "p", namespace: "shop" },
    spec: { action, rules },
  };
  const { message } = convertPolicy(policy, "istio-system");
  return message !== undefined && evaluate([policyFromWire(message)], connection).allowed;
}

/** Adds a value or attribute to one place of a rule. */
type Spoil = (rule: AuthorizationRule) => AuthorizationRule;
const spoilSource =
  (extra: (source: PolicySource) => PolicySource): Spoil =>
  (good) => ({ ...good, from: (good.from ?? [{}]).map(({ source: held = {} }) => ({ source: extra(held) })) });
const unreadable: readonly Spoil[] = [
  spoilSource((held) => ({ ...held, ipBlocks: [...(held.ipBlocks ?? []), "10.0.0.300"] })),
  spoilSource((held) => ({ ...held, notIpBlocks: [...(held.notIpBlocks ?? []), "nowhere"] })),
  (good) => ({
    ...good,
    to: (good.to ?? [{}]).map(({ operation: held = {} }) => ({
      operation: { ...held, ports: [...(held.ports ?? []), "http"] },
    })),
  }),
  (good) => ({ ...good, when: [{ key: "destination.port", notValues: ["0"] }] }),
];
const unsupported: readonly Spoil[] = [
  spoilSource((held) => ({ ...held, requestPrincipals: ["*"] })),
  spoilSource((held) => ({ ...held, notTrustDomains: ["other"] })),
  (good) => ({
    ...good,
    to: (good.to ?? [{}]).map(({ operation: held = {} }) => ({ operation: { ...held, paths: ["/x"] } })),
  }),
  (good) => ({ ...good, when: [{ key: "request.headers[x]", values: ["1"] }] }),
];

describe("convertPolicy", () => {
  test("never allows more because of a value that cannot be read or an attribute that cannot be compared", () => {
    fc.assert(
      fc.property(rule, fc.constantFrom(...unreadable, ...unsupported), facts, (good, spoil, connection) => {
        if (allows("ALLOW", [spoil(good)], connection)) expect(allows("ALLOW", [good], connection)).toBe(true);
      }),
      { numRuns: 2000 },
    );
  });

  test("never refuses less because of a value that cannot be read", () => {
    fc.assert(
      fc.property(rule, fc.constantFrom(...unreadable), facts, (good, spoil, connection) => {
        if (!allows("DENY", [good], connection)) expect(allows("DENY", [spoil(good)], connection)).toBe(false);
      }),
      { numRuns: 2000 },
    );
  });
});
