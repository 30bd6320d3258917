// A local mesh whose nodes have another ztunnel: all else (control, CA, capture, ZDS, waypoints) stays as it is.
import type { KubernetesObject, LocalMesh } from "@hairpin/cli";
import { startLocalMesh } from "@hairpin/cli";
import { ScenarioMesh } from "@hairpin/e2e/harness/scenario-mesh";
import { readFileSync } from "node:fs";
import { eventually } from "@hairpin/testkit";

export interface ZtunnelSwap {
  /** Istio's program. */
  readonly path: string;
  /** Where it runs; the others keep ours. */
  readonly nodes: readonly string[];
}

interface ZtunnelContainer {
  readonly command: readonly string[];
  readonly env: readonly object[];
}

interface ZtunnelSet extends KubernetesObject {
  readonly spec: { readonly template: { readonly spec: { readonly containers: readonly ZtunnelContainer[] } } };
}

const namespace = "istio-system";
const nodes = ["node1", "node2"];
const readyTimeoutMs = 90_000;

/** Text of interop/manifests/NAME.yaml. */
export function interopManifest(name: string): string {
  return readFileSync(new URL(`../manifests/${name}.yaml`, import.meta.url), "utf8");
}

/** Starts a mesh of two nodes, swaps ztunnels before there is a pod to serve, and then applies the manifests. */
export async function startSwappedMesh(
  name: string,
  swap: ZtunnelSwap,
  manifests: readonly string[],
): Promise<ScenarioMesh> {
  const mesh = await startLocalMesh({ name, nodes: nodes.length, readyTimeoutMs });
  try {
    await swapZtunnels(mesh, swap);
    for (const text of manifests) await mesh.apply(text);
    await mesh.whenReady(readyTimeoutMs);
    return ScenarioMesh.on(mesh);
  } catch (error) {
    await mesh.stop();
    throw error;
  }
}

async function swapZtunnels(mesh: LocalMesh, swap: ZtunnelSwap): Promise<void> {
  const [set] = (await mesh.get("DaemonSet", namespace)) as readonly ZtunnelSet[];
  const container = set?.spec.template.spec.containers[0];
  if (set === undefined || container === undefined) throw new Error("The local mesh has no DaemonSet of ztunnels");
  const swapped = { ...container, command: chooseByNode(swap, container.command) };
  const { name, labels } = set.metadata;
  const { spec } = set;
  const template = { ...spec.template, spec: { ...spec.template.spec, containers: [swapped] } };
  const old = new Set((await ztunnelPods(mesh)).map(({ metadata }) => metadata.uid));
  const object = {
    apiVersion: "apps/v1",
    kind: "DaemonSet",
    metadata: { name, namespace, labels },
    spec: { ...spec, template },
  };
  // Past the reader of manifests, which knows no DaemonSets: users have none in a local mesh.
  await mesh.client.apply([{ object: object as KubernetesObject, origin: { file: "swap", line: 1 } }]);
  for (const node of nodes)
    await mesh.delete(
      JSON.stringify({ apiVersion: "v1", kind: "Pod", metadata: { name: `ztunnel-${node}`, namespace } }),
    );
  await eventually(
    async () => {
      const pods = await ztunnelPods(mesh);
      if (pods.length < nodes.length || pods.some(({ metadata }) => old.has(metadata.uid)))
        throw new Error("The old ztunnels are still there");
    },
    { timeoutMs: readyTimeoutMs },
  );
  await mesh.whenReady(readyTimeoutMs);
}

async function ztunnelPods(mesh: LocalMesh): Promise<readonly KubernetesObject[]> {
  const pods = await mesh.get("Pod", namespace);
  return pods.filter(({ metadata }) => metadata.labels?.["app"] === "ztunnel");
}

/** One command for all nodes, as a DaemonSet has it. */
function chooseByNode({ path, nodes: swapped }: ZtunnelSwap, ours: readonly string[]): readonly string[] {
  const script = `case "$NODE_NAME" in ${swapped.join("|")}) exec "$0" proxy ztunnel;; *) exec "$@";; esac`;
  return ["sh", "-c", script, path, ...ours];
}
