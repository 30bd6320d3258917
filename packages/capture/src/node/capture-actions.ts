// What capture does to a node: rules in pods and in the node's own namespace, ZDS.

import { netnsHasIpv6, openNetns } from "@hairpin/native";
import { redirectionChoices } from "../redirection-choices.ts";
import type { RuleBackend } from "../rule-backend.ts";
import type { ProbeAddresses, RedirectionOptions } from "../rules.ts";
import type { ZdsServer } from "../zds-server.ts";
import type { NodePod } from "./node-pod.ts";
import type { CaptureActions } from "./pod-capture.ts";
import type { PodNetwork } from "./pod-network.ts";

export interface NodeCaptureComponents {
  readonly zds: ZdsServer;
  readonly rules: RuleBackend;
}

export interface NodeCaptureOptions {
  /** The node's own namespace, where its probes come from. */
  readonly hostNetnsPath: string;
  /** Where a pod's annotation does not say. */
  readonly dnsCapture: boolean;
  /** False: no pod gets rules for IPv6. True: those that have IPv6. */
  readonly ipv6: boolean;
  readonly probeAddresses: ProbeAddresses;
}

/** {@link CaptureActions} of one node. */
export class NodeCapture implements CaptureActions {
  readonly #zds: ZdsServer;
  readonly #rules: RuleBackend;
  readonly #options: NodeCaptureOptions;
  /** Pods whose probes come from the probe address. */
  readonly #probed = new Map<string, readonly string[]>();
  /** The write of the node's rules that has not begun, if any; it takes all changes made until then. */
  #nextWrite: Promise<void> | undefined;
  #lastWrite: Promise<void> = Promise.resolve();
  /** What the kernel shows after rules were applied, by their options. */
  readonly #shown = new Map<string, string>();

  constructor({ zds, rules }: NodeCaptureComponents, options: NodeCaptureOptions) {
    this.#zds = zds;
    this.#rules = rules;
    this.#options = options;
  }

  async handOver(pod: NodePod, network: PodNetwork): Promise<void> {
    await this.#zds.add({ ...pod, netnsPath: network.netnsPath });
  }

  async takeBack(pod: NodePod): Promise<void> {
    await this.#zds.remove(pod.uid);
    this.#probed.delete(pod.uid);
    await this.writeHostRules();
  }

  async redirect(pod: NodePod, network: PodNetwork): Promise<void> {
    // An address may be that of a pod that has just gone, and of whose end nobody has told.
    for (const [uid, ips] of this.#probed) if (ips.some((ip) => network.ips.includes(ip))) this.#probed.delete(uid);
    this.#probed.set(pod.uid, network.ips);
    await this.writeHostRules();
    await this.#rules.apply(network.netnsPath, this.#optionsOf(pod, network));
  }

  async repair(pod: NodePod, network: PodNetwork): Promise<boolean> {
    this.#probed.set(pod.uid, network.ips);
    const options = this.#optionsOf(pod, network);
    const key = JSON.stringify(options);
    const before = await this.#rules.read(network.netnsPath);
    if (before === this.#shown.get(key)) return false;
    await this.#rules.apply(network.netnsPath, options);
    const after = await this.#rules.read(network.netnsPath);
    this.#shown.set(key, after);
    return before !== after;
  }

  async spareNewConnections(network: PodNetwork): Promise<void> {
    await this.#rules.spareNewConnections(network.netnsPath);
  }

  async stopRedirecting(network: PodNetwork): Promise<void> {
    await this.#rules.remove(network.netnsPath);
  }

  /** Takes away rules of a pod that is not captured, if it has any. */
  async clean(network: PodNetwork): Promise<void> {
    if ((await this.#rules.read(network.netnsPath)) !== "") await this.#rules.remove(network.netnsPath);
  }

  /** Makes the node's own rules what they should be, whatever became of them. Resolves when all changes so far are in. */
  async writeHostRules(): Promise<void> {
    this.#nextWrite ??= this.#lastWrite
      .catch(() => {})
      .then(async () => {
        this.#nextWrite = undefined;
        const pods = [...this.#probed].map(([uid, ips]) => ({ uid, ips }));
        const { hostNetnsPath, probeAddresses } = this.#options;
        await this.#rules.applyHostProbeRules(hostNetnsPath, { probeAddresses }, pods);
      });
    this.#lastWrite = this.#nextWrite;
    await this.#nextWrite;
  }

  /** For an agent that goes for good. */
  async removeHostRules(): Promise<void> {
    await this.#lastWrite.catch(() => {});
    await this.#rules.removeHostProbeRules(this.#options.hostNetnsPath);
  }

  #optionsOf(pod: NodePod, network: PodNetwork): RedirectionOptions {
    const netns = openNetns(network.netnsPath);
    try {
      return {
        ...redirectionChoices(pod.annotations, this.#options),
        ipv4: true,
        ipv6: this.#options.ipv6 && netnsHasIpv6(netns),
        probeAddresses: this.#options.probeAddresses,
      };
    } finally {
      netns.close();
    }
  }
}
