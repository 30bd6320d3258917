export {
  addProbedPod,
  applyHostProbeRules,
  applyRules,
  removeHostProbeRules,
  removeProbedPod,
  removeRules,
} from "./apply-rules.ts";
export type { HostProbeOptions } from "./host-probe-rules.ts";
export type { ProbeAddresses, RedirectionOptions } from "./rules.ts";
export { defaultProbeAddresses } from "./rules.ts";
export { type CapturedPod, ZdsServer } from "./zds-server.ts";
