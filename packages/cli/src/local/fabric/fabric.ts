// The network of a local mesh: a bridge, a namespace for every node and for every pod, and the cables between them.
// Everything lives in the daemon's own network and mount namespaces and is gone with them.

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type AddressRanges, familyOf, findFreeIp, type NodeAddresses, planNodeAddresses } from "./address-plan.ts";
import {
  bridgeCommands,
  nodeCableCommands,
  nodeCommands,
  nodeSysctls,
  type PodCable,
  podCommands,
  podRouteCommands,
  podSysctls,
} from "./fabric-commands.ts";
import { runCommand } from "./run-command.ts";

export interface FabricOptions {
  /** A folder of our own, on a file system private to this mount namespace: netns names are bound here. */
  readonly netnsDirectory: string;
  readonly nodeCount: number;
  /** IPv4 first; IPv6 second where wanted. */
  readonly ranges: readonly AddressRanges[];
}

export interface FabricNode {
  readonly name: string;
  readonly netnsPath: string;
  readonly addresses: readonly NodeAddresses[];
}

export interface PodNetwork {
  readonly netnsPath: string;
  /** IPv4 first. */
  readonly ips: readonly string[];
}

export class Fabric {
  readonly nodes: readonly FabricNode[];
  readonly #options: FabricOptions;
  readonly #taken = new Set<string>();
  /** Where the next search begins, so that an address is not used again at once. */
  readonly #nextOffset = new Map<string, number>();
  readonly #pods = new Map<string, PodNetwork>();
  #deviceCount = 0;

  constructor(options: FabricOptions) {
    this.#options = options;
    this.nodes = Array.from({ length: options.nodeCount }, (_, index) => ({
      name: `node${index + 1}`,
      netnsPath: join(options.netnsDirectory, `node${index + 1}`),
      addresses: options.ranges.map((ranges) => planNodeAddresses(ranges, index + 1)),
    }));
  }

  get hasIpv6(): boolean {
    return this.#options.ranges.some((ranges) => familyOf(ranges.pods.split("/")[0] ?? "") === 6);
  }

  /** Builds the bridge and the nodes. */
  async start(): Promise<void> {
    mkdirSync(join(this.#options.netnsDirectory, "pods"), { recursive: true });
    await runCommand(["ip", "-batch", "-"], { input: batch(bridgeCommands()) });
    const serviceRanges = this.#options.ranges.map((ranges) => ranges.services);
    for (const [index, node] of this.nodes.entries()) {
      await createNetns(node.netnsPath, []);
      await runCommand(["ip", "-batch", "-"], { input: batch(nodeCableCommands(index + 1, node.netnsPath)) });
    }
    await Promise.all(
      this.nodes.map(async (node) => {
        await setSysctls(node.netnsPath, nodeSysctls(this.hasIpv6));
        const others = this.nodes.filter((other) => other !== node).map((other) => other.addresses);
        await runIn(node.netnsPath, nodeCommands(node.addresses, others, serviceRanges));
      }),
    );
  }

  findNode(name: string): FabricNode | undefined {
    return this.nodes.find((node) => node.name === name);
  }

  findPod(uid: string): PodNetwork | undefined {
    return this.#pods.get(uid);
  }

  /** Makes the pod's namespace and connects it to its node. Throws when the node has no address left. */
  async attachPod(uid: string, node: FabricNode): Promise<PodNetwork> {
    const ips = node.addresses.map((addresses) => this.#takeIp(addresses));
    const network: PodNetwork = { netnsPath: join(this.#options.netnsDirectory, "pods", uid), ips };
    this.#pods.set(uid, network);
    this.#deviceCount += 1;
    const cable: PodCable = {
      podIps: ips,
      gatewayIps: node.addresses.map(({ gatewayIp }) => gatewayIp),
      hostDevice: `pod${this.#deviceCount}`,
    };
    try {
      await createNetns(network.netnsPath, podCommands(cable, node.netnsPath));
      await Promise.all([
        setSysctls(network.netnsPath, podSysctls(this.hasIpv6)),
        runIn(node.netnsPath, podRouteCommands(cable)),
      ]);
    } catch (error) {
      await this.detachPod(uid);
      throw error;
    }
    return network;
  }

  /** Removes the pod's namespace, cable and addresses. Harmless when there is none. */
  async detachPod(uid: string): Promise<void> {
    const network = this.#pods.get(uid);
    if (network === undefined) return;
    this.#pods.delete(uid);
    for (const ip of network.ips) this.#taken.delete(ip);
    // The node's end goes with the namespace, which ends when nothing refers to it: deleting eth0 first makes that immediate.
    await runIn(network.netnsPath, ["link del eth0"]).catch(() => {});
    await runCommand(["umount", "--lazy", network.netnsPath]).catch(() => {});
    rmSync(network.netnsPath, { force: true });
  }

  #takeIp({ podRange }: NodeAddresses): string {
    const from = this.#nextOffset.get(podRange.ip);
    const isTaken = (ip: string): boolean => this.#taken.has(ip);
    const found = findFreeIp(podRange, isTaken, { reserved: 2, ...(from === undefined ? {} : { from }) });
    if (found === undefined)
      throw new Error(`All pod addresses of ${podRange.ip}/${podRange.prefixLength} are taken; use more nodes`);
    this.#taken.add(found.ip);
    this.#nextOffset.set(podRange.ip, found.offset + 1);
    return found.ip;
  }
}

/** Makes a network namespace with a name, and runs `ip` commands in it. */
async function createNetns(path: string, commands: readonly string[]): Promise<void> {
  writeFileSync(path, "", { mode: 0o600 });
  await runCommand(["unshare", `--net=${path}`, "ip", "-batch", "-"], { input: batch(commands) });
}

async function runIn(netnsPath: string, commands: readonly string[]): Promise<void> {
  await runCommand(["nsenter", `--net=${netnsPath}`, "ip", "-batch", "-"], { input: batch(commands) });
}

/** A setting that this kernel does not have is left alone. */
async function setSysctls(netnsPath: string, settings: Readonly<Record<string, string>>): Promise<void> {
  const lines = Object.entries(settings).map(([path, value]) => {
    const file = `/proc/sys/${path}`;
    return `[ ! -e ${file} ] || echo ${value} > ${file}`;
  });
  await runCommand(["nsenter", `--net=${netnsPath}`, "sh", "-e"], { input: `${lines.join("\n")}\n` });
}

function batch(commands: readonly string[]): string {
  return commands.map((command) => `${command}\n`).join("");
}
