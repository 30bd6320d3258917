// What a mesh still waits for before it is up. Pure.

import { hasTrueCondition, type KubernetesObject, type Pod } from "./object/kubernetes-object.ts";

/** One line for each thing that is not ready yet; empty when everything is. */
export function findPending(objects: readonly KubernetesObject[]): readonly string[] {
  return objects.flatMap((object) => {
    switch (object.kind) {
      case "Pod":
        return pendingPod(object as Pod);
      case "Deployment":
        return pendingDeployment(object);
      case "Gateway":
        return pendingGateway(object);
      default:
        return [];
    }
  });
}

function pendingPod(pod: Pod): readonly string[] {
  const { name, namespace, deletionTimestamp } = pod.metadata;
  const status = pod.status;
  if (deletionTimestamp !== undefined) return [`pod ${namespace}/${name}: is ending`];
  if (status?.phase === "Succeeded") return [];
  if (hasTrueCondition(status?.conditions, "Ready")) return [];
  const containers = [...(status?.initContainerStatuses ?? []), ...(status?.containerStatuses ?? [])];
  const waiting = containers.find(({ ready, state }) => !ready && state.terminated?.exitCode !== 0);
  const state = waiting?.state;
  const why =
    status?.message ??
    state?.waiting?.message ??
    state?.waiting?.reason ??
    (state?.terminated === undefined ? undefined : `ended with ${state.terminated.exitCode}`) ??
    (state?.running === undefined ? "not started" : "runs, but its readiness probe has not passed");
  const restarts = waiting?.restartCount ?? 0;
  return [`pod ${namespace}/${name}: ${why}${restarts === 0 ? "" : ` (started again ${restarts} times)`}`];
}

function pendingDeployment(object: KubernetesObject): readonly string[] {
  const { spec, status } = object as {
    spec?: { replicas?: number };
    status?: { updatedReplicas?: number; readyReplicas?: number };
  };
  const wanted = spec?.replicas ?? 1;
  const ready = Math.min(status?.readyReplicas ?? 0, status?.updatedReplicas ?? 0);
  const { namespace, name } = object.metadata;
  return ready >= wanted ? [] : [`deployment ${namespace}/${name}: ${ready} of ${wanted} replicas are ready`];
}

function pendingGateway(object: KubernetesObject): readonly string[] {
  const { spec, status } = object as {
    spec?: { gatewayClassName?: string };
    status?: { conditions?: readonly { type: string; status: string; message?: string }[] };
  };
  if (spec?.gatewayClassName !== "istio-waypoint" || hasTrueCondition(status?.conditions, "Programmed")) return [];
  const { namespace, name } = object.metadata;
  const message = status?.conditions?.find(({ type }) => type === "Programmed")?.message ?? "not programmed yet";
  return [`gateway ${namespace}/${name}: ${message}`];
}

/** Pods that keep failing: the first one's name explains a start that took too long. */
export function findFailing(objects: readonly KubernetesObject[]): Pod | undefined {
  return (objects as readonly Pod[]).find(
    (object) => object.kind === "Pod" && !hasTrueCondition(object.status?.conditions, "Ready"),
  );
}
