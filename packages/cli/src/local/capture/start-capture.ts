// Joins istio-cni's role to the local mesh: @hairpin/capture with a ZDS socket for every node.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { defaultProbeAddresses, nftBackend, NodeCapture, nodePodOf, PodCapture, ZdsServer } from "@hairpin/capture";
import { systemClock } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { Fabric } from "../fabric/fabric.ts";
import type { PodHooks } from "../kubelet/pod-services.ts";
import type { Pod } from "../object/kubernetes-object.ts";
import type { ObjectStore } from "../store/object-store.ts";
import { storePods } from "./store-pods.ts";

export interface CaptureParts {
  readonly store: ObjectStore;
  readonly fabric: Fabric;
  /** Gets one folder a node, with the socket `ztunnel.sock`. */
  readonly zdsFolder: string;
  readonly meshNamespace: string;
  readonly logger: Logger;
}

/** Listens for ztunnels; captures pods from now on. */
export async function startCapture(parts: CaptureParts): Promise<PodHooks> {
  const { store, fabric, zdsFolder, meshNamespace, logger } = parts;
  const captures = new Map<string, PodCapture>();
  for (const { name, netnsPath } of fabric.nodes) {
    const folder = join(zdsFolder, name);
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    const onZtunnel = (): void => captures.get(name)?.retry();
    const zds = new ZdsServer(join(folder, "ztunnel.sock"), logger.child(`zds-${name}`), systemClock, onZtunnel);
    zds.start();
    const actions = new NodeCapture(
      { zds, rules: nftBackend },
      { hostNetnsPath: netnsPath, dnsCapture: true, ipv6: fabric.hasIpv6, probeAddresses: defaultProbeAddresses },
    );
    await actions.writeHostRules();
    const pods = storePods(store, meshNamespace);
    captures.set(name, new PodCapture({ pods, actions, clock: systemClock, logger: logger.child("capture") }));
  }
  const captureOf = (pod: Pod): PodCapture => {
    const found = captures.get(pod.spec?.nodeName ?? "");
    if (found === undefined) throw new Error(`Pod ${pod.metadata.name} is on no node`);
    return found;
  };
  store.onChange(({ object, type }) => {
    // A new pod is looked at before its start; everything else may change what is wanted of running pods.
    if (object.kind === "Namespace" || (object.kind === "Pod" && type === "MODIFIED"))
      queueMicrotask(() => {
        for (const capture of captures.values()) capture.review();
      });
  });
  return {
    async beforeStart(pod, network) {
      await captureOf(pod).add(nodePodOf(pod), { ...network, id: network.netnsPath, close: () => {} });
    },
    async afterStop(pod) {
      await captureOf(pod).remove(pod.metadata.uid ?? "");
    },
  };
}
