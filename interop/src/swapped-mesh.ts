// A local mesh some of whose parts are Istio's; all else stays as it is.
import { readFileSync } from "node:fs";
import { type KubernetesObject, type LocalMesh, startLocalMesh } from "@hairpin/cli";
import { ScenarioMesh } from "@hairpin/e2e/harness/scenario-mesh";
import { eventually } from "@hairpin/testkit";

/** Istio's programs in the place of ours. */
export interface Swap {
  /** On these nodes; the others keep ours. */
  readonly ztunnel?: { readonly path: string; readonly nodes: readonly string[] };
  /** Of istiod, which takes our control's place. */
  readonly istiod?: string;
}

type Command = readonly string[];

/** A Deployment or DaemonSet of the mesh's own parts. */
interface Workload extends KubernetesObject {
  readonly spec: {
    readonly template: { readonly spec: { readonly containers: readonly { readonly command: Command }[] } };
  };
}

const namespace = "istio-system";
const readyTimeoutMs = 90_000;

/** Text of interop/manifests/NAME.yaml. */
export function interopManifest(name: string): string {
  return readFileSync(new URL(`../manifests/${name}.yaml`, import.meta.url), "utf8");
}

/** Starts a mesh of two nodes, swaps its parts while it has no pods to serve, and then applies the manifest. */
export async function startSwappedMesh(name: string, swap: Swap, manifest: string): Promise<ScenarioMesh> {
  const mesh = await startLocalMesh({ name, nodes: 2, readyTimeoutMs });
  try {
    await swapParts(mesh, swap);
    await mesh.apply(manifest);
    await mesh.whenReady(readyTimeoutMs);
    return ScenarioMesh.on(mesh);
  } catch (error) {
    await mesh.stop();
    throw error;
  }
}

async function swapParts(mesh: LocalMesh, { ztunnel, istiod }: Swap): Promise<void> {
  if (istiod !== undefined)
    await replacePods(mesh, "istiod", () =>
      changeCommand(mesh, "Deployment", "istiod", () => ["node", "$(HAIRPIN_HOME)/interop/src/istiod/main.ts", istiod]),
    );
  await replacePods(mesh, "ztunnel", async () => {
    if (ztunnel !== undefined)
      await changeCommand(mesh, "DaemonSet", "ztunnel", (ours) => chooseByNode(ztunnel.nodes, ztunnel.path, ours));
    for (const { metadata } of await podsOf(mesh, "ztunnel"))
      await mesh.client.delete([
        applied({ apiVersion: "v1", kind: "Pod", metadata: { name: metadata.name, namespace } }),
      ]);
  });
}

async function changeCommand(
  mesh: LocalMesh,
  kind: string,
  name: string,
  change: (ours: Command) => Command,
): Promise<void> {
  const workloads = (await mesh.get(kind, namespace)) as readonly Workload[];
  const workload = workloads.find(({ metadata }) => metadata.name === name);
  const container = workload?.spec.template.spec.containers[0];
  if (workload === undefined || container === undefined) throw new Error(`The local mesh has no ${kind} ${name}`);
  const { metadata, spec } = workload;
  const containers = [{ ...container, command: change(container.command) }];
  const template = { ...spec.template, spec: { ...spec.template.spec, containers } };
  // Past the reader of manifests, which knows no DaemonSets: users have none in a local mesh.
  await mesh.client.apply([
    applied({
      apiVersion: "apps/v1",
      kind,
      metadata: { name, namespace, labels: metadata.labels ?? {} },
      spec: { ...spec, template },
    }),
  ]);
}

/** Waits until all pods of a part are new ones and ready. */
async function replacePods(mesh: LocalMesh, app: string, replace: () => Promise<void>): Promise<void> {
  const old = new Set((await podsOf(mesh, app)).map(({ metadata }) => metadata.uid));
  await replace();
  await eventually(
    async () => {
      const pods = await podsOf(mesh, app);
      if (pods.length !== old.size || pods.some(({ metadata }) => old.has(metadata.uid)))
        throw new Error(`The old pods of ${app} are still there`);
    },
    { timeoutMs: readyTimeoutMs },
  );
  await mesh.whenReady(readyTimeoutMs);
}

async function podsOf(mesh: LocalMesh, app: string): Promise<readonly KubernetesObject[]> {
  const pods = await mesh.get("Pod", namespace);
  return pods.filter(({ metadata }) => metadata.labels?.["app"] === app);
}

/** One command for all nodes, as a DaemonSet has it. */
function chooseByNode(nodes: readonly string[], path: string, ours: Command): Command {
  const script = `case "$NODE_NAME" in ${nodes.join("|")}) exec "$0" proxy ztunnel;; *) exec "$@";; esac`;
  return ["sh", "-c", script, path, ...ours];
}

function applied(object: object): {
  readonly object: KubernetesObject;
  readonly origin: { file: string; line: number };
} {
  return { object: object as KubernetesObject, origin: { file: "swap", line: 1 } };
}
