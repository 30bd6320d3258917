import { type Component, errorMessage } from "@hairpin/shared/process";
import type { ListWatchComponents } from "@hairpin/shared/kubernetes";
import { gatewayNameLabel, managedLabel, waypointName } from "../ambient/waypoint/waypoint-record.ts";
import type { Condition, Gateway, Pod } from "../collection/kubernetes-object.ts";
import { label } from "../collection/label-match.ts";
import type { ObjectCollection } from "../collection/object-collection.ts";
import { Recomputation } from "../collection/recomputation.ts";
import type { StatusSink } from "../status/status-writer.ts";
import type { Leadership } from "../status/leadership.ts";
import { ManagedObjects, gatewayKeyOf } from "./managed-objects.ts";
import { OverlaySources } from "./overlay-sources.ts";
import { planWaypoint } from "./plan-waypoint.ts";
import { type ApplyResult, WaypointApplier, isOwnedBy } from "./waypoint-applier.ts";
import { type WaypointRuntime, isDeployedGateway } from "./waypoint-objects.ts";
import { type WaypointStatus, appliedCondition, describeWaypoint } from "./waypoint-status.ts";
import { WorkQueue } from "./work-queue.ts";

/** Owner of what is said on a Gateway; control's other conditions have another. */
export const statusManager = "hairpin-deployer";
const gatewaysAtOnce = 4;

export interface WaypointDeployerComponents extends ListWatchComponents {
  readonly objects: ObjectCollection;
  readonly statuses: StatusSink;
  readonly leadership: Leadership;
}

export interface WaypointDeployerOptions {
  readonly runtime: WaypointRuntime;
  readonly rootNamespace: string;
  readonly clusterDomain: string;
}

/**
 * Deploys the waypoint of each Gateway of class `istio-waypoint`: makes its objects, mends them when somebody changes them, deletes them
 * with it, and says on the Gateway how it is. Only the leader writes.
 */
export class WaypointDeployer implements Component {
  readonly name = "waypoint deployer";
  readonly #components: WaypointDeployerComponents;
  readonly #options: WaypointDeployerOptions;
  readonly #managed: ManagedObjects;
  readonly #overlays: OverlaySources;
  readonly #applier: WaypointApplier;
  readonly #objectsQueue: WorkQueue;
  readonly #statusQueue: WorkQueue;
  readonly #round: Recomputation;
  /** By Gateway: how the last attempt ended. */
  readonly #results = new Map<string, ApplyResult>();
  /** By Gateway: its text when it was last brought to the queue. */
  readonly #queued = new Map<string, string>();
  #endings: readonly (() => void)[] = [];
  #isSynced = false;

  constructor(components: WaypointDeployerComponents, options: WaypointDeployerOptions) {
    this.#components = components;
    this.#options = options;
    this.#managed = new ManagedObjects(components, (key) => this.#addObjects(key));
    this.#overlays = new OverlaySources(components, {
      rootNamespace: options.rootNamespace,
      onChange: () => this.#lookAtAllAgain(),
    });
    this.#applier = new WaypointApplier(components, this.#managed);
    const concurrency = gatewaysAtOnce;
    this.#objectsQueue = new WorkQueue(components, { work: (key) => this.#bringObjects(key), concurrency });
    this.#statusQueue = new WorkQueue(components, { work: (key) => this.#writeStatus(key), concurrency });
    this.#round = new Recomputation({ clock: components.clock, work: async () => await this.#lookAtAll() });
  }

  async start(): Promise<void> {
    const { leadership, objects } = this.#components;
    this.#endings = [objects.onChange(() => this.#round.request()), leadership.onChange(() => this.#lookAtAllAgain())];
    const synced = (): void => {
      this.#isSynced = true;
      this.#round.request();
    };
    Promise.all([this.#managed.whenSynced(), this.#overlays.whenSynced()]).then(synced, () => undefined);
    await Promise.all([this.#managed.start(), this.#overlays.start()]);
  }

  async stop(): Promise<void> {
    for (const end of this.#endings) end();
    await this.#round.stop();
    await Promise.all([this.#managed.stop(), this.#overlays.stop()]);
    await Promise.all([this.#objectsQueue.stop(), this.#statusQueue.stop()]);
  }

  /** Half a picture would make us delete what we have not seen the reason for. */
  get #mayWrite(): boolean {
    return this.#isSynced && this.#components.objects.synced && this.#components.leadership.leading;
  }

  #addObjects(key: string): void {
    if (this.#mayWrite) this.#objectsQueue.add(key);
  }

  #lookAtAllAgain(): void {
    this.#queued.clear();
    this.#round.request();
  }

  async #lookAtAll(): Promise<number> {
    if (!this.#mayWrite) return 0;
    const { clock, objects } = this.#components;
    const begin = clock.now();
    const gateways = objects.snapshot().list("Gateway").filter(isDeployedGateway);
    const keys = new Set(gateways.map(keyOf));
    for (const gateway of gateways) {
      const key = keyOf(gateway);
      const { apiVersion, metadata, spec } = gateway;
      const { labels, annotations, uid } = metadata;
      const text = JSON.stringify({ apiVersion, labels, annotations, uid, spec });
      if (this.#queued.get(key) !== text) this.#objectsQueue.add(key);
      this.#queued.set(key, text);
      if (this.#statusToWrite(gateway) !== undefined) this.#statusQueue.add(key);
    }
    for (const key of this.#queued.keys()) if (!keys.has(key)) this.#forget(key);
    for (const object of this.#managed.list()) {
      const key = gatewayKeyOf(object);
      if (!keys.has(key)) this.#objectsQueue.add(key);
    }
    const busyMs = clock.now() - begin;
    await this.#overlays.follow(gateways);
    return busyMs;
  }

  #forget(key: string): void {
    this.#queued.delete(key);
    this.#results.delete(key);
  }

  #findGateway(key: string): Gateway | undefined {
    const [namespace = "", name = ""] = key.split("/");
    return this.#components.objects.snapshot().find("Gateway", namespace, name);
  }

  async #bringObjects(key: string): Promise<void> {
    if (!this.#mayWrite) return;
    const gateway = this.#findGateway(key);
    if (gateway?.metadata.deletionTimestamp !== undefined) return;
    if (gateway === undefined || !isDeployedGateway(gateway)) return await this.#removeObjects(key, gateway);
    const { result, mayPass } = await this.#apply(gateway);
    this.#results.set(key, result);
    if (this.#statusToWrite(gateway) !== undefined) this.#statusQueue.add(key);
    // Nobody tells us when the obstacle is gone: a quota, a webhook, somebody else's object.
    if (mayPass) throw new Error(result.problem ?? `${result.taken.join(", ")} is not ours`);
    if (result.problem !== undefined)
      this.#components.logger.warn("waypoint not as asked", { gateway: key, problem: result.problem });
  }

  /** A wish that cannot be met leaves everything as it is. */
  async #apply(gateway: Gateway): Promise<{ readonly result: ApplyResult; readonly mayPass: boolean }> {
    const key = keyOf(gateway);
    let wanted: ReturnType<typeof planWaypoint>;
    try {
      await this.#overlays.follow(this.#components.objects.snapshot().list("Gateway").filter(isDeployedGateway));
      wanted = planWaypoint(gateway, this.#options.runtime, await this.#overlays.overlaysOf(gateway));
    } catch (error) {
      const { taken = [] } = this.#results.get(key) ?? {};
      return { result: { taken, problem: errorMessage(error) }, mayPass: false };
    }
    const result = await this.#applier.apply(key, gateway.metadata.uid ?? "", wanted);
    return { result, mayPass: result.taken.length > 0 || result.problem !== undefined };
  }

  /** Objects of a Gateway that is not ours to deploy any more, and those of one that is gone which the garbage collector does not see. */
  async #removeObjects(key: string, gateway: Gateway | undefined): Promise<void> {
    const objects = this.#managed.listOf(key);
    if (gateway !== undefined) {
      const { uid = "" } = gateway.metadata;
      return await this.#applier.delete(objects.filter((object) => isOwnedBy(object, uid)));
    }
    const orphans = objects.filter(({ metadata }) => (metadata.ownerReferences ?? []).length === 0);
    if (orphans.length === 0) return;
    const [namespace = "", name = ""] = key.split("/");
    const served = await this.#components.api.findServed("gateway.networking.k8s.io", "Gateway");
    // Without the kind nothing can be known of its objects.
    if (served === undefined || (await this.#components.api.get({ ...served, namespace, name })) !== undefined) return;
    await this.#applier.delete(orphans);
  }

  /** Undefined: the Gateway says it already. */
  #statusToWrite(gateway: Gateway): WaypointStatus | undefined {
    const result = this.#results.get(keyOf(gateway));
    // Nothing is said before the objects were looked at: an earlier control's word stands.
    if (result === undefined) return undefined;
    const { objects } = this.#components;
    const snapshot = objects.snapshot();
    const namespace = gateway.metadata.namespace ?? "";
    const replicas = snapshot.listIn("Pod", namespace).filter((pod) => isReplicaOf(gateway, pod));
    const service = snapshot.find("Service", namespace, waypointName(gateway));
    const isOurs = service !== undefined && label(service, managedLabel) !== undefined && result.taken.length === 0;
    const { clusterIP, clusterIPs } = service?.spec ?? {};
    const ips = clusterIPs ?? (clusterIP === undefined ? [] : [clusterIP]);
    const state = {
      replicas: replicas.length,
      ready: replicas.filter(isReady).length,
      clusterIps: isOurs ? ips.filter((ip) => ip !== "" && ip !== "None") : [],
      ...result,
    };
    const status = describeWaypoint(gateway, state, this.#options.clusterDomain);
    return isShown(gateway, status) ? undefined : status;
  }

  async #writeStatus(key: string): Promise<void> {
    const gateway = this.#mayWrite ? this.#findGateway(key) : undefined;
    if (gateway === undefined || !isDeployedGateway(gateway)) return;
    const status = this.#statusToWrite(gateway);
    if (status === undefined) return;
    const { apiVersion, kind, metadata } = gateway;
    const { name, namespace, generation } = metadata;
    await this.#components.statuses.write({
      apiVersion,
      kind,
      name,
      ...(namespace === undefined ? {} : { namespace }),
      manager: statusManager,
      conditions: status.conditions.map((condition): Condition => ({
        ...condition,
        ...(generation === undefined ? {} : { observedGeneration: generation }),
      })),
      ...addressesOf(gateway, status),
    });
  }
}

/** Addresses that were given stay, also in a write that has nothing new to say of them: one manager's word is one whole. */
function addressesOf(
  { status: shown }: Gateway,
  { addresses }: WaypointStatus,
): { readonly merge?: { readonly addresses: unknown } } {
  const kept = addresses ?? shown?.addresses;
  return kept === undefined || kept.length === 0 ? {} : { merge: { addresses: kept } };
}

function isReplicaOf(gateway: Gateway, pod: Pod): boolean {
  return label(pod, gatewayNameLabel) === gateway.metadata.name && label(pod, managedLabel) !== undefined;
}

function isReady({ metadata, status }: Pod): boolean {
  const isDeleted = metadata.deletionTimestamp !== undefined;
  return (
    !isDeleted && (status?.conditions?.some(({ type, status: held }) => type === "Ready" && held === "True") ?? false)
  );
}

function isShown({ metadata, status: shown }: Gateway, { conditions, addresses }: WaypointStatus): boolean {
  const held = shown?.conditions ?? [];
  const sameConditions = conditions.every((wanted) =>
    held.some(
      ({ type, status, reason, message, observedGeneration }) =>
        type === wanted.type &&
        status === wanted.status &&
        reason === wanted.reason &&
        message === wanted.message &&
        (metadata.generation === undefined || observedGeneration === metadata.generation),
    ),
  );
  const isStale = held.some(
    ({ type }) => type === appliedCondition && !conditions.some((wanted) => wanted.type === type),
  );
  const sameAddresses = addresses === undefined || JSON.stringify(shown?.addresses) === JSON.stringify(addresses);
  return sameConditions && !isStale && sameAddresses;
}

function keyOf({ metadata }: Gateway): string {
  return `${metadata.namespace ?? ""}/${metadata.name}`;
}
