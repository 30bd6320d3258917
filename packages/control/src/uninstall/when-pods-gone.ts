import type { KubernetesObject } from "@hairpin/shared/kubernetes";
import { errorMessage } from "@hairpin/shared/process";
import type { UninstallComponents } from "./uninstall.ts";

const pollMs = 500;

interface Pod extends KubernetesObject {
  readonly spec?: { readonly nodeName?: string };
}

interface Node extends KubernetesObject {
  readonly status?: { readonly conditions?: readonly { readonly type: string; readonly status: string }[] };
}

export interface PodsGoneOptions {
  readonly namespace: string;
  /** Label `app` of the pods. */
  readonly app: string;
  readonly timeoutMs: number;
}

/**
 * Resolves when no such pod is left on a node that is ready, with the names of the other nodes that still have one: an event there says
 * so. Rejects with the pods that are left after the time.
 */
export async function whenPodsGone(
  components: UninstallComponents,
  { namespace, app, timeoutMs }: PodsGoneOptions,
): Promise<readonly string[]> {
  const { api, clock } = components;
  const end = clock.now() + timeoutMs;
  for (;;) {
    const { items: pods } = await api.list<Pod>(
      { apiVersion: "v1", kind: "Pod" },
      { namespace, labelSelector: `app=${app}` },
    );
    const { items: nodes } = await api.list<Node>({ apiVersion: "v1", kind: "Node" });
    const readyNodes = new Set(nodes.filter(isReady).map(({ metadata }) => metadata.name));
    const staying = pods.filter(({ spec }) => readyNodes.has(spec?.nodeName ?? ""));
    if (staying.length === 0) {
      const away = nodes.filter(({ metadata }) => pods.some(({ spec }) => spec?.nodeName === metadata.name));
      for (const node of away) await tellOf(node, app, components);
      return away.map(({ metadata }) => metadata.name);
    }
    if (clock.now() >= end) {
      const names = staying.map(({ metadata, spec }) => `${metadata.name} on ${spec?.nodeName ?? ""}`);
      throw new Error(
        `after ${timeoutMs / 1000} s there still is ${names.join(", ")}; run it again when they have ended`,
      );
    }
    await new Promise<void>((resolve) => void clock.setTimer(pollMs, resolve));
  }
}

function isReady({ status }: Node): boolean {
  return status?.conditions?.some((condition) => condition.type === "Ready" && condition.status === "True") === true;
}

/** The hook's log goes with it; an event on the node stays for an hour. */
async function tellOf(node: Node, app: string, { api, clock, say }: UninstallComponents): Promise<void> {
  const { name, uid = "" } = node.metadata;
  const message = `The mesh was uninstalled while this node was away: ${app} could not clean up here. Restart the node, or install the mesh and uninstall it again`;
  const now = clock.wallTime();
  const time = now.toISOString();
  try {
    await api.create({
      apiVersion: "v1",
      kind: "Event",
      // As the kubelet names them.
      metadata: { name: `${name}.${(now.getTime() * 1_000_000).toString(16)}`, namespace: "default" },
      involvedObject: { apiVersion: "v1", kind: "Node", name, uid },
      type: "Warning",
      reason: "MeshLeftBehind",
      message,
      source: { component: "hairpin-uninstall" },
      firstTimestamp: time,
      lastTimestamp: time,
      count: 1,
    } as KubernetesObject);
  } catch (error) {
    say(`an event of node ${name} was not written: ${errorMessage(error)}`);
  }
}
