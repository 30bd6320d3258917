// Finds the pods that ran before this agent, and takes them over from the agent before.
import { errorMessage } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { ZdsServer } from "../zds-server.ts";
import { findNetns } from "./find-netns.ts";
import type { NodeCapture } from "./capture-actions.ts";
import type { HostProc } from "./host-proc.ts";
import type { NodeObjects } from "./node-objects.ts";
import type { NodePod } from "./node-pod.ts";
import { type PodCapture, Redirection, redirectionAnnotation } from "./pod-capture.ts";
import { podNetworkOf } from "./pod-network.ts";

export interface AdoptPodsComponents {
  readonly objects: NodeObjects;
  readonly capture: PodCapture;
  readonly node: NodeCapture;
  readonly zds: ZdsServer;
  readonly host: HostProc;
  readonly logger: Logger;
}

/**
 * Takes up all running pods of the node that nobody has told of yet, those first that are captured or to be: `hold` puts these
 * into the snapshot of the ztunnels to come, so that none of them lets a pod go that it serves. Resolves when /proc was read.
 */
export async function adoptPods(
  { objects, capture, node, zds, host, logger }: AdoptPodsComponents,
  { hold }: { readonly hold: boolean },
): Promise<void> {
  const candidates = objects.list().filter((pod) => mayHaveNetwork(pod) && !capture.isTracked(pod.uid));
  for (const [uid, netns] of await findNetns(host, candidates)) {
    const pod = objects.find({ uid });
    // Gone, or told of by the CNI plugin meanwhile.
    if (pod === undefined || capture.isTracked(uid)) {
      netns.close();
      continue;
    }
    const network = podNetworkOf(netns, pod.ips);
    const wasCaptured = pod.annotations[redirectionAnnotation] === Redirection.enabled;
    try {
      if (hold && (wasCaptured || objects.isWanted(pod))) zds.hold({ ...pod, netnsPath: network.netnsPath });
      // An agent that ended while it let the pod go.
      else if (hold) await node.clean(network);
    } catch (error) {
      logger.warn("a running pod was not taken up", {
        pod: `${pod.namespace}/${pod.name}`,
        error: errorMessage(error),
      });
    }
    capture.adopt(pod, network, hold && wasCaptured);
  }
}

function mayHaveNetwork(pod: NodePod): boolean {
  return !pod.hostNetwork && !pod.isFinished && pod.ips.length > 0;
}
