// The nodes of a cluster from inside: a privileged pod on each looks at files, rules and processes. It knows nothing of the mesh.

import type { KubernetesObject } from "@hairpin/cli";
import { runProgram } from "@hairpin/cli";
import type { Kubectl } from "./kubectl.ts";

const namespace = "e2e-nodes";

export class NodeInspector implements AsyncDisposable {
  readonly #kubectl: Kubectl;
  readonly nodes: readonly string[];

  private constructor(kubectl: Kubectl, nodes: readonly string[]) {
    this.#kubectl = kubectl;
    this.nodes = nodes;
  }

  /** `image` must have nft and nsenter, and be on the nodes. */
  static async start(kubectl: Kubectl, image: string, nodes: readonly string[]): Promise<NodeInspector> {
    const inspector = new NodeInspector(kubectl, nodes);
    const items = [
      { apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
      ...nodes.map((node) => inspectorPod(node, image)),
    ];
    const list = JSON.stringify({ apiVersion: "v1", kind: "List", items });
    const { exitCode, stderr } = await runProgram(kubectl.argv(["apply", "-f", "-"])).end(list);
    if (exitCode !== 0) throw new Error(`kubectl apply: ${stderr.trim()}`);
    const wait = ["wait", "-n", namespace, "--for=condition=Ready", "--timeout=60s"];
    await kubectl.text([...wait, ...nodes.map((node) => `pod/${node}`)]);
    return inspector;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#kubectl.text(["delete", "namespace", namespace, "--ignore-not-found", "--wait=true"]);
  }

  /** Output of a shell in the node's network and process namespaces; its files are under /host. Rejects when it fails. */
  async run(node: string, script: string): Promise<string> {
    return await this.#kubectl.text(["exec", "-n", namespace, node, "--", "sh", "-c", script]);
  }

  /** Process ids of a pod's containers, those of its sandbox left out. */
  async processes(node: string, podUid: string): Promise<readonly string[]> {
    const anyForm = `${podUid}|${podUid.replaceAll("-", "_")}`;
    const found = await this.run(
      node,
      `grep -lE '${anyForm}' /proc/[0-9]*/cgroup 2>/dev/null | cut -d/ -f3 | while read pid; do ` +
        `[ "$(cat /proc/$pid/comm 2>/dev/null)" = pause ] || echo $pid; done`,
    );
    return found.split("\n").filter(Boolean);
  }

  /** Every nftables rule in a pod's network namespace. */
  async podRules(node: string, podUid: string): Promise<string> {
    const [pid] = await this.processes(node, podUid);
    if (pid === undefined) throw new Error(`No process of pod ${podUid} on ${node}`);
    return await this.run(
      node,
      `nsenter -t ${pid} -n nft list ruleset; nsenter -t ${pid} -n ip rule | grep 0x111 || true`,
    );
  }
}

function inspectorPod(node: string, image: string): KubernetesObject {
  const spec = {
    nodeName: node,
    hostPID: true,
    hostNetwork: true,
    terminationGracePeriodSeconds: 0,
    tolerations: [{ operator: "Exists" }],
    containers: [
      {
        name: "main",
        image,
        imagePullPolicy: "IfNotPresent",
        command: ["sleep", "infinity"],
        securityContext: { privileged: true, runAsUser: 0 },
        volumeMounts: [{ name: "host", mountPath: "/host" }],
      },
    ],
    volumes: [{ name: "host", hostPath: { path: "/" } }],
  };
  return { apiVersion: "v1", kind: "Pod", metadata: { name: node, namespace }, spec };
}
