// Keeps kube-proxy's rules and cluster DNS of every node in step with the store.

import { openNetns } from "@hairpin/native";
import { errorMessage } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import { type AddressRanges, clusterDnsIp, familyOf } from "../fabric/address-plan.ts";
import { type DnsRecords, planDnsRecords } from "../fabric/dns-records.ts";
import { DnsServer } from "../fabric/dns-server.ts";
import type { Fabric, FabricNode } from "../fabric/fabric.ts";
import { planServiceRules } from "../fabric/plan-service-rules.ts";
import { runCommand } from "../fabric/run-command.ts";
import { type ServicePortRule, serviceRules } from "../fabric/service-rules.ts";
import type { ObjectStore } from "../store/object-store.ts";

/** Changes within this time go into one transaction. */
const settleMs = 5;
/** Wait before rules that could not be loaded are tried again. */
const retryMs = 1000;

export interface NodeServicesOptions {
  readonly ranges: readonly AddressRanges[];
  readonly clusterDomain: string;
}

export class NodeServices {
  readonly #store: ObjectStore;
  readonly #fabric: Fabric;
  readonly #options: NodeServicesOptions;
  readonly #logger: Logger;
  readonly #loaded = new Map<string, string>();
  #records: DnsRecords = new Map();
  #isScheduled = false;
  #busy = false;

  constructor(store: ObjectStore, fabric: Fabric, options: NodeServicesOptions, logger: Logger) {
    this.#store = store;
    this.#fabric = fabric;
    this.#options = options;
    this.#logger = logger;
  }

  async start(): Promise<void> {
    this.#store.onChange(({ object }) => {
      if (object.kind === "Service" || object.kind === "EndpointSlice") this.#schedule(settleMs);
    });
    for (const node of this.#fabric.nodes)
      for (const { gatewayIp } of node.addresses)
        await new DnsServer({
          netns: openNetns(node.netnsPath),
          ip: gatewayIp,
          records: () => this.#records,
        }).start();
    await this.#synchronize();
  }

  #schedule(delayMs: number): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setTimeout(() => {
      this.#isScheduled = false;
      void this.#synchronize();
    }, delayMs);
  }

  async #synchronize(): Promise<void> {
    if (this.#busy) return this.#schedule(settleMs);
    this.#busy = true;
    try {
      this.#records = planDnsRecords(this.#store, this.#options.clusterDomain);
      const rules = planServiceRules(this.#store);
      await Promise.all(this.#fabric.nodes.map(async (node) => await this.#load(node, rules)));
    } catch (error) {
      this.#logger.error("Service rules cannot be loaded", { error: errorMessage(error) });
      this.#schedule(retryMs);
    } finally {
      this.#busy = false;
    }
  }

  async #load(node: FabricNode, rules: readonly ServicePortRule[]): Promise<void> {
    const serviceRanges = this.#options.ranges.map(({ services }) => services);
    const text = serviceRules({ rules: [...this.#dnsRules(node), ...rules], serviceRanges });
    if (this.#loaded.get(node.name) === text) return;
    await runCommand(["nsenter", `--net=${node.netnsPath}`, "nft", "-f", "-"], { input: text });
    this.#loaded.set(node.name, text);
  }

  /** Every node answers for cluster DNS itself. */
  #dnsRules(node: FabricNode): readonly ServicePortRule[] {
    return this.#options.ranges.flatMap((ranges) => {
      const vip = clusterDnsIp(ranges);
      const own = node.addresses.find(({ family }) => family === familyOf(vip));
      if (own === undefined) return [];
      const backends = [{ ip: own.gatewayIp, port: 53 }];
      return (["udp", "tcp"] as const).map((protocol): ServicePortRule => ({ vip, protocol, port: 53, backends }));
    });
  }
}
