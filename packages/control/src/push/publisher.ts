// Hands a model to the xDS server so that the data plane never sees half a change: a waypoint knows what it will manage
// before anybody is sent to it, and forgets it only after nobody is sent to it any more (make before break).

import { setImmediate as nextTurn } from "node:timers/promises";
import { type Clock, type Timer, delay } from "@hairpin/shared/process";
import type { DeltaXdsServer, ServedResource } from "@hairpin/shared/xds";
import { gatewayNameLabel } from "../ambient/waypoint/waypoint-record.ts";
import { type Sliced, runInSlices } from "../collection/sliced.ts";
import { label } from "../collection/label-match.ts";
import type { MeshModel } from "../mesh-model.ts";
import type { WaypointResources } from "../gateway/waypoint-resources.ts";
import type { ClientRole } from "./client-role.ts";
import { ResourceEncoder, type ServedWaypoint } from "./served-resources.ts";
import { meshScope, typeUrls, waypointTypeUrls } from "./type-urls.ts";

/** Replicas that do not answer hold the rest of a push up for this long at most. */
const maxAckWaitMs = 50;
/** A waypoint keeps what it lost for this long: ztunnels and open connections still lead to it. */
const lingerMs = 1000;
/** A deleted Gateway's empty snapshot is kept for this long, so that its replicas are told. */
const retireMs = 60_000;
/** One turn of the event loop spends no longer on encoding. */
const encodeSliceMs = 10;

export class Publisher {
  readonly #server: DeltaXdsServer<ClientRole>;
  readonly #clock: Clock;
  readonly #encoder = new ResourceEncoder();
  /** By waypoint key: names of resources that are to go, and when. */
  readonly #scopes = new Map<string, WaypointScope>();

  constructor(components: { readonly server: DeltaXdsServer<ClientRole>; readonly clock: Clock }) {
    this.#server = components.server;
    this.#clock = components.clock;
  }

  /** Resolves when everything was handed over; one call at a time. */
  async publish(model: MeshModel): Promise<void> {
    const authorizations = await this.#encode(this.#encoder.authorizations(model.ambient));
    this.#server.publish(typeUrls.authorization, meshScope, authorizations);
    const waiting = new Set<string>();
    for (const [key, resources] of model.waypoints) {
      // Nothing of it changed: what is served and what lingers stay as they are.
      if (this.#scopes.get(key)?.published === resources) continue;
      const served = await this.#encode(this.#encoder.waypoint(resources));
      if (this.#publishWaypoint(resources, served)) waiting.add(key);
    }
    await this.#acknowledged(model, waiting);
    // Encoding thousands of workloads takes a while: what was published goes out first.
    await nextTurn();
    const addresses = await this.#encode(this.#encoder.addresses(model.ambient));
    this.#server.publish(typeUrls.address, meshScope, addresses);
    this.#emptyDeleted(model);
  }

  stop(): void {
    for (const scope of this.#scopes.values()) scope.timer?.cancel();
  }

  async #encode<T>(work: Sliced<T>): Promise<T> {
    const { value } = await runInSlices(work, { clock: this.#clock, sliceMs: encodeSliceMs });
    return value;
  }

  /** True when the waypoint was told something new. */
  #publishWaypoint(resources: WaypointResources, served: ServedWaypoint): boolean {
    const { key } = resources.record;
    const scope = this.#scopes.get(key) ?? newScope();
    this.#scopes.set(key, scope);
    scope.deletedAt = undefined;
    scope.published = resources;
    const wanted = new Map([
      [typeUrls.waypoint, served.waypoint],
      [typeUrls.waypointService, served.services],
      [typeUrls.waypointWorkload, served.workloads],
    ] as const);
    let isNews = false;
    for (const [typeUrl, current] of wanted) {
      const { all, hasNew } = this.#withLingering(scope, typeUrl, current);
      this.#server.publish(typeUrl, key, all);
      isNews ||= hasNew;
    }
    this.#scheduleSweep(key, scope);
    return isNews;
  }

  /** What is wanted now, and what was until a moment ago. */
  #withLingering(
    scope: WaypointScope,
    typeUrl: string,
    current: readonly ServedResource[],
  ): { readonly all: readonly ServedResource[]; readonly hasNew: boolean } {
    const before = scope.lingering.get(typeUrl) ?? new Map<string, Lingering>();
    const now = this.#clock.now();
    const next = new Map<string, Lingering>();
    let hasNew = false;
    for (const resource of current) {
      const held = before.get(resource.name);
      hasNew ||= held === undefined || !isSameResource(held.resource, resource);
      next.set(resource.name, { resource, until: Infinity });
    }
    for (const [name, { resource, until }] of before) {
      if (next.has(name)) continue;
      const end = Math.min(until, now + lingerMs);
      if (end > now) next.set(name, { resource, until: end });
    }
    scope.lingering.set(typeUrl, next);
    return { all: [...next.values()].map(({ resource }) => resource), hasNew };
  }

  /** Drops what has lingered long enough. */
  #scheduleSweep(key: string, scope: WaypointScope): void {
    const ends = [...scope.lingering.values()].flatMap((held) => [...held.values()].map(({ until }) => until));
    const next = Math.min(...ends, Infinity);
    scope.timer?.cancel();
    scope.timer = undefined;
    if (next === Infinity) return;
    scope.timer = this.#clock.setTimer(Math.max(0, next - this.#clock.now()), () => {
      const now = this.#clock.now();
      for (const [typeUrl, held] of scope.lingering) {
        const gone = [...held].filter(([, { until }]) => until <= now).map(([name]) => name);
        for (const name of gone) held.delete(name);
        if (gone.length > 0) this.#server.update(typeUrl, key, { removed: gone });
      }
      this.#scheduleSweep(key, scope);
    });
  }

  /** Replicas of a deleted Gateway lose everything, once nobody is sent to them any more. */
  #emptyDeleted(model: MeshModel): void {
    const now = this.#clock.now();
    for (const [key, scope] of this.#scopes) {
      if (model.waypoints.has(key)) continue;
      if (scope.deletedAt === undefined) {
        scope.deletedAt = now;
        scope.published = undefined;
        scope.timer?.cancel();
        scope.lingering.clear();
        for (const typeUrl of waypointTypeUrls) this.#server.publish(typeUrl, key, []);
      } else if (now - scope.deletedAt > retireMs) {
        this.#scopes.delete(key);
        for (const typeUrl of waypointTypeUrls) this.#server.retire(typeUrl, key);
      }
    }
  }

  /**
   * Waits until the replicas of these waypoints have acknowledged what they were sent, for a bounded time: the whole of it when
   * some are connected to another replica of control, which tells them meanwhile.
   */
  async #acknowledged(model: MeshModel, keys: ReadonlySet<string>): Promise<void> {
    const ready = readyReplicas(model, keys);
    const isDone = (): boolean => {
      const clients = this.#server
        .clients()
        .filter(({ principal }) => principal.waypointKey !== undefined && keys.has(principal.waypointKey));
      const connected = new Set(clients.map(({ principal }) => principal.podUid));
      return (
        ready.isSubsetOf(connected) &&
        clients.every(({ types }) =>
          types.filter(({ typeUrl }) => waypointTypeUrls.includes(typeUrl)).every(({ upToDate }) => upToDate),
        )
      );
    };
    if (keys.size === 0 || isDone()) return;
    const done = new AbortController();
    const forget = this.#server.onAck(() => {
      if (isDone()) done.abort();
    });
    // Aborted means acknowledged; the delay running out means that a replica is slow: either way the push goes on.
    await delay(this.#clock, maxAckWaitMs, done.signal).catch(() => undefined);
    forget();
  }
}

/** Uids of the ready pods of these waypoints. */
function readyReplicas({ ambient }: MeshModel, keys: ReadonlySet<string>): ReadonlySet<string> {
  const replicas = [...keys].flatMap((key) => {
    const [namespace = "", name] = key.split("/");
    const pods = ambient.namespaces.get(namespace)?.pods ?? [];
    return pods.filter(({ record: { pod, healthy } }) => healthy && label(pod, gatewayNameLabel) === name);
  });
  return new Set(replicas.map(({ record }) => record.pod.metadata.uid ?? ""));
}

function isSameResource(a: ServedResource, b: ServedResource): boolean {
  return a === b || Buffer.compare(a.body, b.body) === 0;
}

interface Lingering {
  readonly resource: ServedResource;
  /** On the clock; Infinity while it is wanted. */
  readonly until: number;
}

interface WaypointScope {
  /** By type URL, then name. */
  readonly lingering: Map<string, Map<string, Lingering>>;
  timer: Timer | undefined;
  deletedAt: number | undefined;
  /** Undefined once it is deleted. */
  published: WaypointResources | undefined;
}

function newScope(): WaypointScope {
  return { lingering: new Map(), timer: undefined, deletedAt: undefined, published: undefined };
}
