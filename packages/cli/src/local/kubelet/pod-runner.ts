// One pod's life: network → capture → init containers → containers, restarted by policy → stop. One owner for everything a
// pod has; whatever happens, stop() releases it.

import { rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { errorMessage } from "@hairpin/shared/process";
import type { FabricNode, PodNetwork } from "../fabric/fabric.ts";
import { runCommand } from "../fabric/run-command.ts";
import { podKind, serviceAccountKind } from "../object/kinds.ts";
import type { Container, Pod } from "../object/kubernetes-object.ts";
import { ContainerConfigError } from "./container-environment.ts";
import { ContainerProbes } from "./container-probes.ts";
import { startContainer } from "./container-process.ts";
import { ContainerSlot } from "./container-slot.ts";
import { LogFile } from "./log-file.ts";
import { PodContent } from "./pod-content.ts";
import type { PodServices } from "./pod-services.ts";
import { planPodStatus } from "./pod-status.ts";

/** Wait before a container starts again: doubled from the first to the last value, and back after a quiet while. */
const firstBackoffMs = 500;
const lastBackoffMs = 30_000;
const backoffResetMs = 60_000;
/** Wait before an attempt that failed for want of something (network, ConfigMap, ztunnel) is repeated; doubled each time. */
const firstRetryMs = 50;
const lastRetryMs = 1000;
const defaultGraceSeconds = 30;
/** What `exec` needs to join a container. */
export interface ContainerJoin {
  readonly pid: number;
  readonly workingDirectory: string;
  /** `env`, `setpriv` and their options; the program follows. */
  readonly prefix: readonly string[];
}

export class PodRunner {
  readonly uid: string;
  readonly #services: PodServices;
  readonly #node: FabricNode;
  readonly #content: PodContent;
  readonly #stopping = new AbortController();
  readonly #initSlots: readonly ContainerSlot[];
  readonly #slots: readonly ContainerSlot[];
  readonly #tasks = new Set<Promise<void>>();
  readonly #startTime = new Date();
  #pod: Pod;
  #network: PodNetwork | undefined;
  #initialized = false;
  #problem: string | undefined;
  #stopped: Promise<void> | undefined;

  constructor(pod: Pod, node: FabricNode, services: PodServices) {
    this.#pod = pod;
    this.uid = pod.metadata.uid ?? "";
    this.#node = node;
    this.#services = services;
    this.#content = new PodContent(pod, node, services);
    const makeSlot = (container: Container): ContainerSlot =>
      new ContainerSlot(container, new LogFile(join(services.directories.logs, this.uid, `${container.name}.log`)));
    this.#initSlots = (pod.spec?.initContainers ?? []).map(makeSlot);
    this.#slots = (pod.spec?.containers ?? []).map(makeSlot);
  }

  get pod(): Pod {
    return this.#pod;
  }

  start(): void {
    this.#spawnTask(this.#run());
  }

  /** The log of a container; the first one's when no name is given. */
  findLog(containerName: string | undefined): LogFile | undefined {
    const all = [...this.#slots, ...this.#initSlots];
    return (containerName === undefined ? all[0] : all.find((slot) => slot.container.name === containerName))?.log;
  }

  /** How to join a running container; the first one when no name is given. Throws with the reason when it does not run. */
  planJoin(containerName: string | undefined): ContainerJoin {
    const slot =
      containerName === undefined
        ? this.#slots[0]
        : [...this.#slots, ...this.#initSlots].find(({ container }) => container.name === containerName);
    if (slot === undefined) throw new Error(`pod ${this.#pod.metadata.name} has no container ${containerName}`);
    if (slot.process === undefined || this.#network === undefined) {
      const { waiting, terminated } = slot.status().state;
      const why = waiting?.message ?? waiting?.reason ?? terminated?.reason ?? "it is starting";
      throw new Error(`container ${slot.container.name} of pod ${this.#pod.metadata.name} does not run: ${why}`);
    }
    const prefix = this.#content.joinPrefix(slot.container, this.#network);
    return { pid: slot.process.pid, workingDirectory: slot.container.workingDir ?? "/", prefix };
  }

  /** Ends the programs in order and releases everything. Idempotent. */
  async stop(): Promise<void> {
    this.#stopped ??= this.#stopAll();
    await this.#stopped;
  }

  async #run(): Promise<void> {
    await this.#retry("ServiceAccountMissing", async () => this.#requireServiceAccount());
    this.#network = await this.#retry("NetworkNotReady", async () => await this.#attach());
    this.#writeStatus();
    const network = this.#network;
    await this.#retry("CaptureNotReady", async () => await this.#services.hooks.beforeStart(this.#current(), network));
    for (const slot of this.#initSlots) {
      if (slot.container.restartPolicy === "Always") this.#spawnTask(this.#supervise(slot, "Always"));
      else await this.#supervise(slot, this.#pod.spec?.restartPolicy === "Never" ? "Never" : "OnFailure");
      if ((slot.finishedWith ?? 0) !== 0) return;
    }
    this.#initialized = true;
    const policy = this.#pod.spec?.restartPolicy ?? "Always";
    for (const slot of this.#slots) this.#spawnTask(this.#supervise(slot, policy));
  }

  #requireServiceAccount(): void {
    const { namespace } = this.#pod.metadata;
    const name = this.#pod.spec?.serviceAccountName ?? "default";
    if (this.#services.store.find(serviceAccountKind, namespace, name) === undefined)
      throw new Error(`There is no ServiceAccount ${name} in namespace ${namespace}; create it`);
  }

  async #attach(): Promise<PodNetwork> {
    const existing = this.#services.fabric.findPod(this.uid);
    if (existing !== undefined) return existing;
    if (this.#pod.spec?.hostNetwork === true)
      return { netnsPath: this.#node.netnsPath, ips: this.#node.addresses.map(({ nodeIp }) => nodeIp) };
    return await this.#services.fabric.attachPod(this.uid, this.#node);
  }

  /** Repeats until it works; the last reason stands in the pod's status. */
  async #retry<T>(reason: string, action: () => Promise<T>): Promise<T> {
    for (let retryMs = firstRetryMs; ; retryMs = Math.min(retryMs * 2, lastRetryMs)) {
      try {
        const result = await action();
        this.#problem = undefined;
        return result;
      } catch (error) {
        this.#stopping.signal.throwIfAborted();
        this.#problem = errorMessage(error);
        for (const slot of [...this.#initSlots, ...this.#slots]) slot.waiting(reason, this.#problem);
        this.#writeStatus();
        await delay(retryMs, undefined, { signal: this.#stopping.signal });
      }
    }
  }

  /** Runs a container again and again as the policy says; returns when it is not to be started any more. */
  async #supervise(slot: ContainerSlot, policy: string): Promise<void> {
    let backoffMs = firstBackoffMs;
    while (!this.#stopping.signal.aborted) {
      const failed = await this.#runOnce(slot);
      if (this.#stopping.signal.aborted) return;
      if (policy === "Never" || (policy === "OnFailure" && !failed)) return;
      if (performance.now() - slot.startedAtMs > backoffResetMs) backoffMs = firstBackoffMs;
      slot.restartCount += 1;
      slot.waiting("CrashLoopBackOff", `starts again in ${backoffMs / 1000} s`);
      this.#writeStatus();
      await delay(backoffMs, undefined, { signal: this.#stopping.signal });
      backoffMs = Math.min(backoffMs * 2, lastBackoffMs);
    }
  }

  /** One run of a container's program, until it ends; true when it failed. */
  async #runOnce(slot: ContainerSlot): Promise<boolean> {
    const process = await this.#startWhenPossible(slot);
    // Stopped while it started: whoever stops did not know of this process.
    if (this.#stopping.signal.aborted) {
      await process.stop(0);
      return false;
    }
    slot.running(process);
    const probes = this.#startProbes(slot);
    this.#writeStatus();
    const exit = await process.exited;
    probes.stop();
    slot.ended(exit);
    this.#writeStatus();
    return slot.finishedWith !== 0;
  }

  async #startWhenPossible(slot: ContainerSlot): ReturnType<typeof startContainer> {
    for (let retryMs = firstRetryMs; ; retryMs = Math.min(retryMs * 2, lastRetryMs)) {
      try {
        const network = this.#network ?? { netnsPath: "", ips: [] };
        const scriptPath = this.#content.writeContainer(slot.container, network);
        return await startContainer({
          sandboxPid: this.#services.sandboxPid,
          netnsPath: network.netnsPath,
          scriptPath,
          onOutput: (chunk) => slot.log.append(chunk),
        });
      } catch (error) {
        this.#stopping.signal.throwIfAborted();
        const reason = error instanceof ContainerConfigError ? "CreateContainerConfigError" : "CreateContainerError";
        slot.waiting(reason, errorMessage(error));
        this.#writeStatus();
        await delay(retryMs, undefined, { signal: this.#stopping.signal });
      }
    }
  }

  #startProbes(slot: ContainerSlot): ContainerProbes {
    return new ContainerProbes(slot, {
      network: this.#services.probeAction(this.#node, this.#network?.ips[0] ?? ""),
      exec: async (command, timeoutMs) => {
        const { pid, prefix } = this.planJoin(slot.container.name);
        return await runCommand(joinArgv(pid, [...prefix, ...command]), { timeoutMs }).then(
          () => true,
          () => false,
        );
      },
      onChange: () => this.#writeStatus(),
      onFailed: () => void slot.process?.stop(this.#graceMs),
    });
  }

  get #graceMs(): number {
    const seconds =
      this.#current().metadata.deletionGracePeriodSeconds ??
      this.#pod.spec?.terminationGracePeriodSeconds ??
      defaultGraceSeconds;
    return seconds * 1000;
  }

  #current(): Pod {
    const found = this.#services.store.find(podKind, this.#pod.metadata.namespace, this.#pod.metadata.name);
    if (found?.metadata.uid === this.uid) this.#pod = found;
    return this.#pod;
  }

  #writeStatus(): void {
    const { metadata } = this.#current();
    const { conditions, ...merge } = planPodStatus({
      pod: this.#pod,
      podIps: this.#network?.ips ?? [],
      hostIp: this.#node.addresses[0]?.nodeIp ?? "",
      startTime: this.#startTime,
      initialized: this.#initialized,
      stopping: this.#stopping.signal.aborted,
      problem: this.#problem,
      initSlots: this.#initSlots,
      slots: this.#slots,
    });
    const found = this.#services.store.find(podKind, metadata.namespace, metadata.name);
    if (found?.metadata.uid !== this.uid) return;
    const { namespace = "default", name } = metadata;
    this.#services.statusWriter.write({
      apiVersion: "v1",
      kind: "Pod",
      namespace,
      name,
      manager: "kubelet",
      ...(conditions === undefined ? {} : { conditions }),
      merge,
    });
  }

  #spawnTask(task: Promise<void>): void {
    const tracked = task
      .catch((error: unknown) => {
        if (this.#stopping.signal.aborted) return;
        this.#problem = errorMessage(error);
        this.#services.logger.error("pod failed", { pod: this.#pod.metadata.name, error: this.#problem });
        this.#writeStatus();
      })
      .finally(() => this.#tasks.delete(tracked));
    this.#tasks.add(tracked);
  }

  async #stopAll(): Promise<void> {
    const graceMs = this.#graceMs;
    this.#stopping.abort();
    this.#writeStatus();
    await Promise.all(this.#slots.map(async (slot) => await slot.process?.stop(graceMs)));
    await Promise.all(this.#initSlots.map(async (slot) => await slot.process?.stop(graceMs)));
    await Promise.allSettled(this.#tasks);
    await this.#services.hooks.afterStop(this.#current()).catch((error: unknown) => {
      this.#services.logger.warn("capture did not let go of a pod", { error: errorMessage(error) });
    });
    await this.#services.fabric.detachPod(this.uid);
    for (const slot of [...this.#initSlots, ...this.#slots]) slot.log.close();
    this.#content.remove();
    rmSync(join(this.#services.directories.logs, this.uid), { recursive: true, force: true });
  }
}

/** The command that joins a container and runs a program there. */
export function joinArgv(pid: number, argv: readonly string[]): readonly string[] {
  return ["nsenter", `--target=${pid}`, "--mount", "--uts", "--ipc", "--net", "--pid", "--", ...argv];
}
