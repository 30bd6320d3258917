import { istioSecurity } from "@hairpin/shared/api";
import { type Identity, formatPrincipal } from "@hairpin/shared/model";
import type { AmbientModel, CoveredPod } from "../ambient/ambient-model.ts";
import type { ConvertedPolicy } from "../ambient/policy/authorization-policy.ts";
import { boundWaypoint } from "../ambient/waypoint/binding.ts";
import type { WaypointRecord } from "../ambient/waypoint/waypoint-record.ts";
import { listNames } from "./status-update.ts";

/**
 * Behind a waypoint the destination sees the waypoint's identity, so L4 ALLOW policies that admit only the callers refuse
 * everything. Returns by policy key a sentence that names the principals to add, where no ALLOW policy of a pod admits its
 * waypoint.
 */
export function findShutOutWaypoints(model: AmbientModel): ReadonlyMap<string, string> {
  const allow = model.policies.filter(
    ({ message }) => message?.action === istioSecurity.Action.ALLOW && !message.dryRun,
  );
  const global = allow.filter(({ message }) => message?.scope === istioSecurity.Scope.GLOBAL);
  const ofNamespace = Map.groupBy(
    allow.filter(({ message }) => message?.scope === istioSecurity.Scope.NAMESPACE),
    ({ message }) => message?.namespace ?? "",
  );
  const podsByPolicy = new Map<string, Map<string, string[]>>();
  for (const pod of model.pods.values()) {
    const applying = [
      ...global,
      ...(ofNamespace.get(pod.record.namespace) ?? []),
      ...pod.policies.filter((policy) => allow.includes(policy)),
    ];
    if (applying.length === 0) continue;
    for (const waypoint of waypointsBefore(pod, model)) {
      const identity = waypoint.identities[0];
      if (identity === undefined || applying.some((policy) => mayAdmit(policy, identity))) continue;
      for (const { key } of applying) {
        const pods = podsByPolicy.get(key) ?? new Map<string, string[]>();
        podsByPolicy.set(key, pods);
        const principal = formatPrincipal(identity);
        pods.set(principal, [...(pods.get(principal) ?? []), `${pod.record.namespace}/${pod.record.name}`]);
      }
    }
  }
  return new Map([...podsByPolicy].map(([key, pods]) => [key, describe(pods)]));
}

function describe(podsByPrincipal: ReadonlyMap<string, readonly string[]>): string {
  return [...podsByPrincipal]
    .map(
      ([principal, pods]) =>
        `no ALLOW policy of ${listNames(pods)} admits its waypoint, so everything that passes the waypoint is refused: add principal ${principal}`,
    )
    .join("; ");
}

function waypointsBefore(pod: CoveredPod, model: AmbientModel): ReadonlySet<WaypointRecord> {
  const keys = model.membership.ofPod.get(`${pod.record.namespace}/${pod.record.name}`)?.keys() ?? [];
  const bindings = [pod.binding, ...[...keys].map((key) => model.serviceBindings.get(key))];
  return new Set(bindings.flatMap((binding) => boundWaypoint(binding) ?? []));
}

/** Whether some connection of that identity could match: addresses and ports are taken as matching. */
function mayAdmit({ message }: ConvertedPolicy, identity: Identity): boolean {
  return (message?.rules ?? []).some((rule) =>
    rule.clauses.every(
      (clause) => clause.matches.length === 0 || clause.matches.some((match) => mayMatch(match, identity)),
    ),
  );
}

function mayMatch(match: istioSecurity.Match, identity: Identity): boolean {
  const account = (held: istioSecurity.ServiceAccountMatch): boolean =>
    held.namespace === identity.namespace && held.serviceAccount === identity.serviceAccount;
  const principal = (held: istioSecurity.StringMatch): boolean => matchString(held, formatPrincipal(identity));
  const namespace = (held: istioSecurity.StringMatch): boolean => matchString(held, identity.namespace);
  const any = <T>(values: readonly T[], test: (value: T) => boolean): boolean =>
    values.length === 0 || values.some(test);
  return (
    any(match.principals, principal) &&
    any(match.namespaces, namespace) &&
    any(match.serviceAccounts, account) &&
    !match.notPrincipals.some(principal) &&
    !match.notNamespaces.some(namespace) &&
    !match.notServiceAccounts.some(account)
  );
}

function matchString({ matchType }: istioSecurity.StringMatch, text: string): boolean {
  switch (matchType.case) {
    case "exact":
      return text === matchType.value;
    case "prefix":
      return text.startsWith(matchType.value);
    case "suffix":
      return text.endsWith(matchType.value);
    case "presence":
      return text !== "";
    case undefined:
      return false;
  }
  return matchType satisfies never;
}
