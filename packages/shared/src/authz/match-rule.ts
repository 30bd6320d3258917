import type { Cidr, Identity, IpAddress, PolicyMatch, PolicyRule, ServiceAccountMatch } from "../model/index.ts";
import { cidrContains, formatPrincipal } from "../model/index.ts";
import { matchString } from "./match-string.ts";

/** What is known of a connection when its policy is decided. */
export interface ConnectionFacts {
  /** What the peer proved by mTLS; undefined for plaintext. */
  readonly sourceIdentity?: Identity | undefined;
  /** The TCP peer's address: behind a waypoint, the waypoint's. */
  readonly sourceIp: IpAddress;
  readonly destinationIp: IpAddress;
  /** The application's port, never 15008. */
  readonly destinationPort: number;
}

/** {@link ConnectionFacts} with the strings that policies compare, made once per decision. */
export interface MatchInput {
  readonly facts: ConnectionFacts;
  /** Without `spiffe://`; undefined: no principal, so that not even an empty prefix fits it. */
  readonly principal: string | undefined;
  /** "" for plaintext. */
  readonly namespace: string;
}

export function matchInput(facts: ConnectionFacts): MatchInput {
  const identity = facts.sourceIdentity;
  return {
    facts,
    principal: identity === undefined ? undefined : formatPrincipal(identity),
    namespace: identity?.namespace ?? "",
  };
}

/** All clauses hold; a rule without clauses matches everything. */
export function matchRule(rule: PolicyRule, input: MatchInput): boolean {
  return rule.clauses.every((clause) => clause.length === 0 || clause.some((match) => matchFields(match, input)));
}

/** All fields hold; a match whose fields are all empty never holds (ztunnel skips it). */
function matchFields(match: PolicyMatch, input: MatchInput): boolean {
  if (isEmpty(match)) return false;
  const { facts, principal, namespace } = input;
  return (
    holds(match.destinationPorts, match.notDestinationPorts, (port) => port === facts.destinationPort) &&
    holds(match.namespaces, match.notNamespaces, (value) => matchString(value, namespace)) &&
    holds(match.principals, match.notPrincipals, (value) => principal !== undefined && matchString(value, principal)) &&
    holds(match.serviceAccounts, match.notServiceAccounts, (value) => isAccount(value, facts.sourceIdentity)) &&
    holds(match.sourceIps, match.notSourceIps, (cidr: Cidr) => cidrContains(cidr, facts.sourceIp)) &&
    holds(match.destinationIps, match.notDestinationIps, (cidr: Cidr) => cidrContains(cidr, facts.destinationIp))
  );
}

/** One field with its negative: some value fits (or there is none), and none of the negative values does. */
function holds<T>(values: readonly T[], notValues: readonly T[], fits: (value: T) => boolean): boolean {
  return (values.length === 0 || values.some(fits)) && !notValues.some(fits);
}

/** Any trust domain: the mTLS handshake has already pinned it. */
function isAccount(match: ServiceAccountMatch, identity: Identity | undefined): boolean {
  return identity?.namespace === match.namespace && identity.serviceAccount === match.serviceAccount;
}

function isEmpty(match: PolicyMatch): boolean {
  return (
    match.namespaces.length === 0 &&
    match.notNamespaces.length === 0 &&
    match.principals.length === 0 &&
    match.notPrincipals.length === 0 &&
    match.serviceAccounts.length === 0 &&
    match.notServiceAccounts.length === 0 &&
    match.sourceIps.length === 0 &&
    match.notSourceIps.length === 0 &&
    match.destinationIps.length === 0 &&
    match.notDestinationIps.length === 0 &&
    match.destinationPorts.length === 0 &&
    match.notDestinationPorts.length === 0
  );
}
