// The status of a pod, from what the kubelet knows. Pure.

import type { Condition, Pod, PodStatus } from "../object/kubernetes-object.ts";
import { formatTime } from "../store/object-store.ts";
import type { ContainerSlot } from "./container-slot.ts";

export interface PodFacts {
  readonly pod: Pod;
  readonly podIps: readonly string[];
  readonly hostIp: string;
  readonly startTime: Date;
  readonly initialized: boolean;
  readonly stopping: boolean;
  /** Why the pod does not come up, if it does not. */
  readonly problem: string | undefined;
  readonly initSlots: readonly ContainerSlot[];
  readonly slots: readonly ContainerSlot[];
}

export function planPodStatus(facts: PodFacts): PodStatus {
  const { podIps, slots, initSlots } = facts;
  const containersReady = facts.initialized && slots.every((slot) => slot.ready) && !facts.stopping;
  const condition = (type: string, isTrue: boolean): Condition => ({ type, status: isTrue ? "True" : "False" });
  return {
    phase: phaseOf(facts),
    ...(podIps[0] === undefined ? {} : { podIP: podIps[0], podIPs: podIps.map((ip) => ({ ip })) }),
    hostIP: facts.hostIp,
    startTime: formatTime(facts.startTime),
    ...(facts.problem === undefined ? {} : { message: facts.problem }),
    conditions: [
      condition("PodScheduled", true),
      condition("Initialized", facts.initialized),
      condition("ContainersReady", containersReady),
      condition("Ready", containersReady),
    ],
    containerStatuses: slots.map((slot) => slot.status()),
    ...(initSlots.length === 0 ? {} : { initContainerStatuses: initSlots.map((slot) => slot.status()) }),
  };
}

function phaseOf({ initialized, slots, initSlots, pod }: PodFacts): string {
  if (!initialized)
    return pod.spec?.restartPolicy === "Never" && initSlots.some((slot) => (slot.finishedWith ?? 0) !== 0)
      ? "Failed"
      : "Pending";
  const codes = slots.map((slot) => slot.finishedWith);
  const hasEnded = codes.every((code) => code !== undefined);
  const policy = pod.spec?.restartPolicy ?? "Always";
  if (hasEnded && policy !== "Always") {
    if (codes.every((code) => code === 0)) return "Succeeded";
    if (policy === "Never") return "Failed";
  }
  return slots.some((slot) => slot.process !== undefined || slot.restartCount > 0 || slot.finishedWith !== undefined)
    ? "Running"
    : "Pending";
}
