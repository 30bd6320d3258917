// What the daemon gives the mesh's own pods beyond what a pod of a user gets. They are recognised by namespace and owner.

import { join } from "node:path";
import type { Pod } from "../object/kubernetes-object.ts";
import type { PartRuntime } from "../kubelet/pod-services.ts";
import { controlFolder, controlName, storeSocketPath, zdsFolder, ztunnelName } from "./mesh-objects.ts";

export interface PartPaths {
  /** Control's keys and certificates. */
  readonly control: string;
  readonly storeSocket: string;
  /** One folder a node, with the socket between capture and ztunnel. */
  readonly zds: string;
}

/** setns into pods, transparent sockets, packet marks. */
const ztunnelCapabilities = ["net_admin", "net_raw", "sys_admin"];

export function createPartFinder(rootNamespace: string, paths: PartPaths): (pod: Pod) => PartRuntime | undefined {
  return (pod) => {
    if (pod.metadata.namespace !== rootNamespace) return undefined;
    const owner = pod.metadata.ownerReferences?.find(({ controller }) => controller === true);
    if (owner?.kind === "DaemonSet" && owner.name === ztunnelName) {
      const folder = join(paths.zds, pod.spec?.nodeName ?? "");
      return {
        capabilities: ztunnelCapabilities,
        asMeshUser: true,
        mounts: [{ source: folder, target: zdsFolder, readOnly: false }],
      };
    }
    if (owner?.kind !== "ReplicaSet" || !owner.name.startsWith(`${controlName}-`)) return undefined;
    return {
      capabilities: [],
      asMeshUser: true,
      mounts: [
        { source: paths.control, target: controlFolder, readOnly: false },
        { source: paths.storeSocket, target: storeSocketPath, readOnly: false, isFile: true },
      ],
    };
  };
}
