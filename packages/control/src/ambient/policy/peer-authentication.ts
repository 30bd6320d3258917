// PeerAuthentication → DENY policies for callers without identity. Modes are inherited mesh < namespace < workload; of
// several at one level the oldest counts.

import { type MessageInitShape, create } from "@bufbuild/protobuf";
import { istioSecurity } from "@hairpin/shared/api";
import type { PeerAuthentication } from "../../collection/kubernetes-object.ts";
import { hasLabels } from "../../collection/label-match.ts";
import { byAge } from "../age.ts";
import { readPort } from "./policy-value.ts";

type RuleInit = MessageInitShape<typeof istioSecurity.RuleSchema>;
type ClauseInit = MessageInitShape<typeof istioSecurity.ClauseSchema>;

const staticStrictName = "istio_converted_static_strict";
const noIdentity: ClauseInit = { matches: [{ notPrincipals: [{ matchType: { case: "presence", value: {} } }] }] };

export interface PeerAuthenticationPolicies {
  readonly messages: readonly istioSecurity.Authorization[];
  /** Policy keys for one workload. */
  keysFor(workload: Labelled): readonly string[];
}

interface Labelled {
  readonly namespace: string;
  readonly labels: Readonly<Record<string, string>> | undefined;
}

/** Policies with a selector in the root namespace select nothing (as in Istio). */
export function buildPeerAuthentications(
  policies: readonly PeerAuthentication[],
  rootNamespace: string,
): PeerAuthenticationPolicies {
  const all = [...policies].sort(byAge);
  const byNamespace = Map.groupBy(all, (policy) => policy.metadata.namespace ?? "");
  const strictIn = (namespace: string, inherited: boolean): boolean => {
    const policy = byNamespace.get(namespace)?.find((candidate) => !hasSelector(candidate));
    return resolveStrict(policy?.spec?.mtls?.mode, inherited);
  };
  const meshStrict = strictIn(rootNamespace, false);
  const namespaceStrict = new Map<string, boolean>();
  const namespaceMode = (namespace: string): boolean => {
    let strict = namespaceStrict.get(namespace);
    if (strict === undefined) namespaceStrict.set(namespace, (strict = strictIn(namespace, meshStrict)));
    return strict;
  };

  const messages: istioSecurity.Authorization[] = all.length > 0 ? [staticStrict(rootNamespace)] : [];
  const selecting = all
    .filter((policy) => hasSelector(policy) && policy.metadata.namespace !== rootNamespace)
    .map((policy) => ({ policy, effect: effectOf(policy, namespaceMode(policy.metadata.namespace ?? "")) }));
  for (const { effect } of selecting) if (effect.message !== undefined) messages.push(effect.message);

  const selectorsOf = Map.groupBy(selecting, ({ policy }) => policy.metadata.namespace ?? "");
  const staticKey = `${rootNamespace}/${staticStrictName}`;
  return {
    messages,
    keysFor: ({ namespace, labels }) => {
      // One workload against the policies of its namespace, oldest first.
      const chosen = selectorsOf.get(namespace)?.find(({ policy }) => hasLabels(labels, selectorOf(policy)));
      const message = chosen?.effect.message;
      if (message !== undefined) return [`${message.namespace}/${message.name}`];
      return (chosen?.effect.strict ?? namespaceMode(namespace)) ? [staticKey] : [];
    },
  };
}

interface Effect {
  readonly strict: boolean;
  /** Set when ports differ from the rest. */
  readonly message: istioSecurity.Authorization | undefined;
}

function effectOf(policy: PeerAuthentication, inherited: boolean): Effect {
  const strict = resolveStrict(policy.spec?.mtls?.mode, inherited);
  const differing = Object.entries(policy.spec?.portLevelMtls ?? {}).flatMap(([text, mtls]) => {
    const port = readPort(text);
    return port === undefined || resolveStrict(mtls.mode, strict) === strict ? [] : [port];
  });
  if (differing.length === 0) return { strict, message: undefined };
  const rules: RuleInit[] = strict
    ? [{ clauses: [noIdentity, ...differing.map((port) => ({ matches: [{ notDestinationPorts: [port] }] }))] }]
    : differing.map((port) => ({
        clauses: [
          { matches: [{ notPrincipals: [{ matchType: { case: "presence", value: {} } }], destinationPorts: [port] }] },
        ],
      }));
  const name = `converted_peer_authentication_${policy.metadata.name}`;
  return { strict, message: denyPolicy(policy.metadata.namespace ?? "", name, rules) };
}

/** UNSET inherits; DISABLE cannot be had in ambient and counts as PERMISSIVE. */
function resolveStrict(mode: string | undefined, inherited: boolean): boolean {
  return mode === undefined || mode === "UNSET" ? inherited : mode === "STRICT";
}

function staticStrict(rootNamespace: string): istioSecurity.Authorization {
  return denyPolicy(rootNamespace, staticStrictName, [{ clauses: [noIdentity] }]);
}

function denyPolicy(namespace: string, name: string, rules: RuleInit[]): istioSecurity.Authorization {
  return create(istioSecurity.AuthorizationSchema, {
    name,
    namespace,
    scope: istioSecurity.Scope.WORKLOAD_SELECTOR,
    action: istioSecurity.Action.DENY,
    rules,
  });
}

function hasSelector(policy: PeerAuthentication): boolean {
  return Object.keys(selectorOf(policy)).length > 0;
}

function selectorOf(policy: PeerAuthentication): Readonly<Record<string, string>> {
  return policy.spec?.selector?.matchLabels ?? {};
}
