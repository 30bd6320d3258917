import { istioSecurity } from "@hairpin/shared/api";
import { type Identity, formatPrincipal } from "@hairpin/shared/model";
import type { AmbientModel } from "../ambient/ambient-model.ts";
import type { CoveredPod } from "../ambient/covered-pod.ts";
import type { NamespaceModel } from "../ambient/namespace-model.ts";
import type { ConvertedPolicy } from "../ambient/policy/authorization-policy.ts";
import { boundWaypoint } from "../ambient/waypoint/binding.ts";
import type { WaypointRecord } from "../ambient/waypoint/waypoint-record.ts";
import { Memo } from "../collection/memo.ts";
import { type Sliced, stopEvery } from "../collection/sliced.ts";
import { listNames } from "./status-update.ts";

/** A policy that keeps out the waypoint before a pod. */
interface ShutOut {
  readonly policyKey: string;
  /** To be added to the policy. */
  readonly principal: string;
  /** `namespace/name` */
  readonly pod: string;
}

/**
 * Behind a waypoint the destination sees the waypoint's identity, so L4 ALLOW policies that admit only the callers refuse
 * everything. Finds where no ALLOW policy of a pod admits its waypoint, and remembers what it found of each namespace and pod.
 */
export class ShutOutWaypointFinder {
  readonly #ofNamespace = new Memo<NamespaceModel, readonly ShutOut[]>();
  readonly #ofPod = new Memo<CoveredPod, readonly ShutOut[]>();

  /** By policy key a sentence that names the principals to add. */
  *find(model: AmbientModel): Sliced<ReadonlyMap<string, string>> {
    const everywhere = model.policies.filter((policy) => isAllow(policy) && policy.selector === undefined);
    const global = everywhere.filter(({ message }) => message?.scope === istioSecurity.Scope.GLOBAL);
    const ofNamespaces = Map.groupBy(
      everywhere.filter(({ message }) => message?.scope === istioSecurity.Scope.NAMESPACE),
      ({ message }) => message?.namespace ?? "",
    );
    const found: ShutOut[] = [];
    for (const namespace of model.namespaces.values()) {
      const unselective = [...global, ...(ofNamespaces.get(namespace.name) ?? [])];
      const held =
        this.#ofNamespace.find(namespace, unselective) ??
        this.#ofNamespace.keep(namespace, unselective, yield* this.#findIn(namespace, unselective, model));
      found.push(...held.value);
    }
    return describeAll(found);
  }

  *#findIn(
    { pods }: NamespaceModel,
    unselective: readonly ConvertedPolicy[],
    model: AmbientModel,
  ): Sliced<readonly ShutOut[]> {
    const found: ShutOut[] = [];
    for (const [at, pod] of pods.entries()) {
      if (at % stopEvery === 0) yield;
      found.push(...this.#ofPod.get(pod, unselective, () => findOfPod(pod, unselective, model)));
    }
    return found;
  }
}

function isAllow({ message }: ConvertedPolicy): boolean {
  return message?.action === istioSecurity.Action.ALLOW && !message.dryRun;
}

function findOfPod(pod: CoveredPod, unselective: readonly ConvertedPolicy[], model: AmbientModel): ShutOut[] {
  const applying = [...unselective, ...pod.policies.filter(isAllow)];
  if (applying.length === 0) return [];
  const name = `${pod.record.namespace}/${pod.record.name}`;
  return [...waypointsBefore(pod, model)].flatMap(({ identities: [identity] }) => {
    if (identity === undefined || applying.some((policy) => mayAdmit(policy, identity))) return [];
    return applying.map(({ key }) => ({ policyKey: key, principal: formatPrincipal(identity), pod: name }));
  });
}

function describeAll(found: readonly ShutOut[]): ReadonlyMap<string, string> {
  const byPolicy = Map.groupBy(found, ({ policyKey }) => policyKey);
  return new Map(
    [...byPolicy].map(([key, group]) => {
      const byPrincipal = [...Map.groupBy(group, ({ principal }) => principal)];
      return [key, describe(new Map(byPrincipal.map(([principal, held]) => [principal, held.map(({ pod }) => pod)])))];
    }),
  );
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
  const bindings = [pod.binding, ...[...pod.services.keys()].map((key) => model.serviceBindings.get(key))];
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
