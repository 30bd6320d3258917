// What a pod's containers are made of: scripts, volumes, tokens, name files, environment. Files of one pod, in one folder.

import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { errorMessage } from "@hairpin/shared/process";
import type { FabricNode, PodNetwork } from "../fabric/fabric.ts";
import { nodeKind, serviceAccountKind } from "../object/kinds.ts";
import type { Container, Pod } from "../object/kubernetes-object.ts";
import { ContainerConfigError, containerEnvironment, expandVariables } from "./container-environment.ts";
import { type ContainerIdentity, type ContainerMount, containerScript, programArgv } from "./container-script.ts";
import { hostnameOf, hostsFile, resolvConf } from "./pod-files.ts";
import type { PartRuntime, PodServices } from "./pod-services.ts";
import { programMount } from "../part/mesh-part-pod.ts";
import { volumeMounts, writeVolumes } from "./pod-volumes.ts";

/** Whom a pod's programs run as when nothing else is said: nobody. */
const nobody = 65_534;

export class PodContent {
  readonly #pod: Pod;
  readonly #node: FabricNode;
  readonly #services: PodServices;
  readonly #part: PartRuntime | undefined;
  readonly #directory: string;
  readonly #volumes: string;
  #renewal: NodeJS.Timeout | undefined;

  constructor(pod: Pod, node: FabricNode, services: PodServices) {
    this.#pod = pod;
    this.#node = node;
    this.#services = services;
    this.#part = services.partOf(pod);
    this.#directory = join(services.directories.pods, pod.metadata.uid ?? "");
    this.#volumes = join(this.#directory, "volumes");
  }

  /** Writes what a container needs; the path of its script. Throws `ContainerConfigError` when something is not there yet. */
  writeContainer(container: Container, network: PodNetwork): string {
    const folder = join(this.#directory, "container", container.name);
    const stage = { run: join(folder, "run"), tmp: join(folder, "tmp") };
    for (const path of [stage.run, stage.tmp]) mkdirSync(path, { recursive: true });
    this.#writeVolumes();
    const environment = this.#environmentOf(container, network);
    const expand = (words: readonly string[] = []): readonly string[] =>
      words.map((word) => expandVariables(word, environment));
    const script = containerScript({
      hostname: hostnameOf(this.#pod),
      stage,
      mounts: [
        programMount,
        ...this.#nameFiles(network),
        ...volumeMounts(container, this.#pod, this.#volumes),
        ...(this.#part?.mounts ?? []),
      ],
      hidden: this.#services.hiddenPaths,
      nodePath: this.#services.nodePath,
      identity: this.#identityOf(container),
      environment,
      workingDirectory: container.workingDir ?? "/",
      argv: [...expand(container.command), ...expand(container.args)],
    });
    const path = join(folder, "start.sh");
    writeFileSync(path, script, { mode: 0o600 });
    return path;
  }

  /** The command before a program that joins a running container: the same environment and user, the same lack of privileges. */
  joinPrefix(container: Container, network: PodNetwork): readonly string[] {
    const environment = this.#environmentOf(container, network);
    return programArgv({ environment, identity: this.#identityOf(container), argv: [] });
  }

  /** Removes everything that was written. */
  remove(): void {
    clearTimeout(this.#renewal);
    rmSync(this.#directory, { recursive: true, force: true });
  }

  #nameFiles({ ips }: PodNetwork): readonly ContainerMount[] {
    const { clusterDnsIps, clusterDomain, resolvConfTarget } = this.#services;
    const folder = join(this.#directory, "etc");
    mkdirSync(folder, { recursive: true });
    const namespace = this.#pod.metadata.namespace ?? "default";
    writeFileSync(join(folder, "resolv.conf"), resolvConf(namespace, { nameservers: clusterDnsIps, clusterDomain }));
    writeFileSync(join(folder, "hosts"), hostsFile(this.#pod, ips));
    return [
      { source: join(folder, "resolv.conf"), target: resolvConfTarget, readOnly: true, isFile: true },
      { source: join(folder, "hosts"), target: "/etc/hosts", readOnly: true, isFile: true },
    ];
  }

  #writeVolumes(): void {
    const renewInMs = writeVolumes({
      pod: this.#pod,
      view: this.#services.store,
      directory: this.#volumes,
      owner: this.#identityOf(this.#pod.spec?.containers[0] ?? { name: "" }).user,
      issueToken: (audience, lifetimeSeconds) => this.#issueToken(audience, lifetimeSeconds),
    });
    clearTimeout(this.#renewal);
    if (renewInMs !== undefined) this.#renewal = setTimeout(() => this.#renewVolumes(), renewInMs);
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
    const { namespace = "default", name, uid = "" } = this.#pod.metadata;
    const accountName = this.#pod.spec?.serviceAccountName ?? "default";
    const account = store.find(serviceAccountKind, namespace, accountName);
    if (account === undefined) throw new ContainerConfigError(`there is no ServiceAccount ${accountName}`);
    const node = store.find(nodeKind, undefined, this.#node.name);
    const subject = {
      namespace,
      serviceAccount: { name: accountName, uid: account.metadata.uid ?? "" },
      pod: { name, uid },
      node: { name: this.#node.name, uid: node?.metadata.uid ?? "" },
    };
    return tokenIssuer.issue(subject, { audience, lifetimeSeconds });
  }

  #environmentOf(container: Container, { ips }: PodNetwork): Readonly<Record<string, string>> {
    const facts = { podIps: ips, hostIp: this.#node.addresses[0]?.nodeIp ?? "" };
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
}
