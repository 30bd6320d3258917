import type { ObjectMeta, Pod } from "../collection/kubernetes-object.ts";

export interface WorkloadNames {
  readonly workloadName: string;
  readonly canonicalName: string;
  readonly canonicalRevision: string;
}

/** Names for metrics and logs, by labels first. */
export function namesFromLabels(labels: ObjectMeta["labels"], workloadName: string): WorkloadNames {
  const first = (keys: readonly string[], fallback: string): string =>
    keys.map((key) => labels?.[key]).find((value) => value !== undefined && value !== "") ?? fallback;
  const name = first(["service.istio.io/workload-name"], workloadName);
  return {
    workloadName: name,
    canonicalName: first(["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"], name),
    canonicalRevision: first(["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"], "latest"),
  };
}

/** The workload that a pod belongs to, guessed from its controller as Istio does; the pod's name when it has none. */
export function podWorkloadName(pod: Pod): string {
  const { name, generateName, ownerReferences, labels } = pod.metadata;
  const controller = ownerReferences?.find((owner) => owner.controller === true);
  if (generateName === undefined || controller === undefined) return name;
  if (controller.kind === "ReplicaSet") {
    for (const hash of [labels?.["pod-template-hash"], labels?.["rollouts-pod-template-hash"]]) {
      if (hash !== undefined && controller.name.endsWith(`-${hash}`)) return controller.name.slice(0, -hash.length - 1);
    }
    return controller.name;
  }
  if (controller.kind === "ReplicationController") {
    const config = labels?.["deploymentconfig"] ?? labels?.["openshift.io/deployment-config.name"];
    return config ?? controller.name;
  }
  // A CronJob names its Jobs after the minute they run in.
  if (controller.kind === "Job") return controller.name.replace(/-[0-9]{8,10}$/, "");
  return controller.name;
}
