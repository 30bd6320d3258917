// Joins istio-cni's role to the local mesh: rules from @hairpin/capture, a ZDS socket for every node.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import {
  addProbedPod,
  applyHostProbeRules,
  applyRules,
  defaultProbeAddresses,
  type RedirectionOptions,
  removeProbedPod,
  removeRules,
  ZdsServer,
} from "@hairpin/capture";
import { systemClock } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { Fabric, FabricNode } from "../fabric/fabric.ts";
import { runCommand } from "../fabric/run-command.ts";
import type { Pod } from "../object/kubernetes-object.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { PodCapture } from "./pod-capture.ts";

export interface CaptureParts {
  readonly store: ObjectStore;
  readonly fabric: Fabric;
  /** Gets one folder a node, with the socket `ztunnel.sock`. */
  readonly zdsFolder: string;
  readonly logger: Logger;
}

interface CaptureNode {
  readonly node: FabricNode;
  readonly zds: ZdsServer;
}

/** Listens for ztunnels; captures pods from now on. */
export async function startCapture({ store, fabric, zdsFolder, logger }: CaptureParts): Promise<PodCapture> {
  const nodes = new Map<string, CaptureNode>();
  for (const node of fabric.nodes) {
    const folder = join(zdsFolder, node.name);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const zds = new ZdsServer(join(folder, "ztunnel.sock"), logger.child(`zds-${node.name}`));
    zds.start();
    await applyHostProbeRules(node.netnsPath, { probeAddresses: defaultProbeAddresses });
    nodes.set(node.name, { node, zds });
  }
  const nodeOf = (pod: Pod): CaptureNode => {
    const found = nodes.get(pod.spec?.nodeName ?? "");
    if (found === undefined) throw new Error(`Pod ${pod.metadata.name} is on no node`);
    return found;
  };
  const ipv6 = fabric.hasIpv6;
  return new PodCapture({
    store,
    clock: systemClock,
    logger: logger.child("capture"),
    actions: {
      handOver: async (pod, { netnsPath }) => {
        const { uid = "", name, namespace = "default" } = pod.metadata;
        const serviceAccount = pod.spec?.serviceAccountName ?? "default";
        await nodeOf(pod).zds.add({ uid, name, namespace, serviceAccount, netnsPath });
      },
      takeBack: async (pod) => await nodeOf(pod).zds.remove(pod.metadata.uid ?? ""),
      redirect: async (pod, { netnsPath, ips }) => {
        await addProbedPod(nodeOf(pod).node.netnsPath, { uid: pod.metadata.uid ?? "", ips });
        await applyRules(netnsPath, redirectionOptions(pod, ipv6));
      },
      spareNewConnections: async (_pod, { netnsPath }) => {
        await runCommand(["nsenter", `--net=${netnsPath}`, "nft", "-f", "-"], { input: spareNewConnections });
      },
      stopRedirecting: async (pod, { netnsPath, ips }) => {
        await removeRules(netnsPath);
        await removeProbedPod(nodeOf(pod).node.netnsPath, ips);
      },
    },
  });
}

/**
 * Empties the chains that choose what is redirected. The base chains stay: without them the kernel would stop translating the
 * connections that are open.
 */
const spareNewConnections = [
  "flush chain inet istio-ambient-nat istio-prerouting",
  "flush chain inet istio-ambient-nat istio-output",
  "",
].join("\n");

/** What a pod's annotations ask of its rules. */
function redirectionOptions(pod: Pod, ipv6: boolean): RedirectionOptions {
  const annotations = pod.metadata.annotations ?? {};
  const interfaces = annotations["istio.io/reroute-virtual-interfaces"] ?? "";
  return {
    ipv4: true,
    ipv6,
    dnsCapture: annotations["ambient.istio.io/dns-capture"] !== "false",
    bypassInboundCapture: annotations["ambient.istio.io/bypass-inbound-capture"] === "true",
    rerouteVirtualInterfaces: interfaces
      .split(",")
      .map((name) => name.trim())
      .filter((name) => name !== ""),
    probeAddresses: defaultProbeAddresses,
  };
}
