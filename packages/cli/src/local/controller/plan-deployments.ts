// Deployment → ReplicaSet → Pods. A new template gets a new ReplicaSet; pods of the old one go as new ones become ready.

import { createHash } from "node:crypto";
import { deploymentKind, podKind, replicaSetKind } from "../object/kinds.ts";
import {
  type Deployment,
  hasTrueCondition,
  type KubernetesObject,
  type OwnerReference,
  type Pod,
  type PodTemplate,
  type ReplicaSet,
} from "../object/kubernetes-object.ts";
import type { StoreView } from "../store/object-store.ts";
import { create, type Planner, remove, type StoreChange, update } from "./planner.ts";

const templateHashLabel = "pod-template-hash";

export const planDeployments: Planner = (view) =>
  view.list(deploymentKind).flatMap((deployment) => planOne(deployment, view));

function planOne(deployment: Deployment, view: StoreView): readonly StoreChange[] {
  const { spec, metadata } = deployment;
  if (spec === undefined) return [];
  const hash = nameHash(JSON.stringify(spec.template), 10);
  const name = `${metadata.name}-${hash}`;
  const owned = view.list(replicaSetKind, metadata.namespace).filter((set) => isOwnedBy(set, deployment));
  const current = owned.find((set) => set.metadata.name === name);
  const replicas = spec.replicas ?? 1;
  const changes: StoreChange[] = [];
  const newPods = current === undefined ? [] : podsOf(current, view);
  const oldSets = owned.filter((set) => set !== current);
  const oldPods = oldSets.flatMap((set) => podsOf(set, view));
  const mayStart = spec.strategy?.type !== "Recreate" || oldPods.length === 0;
  if (current === undefined) changes.push(create(replicaSetOf(deployment, name, hash, mayStart ? replicas : 0)));
  else changes.push(update(scaled(current, mayStart ? replicas : 0)));
  const ready = newPods.filter((pod) => isReady(pod)).length;
  changes.push(...planOldSets(oldSets, view, { replicas, ready, recreate: spec.strategy?.type === "Recreate" }));
  changes.push(update(withStatus(deployment, [...newPods, ...oldPods], newPods)));
  return changes;
}

/** Old pods go one for one as new ones are ready; a set without pods goes too. */
function planOldSets(
  sets: readonly ReplicaSet[],
  view: StoreView,
  { replicas, ready, recreate }: { replicas: number; ready: number; recreate: boolean },
): readonly StoreChange[] {
  let kept = recreate ? 0 : Math.max(0, replicas - ready);
  return sets.flatMap((set) => {
    const pods = podsOf(set, view);
    if (pods.length === 0) return [remove(set)];
    const wanted = Math.min(pods.length, kept, set.spec?.replicas ?? 0);
    kept -= wanted;
    return [update(scaled(set, wanted))];
  });
}

/** Each ReplicaSet has as many pods as it says: unready ones go first. */
export const planReplicaSets: Planner = (view) =>
  view.list(replicaSetKind).flatMap((set) => {
    const pods = podsOf(set, view);
    const alive = pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined);
    const wanted = set.spec?.replicas ?? 1;
    const surplus = [...alive]
      .sort((a, b) => Number(isReady(a)) - Number(isReady(b)))
      .slice(0, Math.max(0, alive.length - wanted));
    const missing = Math.max(0, wanted - alive.length);
    const taken = new Set(pods.map(({ metadata }) => metadata.name));
    const status = { replicas: pods.length, readyReplicas: alive.filter((pod) => isReady(pod)).length };
    return [
      ...surplus.map((pod) => remove(pod)),
      ...Array.from({ length: missing }, () => create(podOf(set, taken))),
      update({ ...set, status }),
    ];
  });

/** Has a pod all its containers ready, and is it not being deleted? */
export function isReady(pod: Pod): boolean {
  return pod.metadata.deletionTimestamp === undefined && hasTrueCondition(pod.status?.conditions, "Ready");
}

/** The owner reference by which a controller claims an object. */
export function controllerReference(owner: KubernetesObject): OwnerReference {
  const { apiVersion, kind, metadata } = owner;
  return { apiVersion, kind, name: metadata.name, uid: metadata.uid ?? "", controller: true };
}

export function isOwnedBy(object: KubernetesObject, owner: KubernetesObject): boolean {
  return object.metadata.ownerReferences?.some(({ uid }) => uid === owner.metadata.uid) ?? false;
}

/** A pod from a template, with the name `<owner>-<five letters>`. */
export function podFromTemplate(
  owner: KubernetesObject & { readonly spec?: { readonly template: PodTemplate } },
  name: string,
): Pod {
  const template = owner.spec?.template;
  const { namespace } = owner.metadata;
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name,
      generateName: `${owner.metadata.name}-`,
      ...(namespace === undefined ? {} : { namespace }),
      ...(template?.metadata?.labels === undefined ? {} : { labels: template.metadata.labels }),
      ...(template?.metadata?.annotations === undefined ? {} : { annotations: template.metadata.annotations }),
      ownerReferences: [controllerReference(owner)],
    },
    ...(template?.spec === undefined ? {} : { spec: template.spec }),
  };
}

function scaled(set: ReplicaSet, replicas: number): ReplicaSet {
  return set.spec === undefined ? set : { ...set, spec: { ...set.spec, replicas } };
}

function podsOf(set: ReplicaSet, view: StoreView): readonly Pod[] {
  return view.list(podKind, set.metadata.namespace).filter((pod) => isOwnedBy(pod, set));
}

function podOf(set: ReplicaSet, taken: Set<string>): Pod {
  for (let attempt = 0; ; attempt++) {
    const name = `${set.metadata.name}-${nameHash(`${set.metadata.uid}/${taken.size}/${attempt}/${Math.random()}`, 5)}`;
    if (taken.has(name)) continue;
    taken.add(name);
    return podFromTemplate(set, name);
  }
}

function replicaSetOf(deployment: Deployment, name: string, hash: string, replicas: number): ReplicaSet {
  const { spec, metadata } = deployment;
  const labels = { ...spec?.template.metadata?.labels, [templateHashLabel]: hash };
  return {
    apiVersion: "apps/v1",
    kind: "ReplicaSet",
    metadata: {
      name,
      ...(metadata.namespace === undefined ? {} : { namespace: metadata.namespace }),
      labels,
      ownerReferences: [controllerReference(deployment)],
    },
    spec: {
      replicas,
      selector: { ...spec?.selector, matchLabels: { ...spec?.selector?.matchLabels, [templateHashLabel]: hash } },
      template: { ...spec?.template, metadata: { ...spec?.template.metadata, labels } },
    },
  };
}

function withStatus(deployment: Deployment, all: readonly Pod[], updated: readonly Pod[]): Deployment {
  const readyReplicas = all.filter((pod) => isReady(pod)).length;
  const wanted = deployment.spec?.replicas ?? 1;
  const available = readyReplicas >= wanted;
  return {
    ...deployment,
    status: {
      ...deployment.status,
      observedGeneration: deployment.metadata.generation ?? 1,
      replicas: all.length,
      updatedReplicas: updated.length,
      readyReplicas,
      availableReplicas: readyReplicas,
      conditions: [
        {
          type: "Available",
          status: available ? "True" : "False",
          reason: available ? "MinimumReplicasAvailable" : "MinimumReplicasUnavailable",
        },
      ],
    },
  };
}

/** Letters that Kubernetes uses in generated names: no vowels, so no words. */
const nameLetters = "bcdfghjklmnpqrstvwxz2456789";

function nameHash(text: string, length: number): string {
  const digest = createHash("sha256").update(text).digest();
  return Array.from({ length }, (_, index) => nameLetters[(digest[index] ?? 0) % nameLetters.length]).join("");
}
