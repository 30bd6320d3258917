// What the kubelet needs from the rest of the daemon.

import type { Logger } from "@hairpin/shared/telemetry";
import type { Fabric, FabricNode, PodNetwork } from "../fabric/fabric.ts";
import type { Pod } from "../object/kubernetes-object.ts";
import type { ObjectStore } from "../store/object-store.ts";
import type { StatusWriter } from "../store/object-status.ts";
import type { ContainerMount } from "./container-script.ts";
import type { ProbeAction } from "./probe-runner.ts";
import type { TokenIssuer } from "./token-issuer.ts";

/** What capture does around a pod's life. */
export interface PodHooks {
  /** After the network is there and before the first program starts; rejects when the pod must not start yet. */
  readonly beforeStart: (pod: Pod, network: PodNetwork) => Promise<void>;
  /** After the last program ended and before the network goes. */
  readonly afterStop: (pod: Pod) => Promise<void>;
}

/** How a pod of the mesh itself differs from a pod of a user. */
export interface PartRuntime {
  readonly capabilities: readonly string[];
  /** Runs as the mesh's own user rather than as nobody. */
  readonly asMeshUser: boolean;
  readonly mounts: readonly ContainerMount[];
}

interface KubeletDirectories {
  /** One folder a pod: scripts, volumes. */
  readonly pods: string;
  readonly logs: string;
}

export interface PodServices {
  readonly store: ObjectStore;
  readonly statusWriter: StatusWriter;
  readonly fabric: Fabric;
  readonly hooks: PodHooks;
  readonly tokenIssuer: TokenIssuer;
  readonly directories: KubeletDirectories;
  /** A process in the sandbox's mount namespace (sandbox-script.ts). */
  readonly sandboxPid: number;
  readonly nodePath: string;
  /** The file that programs read as /etc/resolv.conf; it may lie below /run. */
  readonly resolvConfTarget: string;
  readonly hiddenPaths: readonly string[];
  /** Without root there is one user only, and programs run as it. */
  readonly canChangeUser: boolean;
  readonly clusterDomain: string;
  readonly clusterDnsIps: readonly string[];
  /** A part of the mesh, or undefined for a pod of a user. */
  readonly partOf: (pod: Pod) => PartRuntime | undefined;
  /** Probes as seen from the pod's node. */
  readonly probeAction: (node: FabricNode, podIp: string) => ProbeAction;
  readonly logger: Logger;
}
