import { type Clock, type Component, backoffMs, delay, errorCode, errorMessage } from "../process/index.ts";
import type { Logger } from "../telemetry/index.ts";
import type { KubernetesObject } from "./kubernetes-object.ts";
import type { KubernetesApi, ResourceKind, Selection, WatchEvent } from "./api-client.ts";
import type { WatchMetrics } from "./watch-metrics.ts";

/** Objects a page; a page is parsed in one turn of the event loop. */
const pageSize = 250;
/** A kind that is not served is looked for this often. */
const discoveryIntervalMs = 5_000;
/** The server sends a bookmark a minute; a watch that says nothing for this long is dead. */
const silenceMs = 150_000;
const retryBounds = { firstMs: 250, maxMs: 30_000 };

/** Told of every object of a kind; `replace` comes first. */
export interface ListWatchHandler<T> {
  /** Exactly these exist now: the end of a full listing. Nothing, when the kind is not served. */
  replace(objects: readonly T[]): void;
  put(object: T): void;
  remove(object: T): void;
}

export interface ListWatchOptions<T> {
  /** "" for the core group. The version is the server's preferred one. */
  readonly group: string;
  readonly kind: string;
  readonly selection?: Selection;
  /** Cuts an object down to what is used, before it is kept. Default: as it is. */
  readonly trim?: (object: T) => T;
  readonly handler: ListWatchHandler<T>;
}

export interface ListWatchComponents {
  readonly api: KubernetesApi;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics?: WatchMetrics;
  /** [0, 1), for the backoff. */
  readonly random?: () => number;
}

/**
 * Keeps a handler in step with one kind. A listing replaces what was known, so that what was deleted unseen goes; a broken
 * watch goes on from its last version; a kind that is not served counts as empty until it appears.
 * States: discovering -served-> listing -done-> watching -410-> listing; watching -kind gone-> discovering; any failure waits
 * and tries again; stop ends any of them.
 */
export class ListWatch<T extends KubernetesObject> implements Component {
  readonly name: string;
  readonly #components: ListWatchComponents;
  readonly #options: ListWatchOptions<T>;
  readonly #stopped = new AbortController();
  readonly #synced = Promise.withResolvers<void>();
  #version = "";
  #isServed: boolean | undefined;
  #running: Promise<void> = Promise.resolve();

  constructor(components: ListWatchComponents, options: ListWatchOptions<T>) {
    this.name = `watch of ${options.kind}`;
    this.#components = components;
    this.#options = options;
    this.#synced.promise.catch(() => undefined);
  }

  /** Resolves after the first listing; rejects when stopped before. */
  whenSynced(): Promise<void> {
    return this.#synced.promise;
  }

  async start(): Promise<void> {
    this.#running = this.#run();
    await Promise.resolve();
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    this.#synced.reject(new Error(`Stopped before ${this.#options.kind} was listed`));
    await this.#running;
  }

  get #isStopped(): boolean {
    return this.#stopped.signal.aborted;
  }

  async #run(): Promise<void> {
    for (let failures = 0; !this.#isStopped;) {
      try {
        const served = await this.#components.api.findServed(this.#options.group, this.#options.kind);
        this.#noteServed(served !== undefined);
        if (served === undefined) {
          failures = 0;
          await this.#pause(discoveryIntervalMs);
          continue;
        }
        await this.#list(served);
        const progressed = await this.#follow(served);
        failures = progressed ? 0 : failures + 1;
      } catch (error) {
        if (this.#isStopped) return;
        failures++;
        // A CRD that was deleted is no failure: discovery will say so, unless it lags.
        if (errorCode(error) !== "API_KIND_UNKNOWN") this.#report("objects could not be listed", error, failures);
      }
      if (failures > 0) await this.#pause(this.#backoffMs(failures));
    }
  }

  async #list(served: ResourceKind): Promise<void> {
    const { trim = (object: T) => object, handler, kind } = this.#options;
    this.#components.metrics?.listed(kind);
    const objects: T[] = [];
    for await (const page of this.#pages(served)) {
      // A token that expired between two pages starts over, in one page.
      if (page.restarted) objects.length = 0;
      for (const item of page.items) objects.push(trim(item));
      this.#version = page.resourceVersion;
    }
    if (this.#isStopped) return;
    handler.replace(objects);
    this.#synced.resolve();
  }

  async *#pages(
    served: ResourceKind,
  ): AsyncGenerator<{ readonly items: readonly T[]; readonly resourceVersion: string; readonly restarted: boolean }> {
    const { api } = this.#components;
    const { selection = {} } = this.#options;
    let continueToken: string | undefined;
    do {
      try {
        const page = await api.list<T>(served, {
          ...selection,
          limit: pageSize,
          ...(continueToken === undefined ? {} : { continueToken }),
        });
        yield { ...page, restarted: false };
        ({ continueToken } = page);
      } catch (error) {
        if (continueToken === undefined || errorCode(error) !== "API_EXPIRED") throw error;
        yield { ...(await api.list<T>(served, selection)), restarted: true };
        return;
      }
    } while (continueToken !== undefined && !this.#isStopped);
  }

  /** Watches until the version is too old; false when not one event came before that. Throws when the kind is gone. */
  async #follow(served: ResourceKind): Promise<boolean> {
    let progressed = false;
    for (let failures = 0; !this.#isStopped;) {
      const versionBefore = this.#version;
      try {
        await this.#watchOnce(served);
      } catch (error) {
        const code = errorCode(error);
        if (this.#isStopped) return true;
        if (code === "API_KIND_UNKNOWN") throw error;
        if (code === "API_EXPIRED") {
          this.#report("watch is too old, listing anew", error, failures);
          return progressed;
        }
        this.#report("watch broke", error, failures);
      }
      const heard = this.#version !== versionBefore;
      progressed ||= heard;
      failures = heard ? 0 : failures + 1;
      if (failures > 0) await this.#pause(this.#backoffMs(failures));
    }
    return true;
  }

  async #watchOnce(served: ResourceKind): Promise<void> {
    const { api, clock } = this.#components;
    const silence = new AbortController();
    const expectSound = () => clock.setTimer(silenceMs, () => silence.abort());
    let timer = expectSound();
    try {
      const watch = api.watch<T>(served, {
        ...this.#options.selection,
        resourceVersion: this.#version,
        signal: AbortSignal.any([this.#stopped.signal, silence.signal]),
      });
      for await (const event of watch) {
        if (this.#isStopped) return;
        timer.cancel();
        timer = expectSound();
        this.#take(event);
      }
    } finally {
      timer.cancel();
    }
    if (silence.signal.aborted) throw new Error(`The watch was silent for ${silenceMs / 1000} s`);
  }

  #take(event: WatchEvent<T>): void {
    const { trim = (object: T) => object, handler } = this.#options;
    if (event.type === "BOOKMARK") {
      this.#version = event.resourceVersion;
      return;
    }
    const object = trim(event.object);
    if (event.type === "DELETED") handler.remove(object);
    else handler.put(object);
    this.#version = event.object.metadata.resourceVersion ?? this.#version;
  }

  #noteServed(isServed: boolean): void {
    const { handler, kind, group } = this.#options;
    if (this.#isServed === isServed) return;
    const isFirst = this.#isServed === undefined;
    this.#isServed = isServed;
    if (isServed && !isFirst) this.#components.logger.info("kind is served now", { kind, group });
    if (isServed) return;
    this.#components.logger.info("kind is not served, looking for it", {
      kind,
      group,
      interval_ms: discoveryIntervalMs,
    });
    handler.replace([]);
    this.#synced.resolve();
  }

  #report(message: string, error: unknown, failures: number): void {
    const { kind } = this.#options;
    this.#components.metrics?.failed(kind, errorCode(error));
    this.#components.logger.warn(message, { kind, failures, error: errorMessage(error) });
  }

  #backoffMs(failures: number): number {
    return backoffMs(failures, retryBounds, this.#components.random ?? Math.random);
  }

  async #pause(ms: number): Promise<void> {
    await delay(this.#components.clock, ms, this.#stopped.signal).catch(() => undefined);
  }
}
