// Keeps the CNI plugin on the node: its files, its place in the network configuration, and its own way to the API server.
import { readFile, rm } from "node:fs/promises";
import { isIPv6 } from "node:net";
import { join } from "node:path";
import { type Clock, type Component, errorMessage, type ReadinessTask, type Timer } from "@hairpin/shared/process";
import type { Logger } from "@hairpin/shared/telemetry";
import type { CaptureConfig } from "../config.ts";
import type { HostProc } from "../node/host-proc.ts";
import type { PluginSettings } from "./cni-call.ts";
import { ConfFolder, replaceFile } from "./conf-folder.ts";
import { formatKubeconfig } from "./plugin-kubeconfig.ts";
import { installPlugin, removePlugin } from "./plugin-files.ts";

/** The kubelet renews a token at 80 % of its life of an hour: the file on the node is never older than this. */
const tokenRefreshMs = 60_000;
const kubeconfigName = "hairpin-cni-kubeconfig";

export interface CniInstallerComponents {
  readonly clock: Clock;
  readonly logger: Logger;
}

export type CniInstallerOptions = Pick<CaptureConfig, "cni" | "rule" | "api" | "hostMount"> & {
  readonly socketPath: string;
  readonly host: HostProc;
};

/** Ready while the plugin is chained. Stopping leaves all in place for the next agent; `uninstall` takes it away. */
export class CniInstaller implements Component {
  readonly name = "cni installer";
  readonly #components: CniInstallerComponents;
  readonly #options: CniInstallerOptions;
  readonly #folder: ConfFolder;
  #timer: Timer | undefined;
  #written = "";
  #isStopped = false;

  constructor(components: CniInstallerComponents, ready: ReadinessTask, options: CniInstallerOptions) {
    this.#components = components;
    this.#options = options;
    const { cni } = options;
    if (!cni.enabled) ready.done();
    const onLooked = (chainedIn: string | undefined): void =>
      chainedIn === undefined ? ready.pending() : ready.done();
    this.#folder = new ConfFolder({ ...components, onLooked }, this.#mounted(cni.confFolder), { ...this.#settings() });
  }

  /** Rejects with `CNI_PLUGIN_UNUSABLE` when the host cannot run the plugin: nothing is chained then. */
  async start(): Promise<void> {
    const { cni, host } = this.#options;
    if (!cni.enabled) return;
    await this.#writeKubeconfig();
    await installPlugin({
      binFolder: this.#mounted(cni.binFolder),
      hostBinFolder: cni.binFolder,
      pluginPath: cni.pluginPath,
      hostRoot: host.pathOf("/"),
    });
    await this.#folder.start();
    this.#expectRefresh();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    this.#timer?.cancel();
    await this.#folder.stop();
  }

  /** The configuration first: a runtime that cannot find a plugin starts no pod. Rejects with Node's error. */
  async uninstall(): Promise<void> {
    const { cni } = this.#options;
    await this.stop();
    if (!cni.enabled) return;
    await this.#folder.unchain();
    await removePlugin(this.#mounted(cni.binFolder));
    await rm(this.#mounted(join(cni.confFolder, kubeconfigName)), { force: true });
  }

  #settings(): PluginSettings {
    const { cni, rule, socketPath } = this.#options;
    return {
      agentSocket: socketPath,
      kubeconfig: join(cni.confFolder, kubeconfigName),
      excludedNamespaces: rule.excludedNamespaces,
      meshNamespace: rule.meshNamespace,
      agentPodPrefix: cni.agentPodPrefix,
    };
  }

  #expectRefresh(): void {
    this.#timer = this.#components.clock.setTimer(tokenRefreshMs, () => {
      void this.#writeKubeconfig()
        .catch((error: unknown) =>
          this.#components.logger.warn("the plugin's token was not renewed", { error: errorMessage(error) }),
        )
        .then(() => {
          if (!this.#isStopped) this.#expectRefresh();
        });
    });
  }

  async #writeKubeconfig(): Promise<void> {
    const { api, cni } = this.#options;
    const [token, caPem] = await Promise.all(
      ["token", "ca.crt"].map(async (name) => await readFile(join(api.folder, name), "utf8")),
    );
    const server = `https://${isIPv6(api.host) ? `[${api.host}]` : api.host}:${api.port}`;
    const text = formatKubeconfig({ server, caPem: caPem ?? "", token: token?.trim() ?? "" });
    if (text === this.#written) return;
    await replaceFile(this.#mounted(join(cni.confFolder, kubeconfigName)), text, 0o600);
    this.#written = text;
  }

  #mounted(hostPath: string): string {
    return `${this.#options.hostMount}${hostPath}`;
  }
}
