import type { istioWorkload } from "@hairpin/shared/api";
import type { Node } from "../collection/kubernetes-object.ts";
import type { Memo } from "../collection/memo.ts";
import { type Claim, type ServicePorts, podPorts } from "./endpoint-membership.ts";
import type { MeshConfig } from "./mesh-config.ts";
import type { PodRecord } from "./pod.ts";
import type { ConvertedPolicy } from "./policy/authorization-policy.ts";
import type { Binding } from "./waypoint/binding.ts";
import { type EnforcementPlan, planEnforcement } from "./waypoint/enforcement.ts";
import type { WaypointRecord } from "./waypoint/waypoint-record.ts";
import { buildPodMessage } from "./workload-message.ts";

/** A pod with everything that was decided about it. The same object while nothing of that changes. */
export interface CoveredPod {
  readonly record: PodRecord;
  readonly services: ServicePorts;
  readonly binding: Binding;
  readonly enforcement: EnforcementPlan;
  /** L4 policies that select it. */
  readonly policies: readonly ConvertedPolicy[];
  readonly message: istioWorkload.Workload;
}

/** What a pod's place in the mesh depends on, besides itself. */
export interface PodContext {
  readonly config: MeshConfig;
  readonly node: Node | undefined;
  readonly claims: readonly Claim[];
  readonly binding: Binding;
  /** Of the services that it serves. */
  readonly serviceBindings: readonly Binding[];
  readonly permissive: boolean;
  /** L4 policies that select it. */
  readonly policies: readonly ConvertedPolicy[];
  /** Keys of the policies that PeerAuthentications put on it. */
  readonly peerPolicyKeys: readonly string[];
  /** The Gateway that it is a replica of. */
  readonly replicaOf: WaypointRecord | undefined;
}

/** Takes 1 µs when nothing changed, some 30 µs otherwise: thousands of pods are asked for after every change. */
export function coverPod(record: PodRecord, context: PodContext, memo: Memo<PodRecord, CoveredPod>): CoveredPod {
  const { node, claims, binding, serviceBindings, permissive, policies, peerPolicyKeys, replicaOf } = context;
  const inputs = [node, binding, permissive, replicaOf, ...claims, ...serviceBindings, ...policies, ...peerPolicyKeys];
  return memo.get(record, inputs, () => buildCoveredPod(record, context));
}

function buildCoveredPod(record: PodRecord, context: PodContext): CoveredPod {
  const { config, node, binding, serviceBindings, permissive, policies, replicaOf } = context;
  const services = podPorts(context.claims, record.pod);
  const enforcement = planEnforcement({ binding, serviceBindings, captured: record.captured, permissive });
  const policyKeys = [...policies.map(({ key }) => key), ...context.peerPolicyKeys];
  const message = buildPodMessage(record, {
    config,
    node,
    services,
    policies: policyKeys,
    binding,
    enforcement,
    permissive,
    replicaOf,
  });
  return { record, services, binding, enforcement, policies, message };
}
