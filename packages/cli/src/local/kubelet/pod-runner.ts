// One pod's life: network → capture → init containers → containers, restarted by policy → stop. One owner for everything a
// pod has; whatever happens, stop() releases it.

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { errorMessage } from "@hairpin/shared/process";
import type { FabricNode, PodNetwork } from "../fabric/fabric.ts";
import { runCommand } from "../fabric/run-command.ts";
import { nodeKind, podKind, serviceAccountKind } from "../object/kinds.ts";
import type { Container, Pod } from "../object/kubernetes-object.ts";
import { ContainerConfigError, containerEnvironment, expandVariables } from "./container-environment.ts";
import { startContainer } from "./container-process.ts";
import { type ContainerIdentity, type ContainerPlan, containerScript, programArgv } from "./container-script.ts";
import { ContainerSlot } from "./container-slot.ts";
import { LogFile } from "./log-file.ts";
import { hostnameOf, hostsFile, resolvConf } from "./pod-files.ts";
import type { PartRuntime, PodServices } from "./pod-services.ts";
import { planPodStatus } from "./pod-status.ts";
import { volumeMounts, writeVolumes } from "./pod-volumes.ts";
import { ProbeLoop } from "./probe-runner.ts";

/** Wait before a container starts again: doubled from the first to the last value, and back after a quiet while. */
const firstBackoffMs = 500;
const lastBackoffMs = 30_000;
const backoffResetMs = 60_000;
/** Wait before an attempt that failed for want of something (network, ConfigMap, ztunnel) is repeated; doubled each time. */
const firstRetryMs = 50;
const lastRetryMs = 1000;
const defaultGraceSeconds = 30;
/** Whom a pod's programs run as when nothing else is said: nobody. */
const nobody = 65_534;

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
  readonly #part: PartRuntime | undefined;
  readonly #directory: string;
  readonly #stopping = new AbortController();
  readonly #initSlots: readonly ContainerSlot[];
  readonly #slots: readonly ContainerSlot[];
  readonly #tasks = new Set<Promise<void>>();
  readonly #startTime = new Date();
  #pod: Pod;
  #network: PodNetwork | undefined;
  #initialized = false;
  #problem: string | undefined;
  #renewal: NodeJS.Timeout | undefined;
  #stopped: Promise<void> | undefined;

  constructor(pod: Pod, node: FabricNode, services: PodServices) {
    this.#pod = pod;
    this.uid = pod.metadata.uid ?? "";
    this.#node = node;
    this.#services = services;
    this.#part = services.partOf(pod);
    this.#directory = join(services.directories.pods, this.uid);
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
    const environment = this.#environmentOf(slot.container);
    const prefix = programArgv({ environment, identity: this.#identityOf(slot.container), argv: [] });
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
    for (const probe of probes) probe.stop();
    slot.ended(exit);
    this.#writeStatus();
    return slot.finishedWith !== 0;
  }

  async #startWhenPossible(slot: ContainerSlot): ReturnType<typeof startContainer> {
    for (let retryMs = firstRetryMs; ; retryMs = Math.min(retryMs * 2, lastRetryMs)) {
      try {
        const scriptPath = this.#writeContainer(slot.container);
        return await startContainer({
          sandboxPid: this.#services.sandboxPid,
          netnsPath: this.#network?.netnsPath ?? "",
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

  /** Writes what the container needs; the path of its script. */
  #writeContainer(container: Container): string {
    const folder = join(this.#directory, "container", container.name);
    const stage = { run: join(folder, "run"), tmp: join(folder, "tmp") };
    for (const path of [stage.run, stage.tmp]) mkdirSync(path, { recursive: true });
    this.#writeVolumes();
    const environment = this.#environmentOf(container);
    const expand = (words: readonly string[] | undefined): readonly string[] =>
      (words ?? []).map((word) => expandVariables(word, environment));
    const plan: ContainerPlan = {
      hostname: hostnameOf(this.#pod),
      stage,
      mounts: [...this.#nameFiles(), ...volumeMounts(container, this.#pod, this.#volumeDirectory), ...this.#partMounts],
      hidden: this.#services.hiddenPaths,
      nodePath: this.#services.nodePath,
      identity: this.#identityOf(container),
      environment,
      workingDirectory: container.workingDir ?? "/",
      argv: [...expand(container.command), ...expand(container.args)],
    };
    const path = join(folder, "start.sh");
    writeFileSync(path, containerScript(plan), { mode: 0o600 });
    return path;
  }

  get #volumeDirectory(): string {
    return join(this.#directory, "volumes");
  }

  get #partMounts(): PartRuntime["mounts"] {
    return this.#part?.mounts ?? [];
  }

  #nameFiles(): ContainerPlan["mounts"] {
    const { clusterDnsIps, clusterDomain, resolvConfTarget } = this.#services;
    const folder = join(this.#directory, "etc");
    mkdirSync(folder, { recursive: true });
    const namespace = this.#pod.metadata.namespace ?? "default";
    const nameservers = clusterDnsIps;
    writeFileSync(join(folder, "resolv.conf"), resolvConf(namespace, { nameservers, clusterDomain }));
    writeFileSync(join(folder, "hosts"), hostsFile(this.#pod, this.#network?.ips ?? []));
    return [
      { source: join(folder, "resolv.conf"), target: resolvConfTarget, readOnly: true, isFile: true },
      { source: join(folder, "hosts"), target: "/etc/hosts", readOnly: true, isFile: true },
    ];
  }

  #writeVolumes(): void {
    const owner = this.#identityOf(this.#pod.spec?.containers[0] ?? { name: "" }).user;
    const renewInMs = writeVolumes({
      pod: this.#pod,
      view: this.#services.store,
      directory: this.#volumeDirectory,
      owner,
      issueToken: (audience, lifetimeSeconds) => this.#issueToken(audience, lifetimeSeconds),
    });
    clearTimeout(this.#renewal);
    if (renewInMs === undefined) return;
    this.#renewal = setTimeout(() => this.#renewVolumes(), renewInMs);
  }

  #renewVolumes(): void {
    try {
      this.#writeVolumes();
    } catch (error) {
      this.#services.logger.error("cannot renew tokens", { pod: this.#pod.metadata.name, error: errorMessage(error) });
    }
  }

  #issueToken(audience: string, lifetimeSeconds: number): { token: string; expiresAt: Date } {
    const { store, tokenIssuer } = this.#services;
    const { namespace = "default", name } = this.#pod.metadata;
    const accountName = this.#pod.spec?.serviceAccountName ?? "default";
    const account = store.find(serviceAccountKind, namespace, accountName);
    if (account === undefined) throw new ContainerConfigError(`there is no ServiceAccount ${accountName}`);
    const node = store.find(nodeKind, undefined, this.#node.name);
    const subject = {
      namespace,
      serviceAccount: { name: accountName, uid: account.metadata.uid ?? "" },
      pod: { name, uid: this.uid },
      node: { name: this.#node.name, uid: node?.metadata.uid ?? "" },
    };
    return tokenIssuer.issue(subject, { audience, lifetimeSeconds });
  }

  #environmentOf(container: Container): Readonly<Record<string, string>> {
    const facts = { podIps: this.#network?.ips ?? [], hostIp: this.#node.addresses[0]?.nodeIp ?? "" };
    return containerEnvironment(container, this.#pod, this.#services.store, facts);
  }

  #identityOf(container: Container): ContainerIdentity {
    const capabilities = this.#part?.capabilities ?? [];
    if (!this.#services.canChangeUser || this.#part?.asMeshUser === true) return { capabilities };
    const own = container.securityContext;
    const shared = this.#pod.spec?.securityContext;
    const uid = own?.runAsUser ?? shared?.runAsUser ?? nobody;
    const gid = own?.runAsGroup ?? shared?.runAsGroup ?? nobody;
    return { user: { uid, gid }, capabilities };
  }

  #startProbes(slot: ContainerSlot): readonly ProbeLoop[] {
    const { startupProbe, readinessProbe, livenessProbe } = slot.container;
    const action = this.#services.probeAction(this.#node, this.#network?.ips[0] ?? "");
    const loops: ProbeLoop[] = [];
    const act: typeof action = async (probe, timeoutMs) =>
      probe.exec === undefined
        ? await action(this.#named(probe, slot), timeoutMs)
        : await this.#probeByExec(slot, probe, timeoutMs);
    const restart = (): void => void slot.process?.stop(this.#graceMs);
    const begin = (): void => {
      slot.started = true;
      slot.ready = readinessProbe === undefined;
      if (readinessProbe !== undefined)
        loops.push(
          new ProbeLoop({
            probe: readinessProbe,
            act,
            eager: true,
            onVerdict: (verdict) => {
              slot.ready = verdict === "pass" && slot.isRunning;
              this.#writeStatus();
            },
          }),
        );
      if (livenessProbe !== undefined)
        loops.push(
          new ProbeLoop({
            probe: livenessProbe,
            act,
            eager: false,
            onVerdict: (verdict) => (verdict === "fail" ? restart() : undefined),
          }),
        );
    };
    if (startupProbe === undefined) begin();
    else {
      const startup = new ProbeLoop({
        probe: startupProbe,
        act,
        eager: false,
        onVerdict: (verdict) => {
          startup.stop();
          if (verdict === "fail") return restart();
          begin();
          this.#writeStatus();
        },
      });
      loops.push(startup);
    }
    return loops;
  }

  /** A probe with the number of a named port. */
  #named(probe: NonNullable<Container["readinessProbe"]>, slot: ContainerSlot): typeof probe {
    const number = (port: number | string): number | string =>
      slot.container.ports?.find((candidate) => candidate.name === port)?.containerPort ?? port;
    if (probe.httpGet !== undefined)
      return { ...probe, httpGet: { ...probe.httpGet, port: number(probe.httpGet.port) } };
    if (probe.tcpSocket !== undefined)
      return { ...probe, tcpSocket: { ...probe.tcpSocket, port: number(probe.tcpSocket.port) } };
    return probe;
  }

  async #probeByExec(
    slot: ContainerSlot,
    probe: { exec?: { command?: readonly string[] } },
    timeoutMs: number,
  ): Promise<boolean> {
    const { pid, prefix } = this.planJoin(slot.container.name);
    const argv = joinArgv(pid, [...prefix, ...(probe.exec?.command ?? [])]);
    return await runCommand(argv, { timeoutMs }).then(
      () => true,
      () => false,
    );
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
    clearTimeout(this.#renewal);
    this.#writeStatus();
    await Promise.all(this.#slots.map(async (slot) => await slot.process?.stop(graceMs)));
    await Promise.all(this.#initSlots.map(async (slot) => await slot.process?.stop(graceMs)));
    await Promise.allSettled(this.#tasks);
    await this.#services.hooks.afterStop(this.#current()).catch((error: unknown) => {
      this.#services.logger.warn("capture did not let go of a pod", { error: errorMessage(error) });
    });
    await this.#services.fabric.detachPod(this.uid);
    for (const slot of [...this.#initSlots, ...this.#slots]) slot.log.close();
    rmSync(this.#directory, { recursive: true, force: true });
    rmSync(join(this.#services.directories.logs, this.uid), { recursive: true, force: true });
  }
}

/** The command that joins a container and runs a program there. */
export function joinArgv(pid: number, argv: readonly string[]): readonly string[] {
  return ["nsenter", `--target=${pid}`, "--mount", "--uts", "--ipc", "--net", "--pid", "--", ...argv];
}
