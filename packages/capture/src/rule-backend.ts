import type { HostProbeOptions, ProbedPod } from "./host-probe-rules.ts";
import type { RedirectionOptions } from "./rules.ts";

/** A way to program a kernel's netfilter. All reject with `CAPTURE_RULES_FAILED`. A namespace is a path as `/run/netns/name`; undefined is that of this process. */
export interface RuleBackend {
  readonly kind: "nft" | "iptables";
  /** Captures a pod: makes its rules and routes. The same again changes nothing, other options replace the former ones. */
  apply(netnsPath: string, options: RedirectionOptions): Promise<void>;
  /** Ends it. Harmless when there is nothing. */
  remove(netnsPath: string): Promise<void>;
  /** What `apply` has made, as the kernel shows it; the same text for the same rules, without counters. */
  read(netnsPath: string): Promise<string>;
  /** New connections go their own way; open ones stay redirected. */
  spareNewConnections(netnsPath: string): Promise<void>;
  /** Lets the node's own processes reach these pods, and no others, as probes do. */
  applyHostProbeRules(
    netnsPath: string | undefined,
    options: HostProbeOptions,
    pods: readonly ProbedPod[],
  ): Promise<void>;
  removeHostProbeRules(netnsPath: string | undefined): Promise<void>;
}
