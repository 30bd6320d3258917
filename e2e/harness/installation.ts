// The installed chart as its operator handles it: what is restarted, killed, scaled and upgraded while scenarios run.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { KubernetesObject } from "@hairpin/cli";
import { eventually } from "@hairpin/testkit";
import type { ClusterConfig } from "./cluster-config.ts";
import { Helm } from "./helm.ts";
import { Kubectl } from "./kubectl.ts";

export const rootNamespace = "istio-system";
const releaseName = "hairpin";
const chart = new URL("../../charts/hairpin", import.meta.url).pathname;
const settleTimeout = "150s";
/** A node label that no node has. */
const nowhere = "e2e.hairpin.mesh/nowhere";

/** By their names in the cluster. */
export const Part = {
  control: "deployment/istiod",
  agent: "daemonset/istio-cni-node",
  ztunnel: "daemonset/ztunnel",
} as const;
export type Part = (typeof Part)[keyof typeof Part];

export class Installation {
  readonly kubectl: Kubectl;
  readonly #helm: Helm;

  /** Throws `Error` without a cluster: there is nothing installed. */
  constructor(config: ClusterConfig | undefined) {
    if (config === undefined) throw new Error("This scenario needs a cluster: set E2E_KUBECONFIG");
    this.kubectl = new Kubectl(config);
    this.#helm = new Helm(config);
  }

  /** Resolves when every part is rolled out and ready. */
  async whenReady(...parts: readonly Part[]): Promise<void> {
    for (const part of parts.length > 0 ? parts : Object.values(Part))
      await this.#inRoot(["rollout", "status", part, `--timeout=${settleTimeout}`]);
  }

  /** Names of the nodes. */
  async nodes(): Promise<readonly string[]> {
    return (await this.kubectl.list(["nodes"])).map(({ metadata }) => metadata.name).toSorted();
  }

  /** The pods of a part that are not ending. */
  async pods(part: Part, node?: string): Promise<readonly string[]> {
    const on = node === undefined ? [] : ["--field-selector", `spec.nodeName=${node}`];
    const pods = await this.kubectl.list(["pods", "-n", rootNamespace, "-l", `app=${part.split("/")[1]}`, ...on]);
    return pods.filter(({ metadata }) => metadata.deletionTimestamp === undefined).map(({ metadata }) => metadata.name);
  }

  /** A rolling restart, to its end. */
  async restart(part: Part): Promise<void> {
    await this.#inRoot(["rollout", "restart", part]);
    await this.whenReady(part);
  }

  /** Kills without notice; the controller makes new ones. */
  async kill(part: Part, node?: string): Promise<void> {
    const pods = await this.pods(part, node);
    await this.#inRoot(["delete", "pod", ...pods, "--grace-period=0", "--force", "--wait=false"]);
  }

  async scaleControl(replicas: number): Promise<void> {
    await this.#inRoot(["scale", Part.control, `--replicas=${replicas}`]);
    await this.#inRoot(["rollout", "status", Part.control, `--timeout=${settleTimeout}`]);
    if (replicas === 0) await this.#whenGone(Part.control);
  }

  async controlReplicas(): Promise<number> {
    const words = ["get", Part.control, "-n", rootNamespace, "-o", "jsonpath={.spec.replicas}"];
    return Number(await this.kubectl.text(words));
  }

  /** Makes the kubelets look at ztunnel's volumes now; on their own they do it within two minutes. */
  async touchZtunnels(): Promise<void> {
    await this.#inRoot([
      "annotate",
      "pod",
      "-l",
      "app=ztunnel",
      `e2e.hairpin.mesh/touched=${Date.now()}`,
      "--overwrite",
    ]);
  }

  /** The agents end as in an upgrade, and no new ones come until {@link bringAgentsBack}. */
  async sendAgentsAway(): Promise<void> {
    await this.#patchAgents("true");
    await this.#whenGone(Part.agent);
  }

  async bringAgentsBack(): Promise<void> {
    await this.#patchAgents(null);
    await this.whenReady(Part.agent);
  }

  async values(): Promise<Readonly<Record<string, unknown>>> {
    const text = await this.#helm.text(["get", "values", releaseName, "-n", rootNamespace, "-o", "json"]);
    return (JSON.parse(text) ?? {}) as Readonly<Record<string, unknown>>;
  }

  /** `helm upgrade --install` with exactly these values; resolves when all is ready. */
  async upgrade(values: Readonly<Record<string, unknown>>): Promise<void> {
    const folder = await mkdtemp(join(tmpdir(), "hairpin-e2e-values-"));
    try {
      const file = join(folder, "values.json");
      await writeFile(file, JSON.stringify(values));
      const release = ["upgrade", "--install", releaseName, chart, "-n", rootNamespace, "--create-namespace"];
      await this.#helm.text([...release, "--reset-values", "-f", file, "--wait", "--timeout", "5m"]);
      await this.whenReady();
    } finally {
      await rm(folder, { recursive: true });
    }
  }

  async uninstall(): Promise<void> {
    await this.#helm.text(["uninstall", releaseName, "-n", rootNamespace, "--wait", "--timeout", "4m"]);
  }

  /** Messages of the events of one pod, oldest first. */
  async eventsOf(namespace: string, pod: string): Promise<readonly string[]> {
    const selector = `involvedObject.name=${pod}`;
    const events = await this.kubectl.list(["events", "-n", namespace, "--field-selector", selector]);
    return events.map((event: KubernetesObject & { readonly message?: string }) => event.message ?? "");
  }

  async #patchAgents(value: string | null): Promise<void> {
    const patch = { spec: { template: { spec: { nodeSelector: { [nowhere]: value } } } } };
    await this.#inRoot(["patch", Part.agent, "--type=merge", "-p", JSON.stringify(patch)]);
  }

  async #whenGone(part: Part): Promise<void> {
    await eventually(
      async () => {
        const pods = await this.kubectl.text([
          "get",
          "pods",
          "-n",
          rootNamespace,
          "-l",
          `app=${part.split("/")[1]}`,
          "-o",
          "name",
        ]);
        if (pods !== "") throw new Error(`Not gone: ${pods}`);
      },
      { timeoutMs: 90_000, intervalMs: 250 },
    );
  }

  async #inRoot(words: readonly string[]): Promise<void> {
    await this.kubectl.text([...words, "-n", rootNamespace]);
  }
}
