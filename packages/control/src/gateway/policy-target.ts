// What the targetRefs of AuthorizationPolicies point at.

import type { AmbientModel } from "../ambient/ambient-model.ts";
import { type Problem, buildEach } from "../ambient/build-each.ts";
import type { MeshConfig } from "../ambient/mesh-config.ts";
import { waypointClassName } from "../ambient/waypoint/waypoint-record.ts";
import type { AuthorizationPolicyObject, PolicyTargetReference } from "../collection/kubernetes-object.ts";
import { type PolicyInit, buildWaypointPolicy, refusingPolicy } from "./waypoint-policy.ts";

export type TargetOutcome =
  | { readonly kind: "service"; readonly keys: readonly string[]; readonly name: string }
  | { readonly kind: "gateway"; readonly key: string }
  | { readonly kind: "class" }
  | { readonly kind: "failed"; readonly reason: "TargetNotFound" | "Invalid"; readonly message: string };

export interface TargetedPolicy {
  readonly policy: AuthorizationPolicyObject;
  readonly init: PolicyInit;
  readonly outcomes: readonly TargetOutcome[];
}

/** Targeted policies and where each applies, ordered by `namespace/name`. */
export interface PolicyTargets {
  readonly policies: readonly TargetedPolicy[];
  ofService(serviceKey: string): readonly PolicyInit[];
  /** Those on the Gateway itself and on its class. */
  ofGateway(gatewayKey: string): readonly PolicyInit[];
}

export function resolvePolicyTargets(model: AmbientModel, config: MeshConfig, problems: Problem[]): PolicyTargets {
  const byService = new Map<string, PolicyInit[]>();
  const byGateway = new Map<string, PolicyInit[]>();
  const ofClass: PolicyInit[] = [];
  const policies = model.targetedPolicies.map((policy) => {
    const [built] = buildEach([policy], problems, buildWaypointPolicy);
    const init = built ?? refusingPolicy(policy);
    const { targetRef, targetRefs = [] } = policy.spec ?? {};
    const references = targetRef === undefined ? targetRefs : [targetRef, ...targetRefs];
    const outcomes = references.map((reference) => resolveTarget(reference, policy, model, config));
    for (const outcome of outcomes) {
      if (outcome.kind === "service") for (const key of outcome.keys) append(byService, key, init);
      else if (outcome.kind === "gateway") append(byGateway, outcome.key, init);
      else if (outcome.kind === "class") ofClass.push(init);
    }
    return { policy, init, outcomes };
  });
  return {
    policies,
    ofService: (key) => byService.get(key) ?? [],
    ofGateway: (key) => [...ofClass, ...(byGateway.get(key) ?? [])],
  };
}

/** A target is in the policy's own namespace; a class can be targeted only from the root namespace. */
function resolveTarget(
  reference: PolicyTargetReference,
  policy: AuthorizationPolicyObject,
  model: AmbientModel,
  config: MeshConfig,
): TargetOutcome {
  const { group = "", kind, name } = reference;
  const namespace = policy.metadata.namespace ?? "";
  const fail = (reason: "TargetNotFound" | "Invalid", message: string): TargetOutcome => ({
    kind: "failed",
    reason,
    message,
  });
  if (reference.namespace !== undefined && reference.namespace !== namespace)
    return fail("Invalid", `a target in another namespace (${reference.namespace}) is not allowed`);
  if ((group === "" || group === "core") && kind === "Service") {
    const key = `${namespace}/${name}.${namespace}.svc.${config.clusterDomain}`;
    if (model.services.get(key)?.source.kind !== "Service")
      return fail("TargetNotFound", `Service ${namespace}/${name} does not exist`);
    return { kind: "service", keys: [key], name: `Service ${namespace}/${name}` };
  }
  if (group === "networking.istio.io" && kind === "ServiceEntry") {
    const keys = [...model.services.values()]
      .filter(({ source, ...service }) => source.kind === "ServiceEntry" && service.name === name)
      .filter((service) => service.namespace === namespace)
      .map((service) => service.key);
    if (keys.length === 0) return fail("TargetNotFound", `ServiceEntry ${namespace}/${name} does not exist`);
    return { kind: "service", keys, name: `ServiceEntry ${namespace}/${name}` };
  }
  if (group === "gateway.networking.k8s.io" && kind === "Gateway") {
    const waypoint = model.waypoints.get(`${namespace}/${name}`);
    if (waypoint === undefined) return fail("TargetNotFound", `Gateway ${namespace}/${name} does not exist`);
    if (!waypoint.owned) return fail("Invalid", `Gateway ${namespace}/${name} is not of class ${waypointClassName}`);
    return { kind: "gateway", key: waypoint.key };
  }
  if (group === "gateway.networking.k8s.io" && kind === "GatewayClass") {
    if (namespace !== config.rootNamespace)
      return fail("Invalid", `a GatewayClass can be targeted only from namespace ${config.rootNamespace}`);
    if (name !== waypointClassName) return fail("Invalid", `GatewayClass ${name} is not ${waypointClassName}`);
    return { kind: "class" };
  }
  return fail("Invalid", `${group === "" ? "" : `${group}/`}${kind} cannot be targeted`);
}

function append(map: Map<string, PolicyInit[]>, key: string, init: PolicyInit): void {
  const held = map.get(key);
  if (held === undefined) map.set(key, [init]);
  else if (!held.includes(init)) held.push(init);
}
