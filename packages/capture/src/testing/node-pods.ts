/** Pods for tests of this package. */
import type { NodePod } from "../node/node-pod.ts";

export function nodePod(name: string, given: Partial<NodePod> = {}): NodePod {
  return {
    uid: `uid-${name}`,
    namespace: "shop",
    name,
    serviceAccount: "default",
    labels: {},
    annotations: {},
    hostNetwork: false,
    ips: ["10.0.0.1"],
    isFinished: false,
    isEnding: false,
    ...given,
  };
}
