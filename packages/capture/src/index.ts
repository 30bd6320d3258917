export { applyRules } from "./apply-rules.ts";
export { type CaptureDecision, decideCapture, defaultExcludedNamespaces } from "./capture-rule.ts";
export { nftBackend } from "./choose-rule-backend.ts";
export { NodeCapture } from "./node/capture-actions.ts";
export { type NodePod, nodePodOf } from "./node/node-pod.ts";
export { type CapturePods, PodCapture, redirectionAnnotation } from "./node/pod-capture.ts";
export type { ProbeAddresses, RedirectionOptions } from "./rules.ts";
export { defaultProbeAddresses } from "./rules.ts";
export { type CapturedPod, ZdsServer } from "./zds-server.ts";
