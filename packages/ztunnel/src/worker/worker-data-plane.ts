import { type MeshState, type MeshUpdate, meshUpdateOf, sliceMeshUpdate, wholeMesh } from "@hairpin/shared/discovery";
import type { CertificateStore } from "@hairpin/shared/identity";
import { backoffMs, type Clock, delay, errorMessage, type Timer } from "@hairpin/shared/process";
import type { CounterHandle, MetricRegistry, RootLogger } from "@hairpin/shared/telemetry";
import { countDroppedLogLines } from "@hairpin/shared/telemetry";
import type { ZtunnelConfig } from "../config.ts";
import { mergeConnections, type NodeConnections } from "../connection-table.ts";
import type { DataPlane, DrainReport } from "../data-plane.ts";
import { LocalIdentities } from "../local-identities.ts";
import type { PodMetrics } from "../pod-metrics.ts";
import { ZtunnelError } from "../response-flag.ts";
import type { LogBatch, WorkerFailure } from "./messages.ts";
import { MetricIntake } from "./metric-intake.ts";
import { WorkerPods } from "./worker-pods.ts";
import { startWorkerThread, type WorkerEnd, type WorkerServices, type WorkerThread } from "./worker-thread.ts";

export interface WorkerDataPlaneComponents {
  readonly mesh: MeshState;
  readonly store: CertificateStore;
  readonly clock: Clock;
  readonly logger: RootLogger;
  readonly metrics: MetricRegistry;
  readonly podMetrics: PodMetrics;
  /** Called when a pod may have begun or ceased to be served. */
  onPodsChange(): void;
}

/** The wait before a worker that ended is started again; a worker that lived this long begins with the first again. */
const restartBounds = { firstMs: 100, maxMs: 10_000 };
const healthyAfterMs = 60_000;
/** Workloads and services that a worker applies in one turn of its loop: some 5 ms. */
const maxUpdateSize = 512;
/** A scrape waits this long for answers. */
const answerTimeoutMs = 2000;
/** A worker may just be starting, on a busy machine, before it hears that it should end. */
const stopTimeoutMs = 20_000;

interface Slot {
  readonly number: number;
  thread: WorkerThread | undefined;
  intake: MetricIntake;
  /** Settles when the worker has applied the last update that it was sent. */
  followed: Promise<void>;
  startedAt: number;
  failures: number;
  restart: Timer | undefined;
}

/**
 * The data plane in worker threads. Each worker has the whole mesh, its own listeners in every pod, its own sessions and TLS
 * contexts; the kernel spreads connections over them. Here are what there is one of: the mesh, certificates, the netns of the
 * pods, the metrics and the log.
 *
 * States of a worker: started (it has the whole mesh first of all) → serving (listens for every pod) → gone: its connections
 * end, the others serve on, and it is started again unless the process ends.
 */
export class WorkerDataPlane implements DataPlane {
  readonly pods: WorkerPods;
  readonly #config: ZtunnelConfig;
  readonly #components: WorkerDataPlaneComponents;
  readonly #slots: readonly Slot[];
  readonly #serving = new Set<WorkerThread>();
  readonly #restarts: CounterHandle;
  readonly #unwatch: (() => void)[] = [];
  #mayServe = false;
  #ending = false;
  #firstServing: PromiseWithResolvers<void> = unwatchedPromise();

  constructor(config: ZtunnelConfig, components: WorkerDataPlaneComponents) {
    this.#config = config;
    this.#components = components;
    const { metrics, podMetrics, clock, logger } = components;
    this.#slots = Array.from({ length: config.workerThreads }, (_, index) => ({
      number: index + 1,
      thread: undefined,
      intake: new MetricIntake(metrics),
      followed: Promise.resolve(),
      startedAt: 0,
      failures: 0,
      restart: undefined,
    }));
    this.#restarts = metrics
      .counter({
        name: "hairpin_ztunnel_worker_restarts_total",
        help: "Data-plane workers that ended by an error and were started again.",
      })
      .handle({});
    this.pods = new WorkerPods({
      whenServing: () => this.#whenServing(),
      metrics: podMetrics,
      clock,
      logger: logger.child("proxy"),
    });
    metrics.addSource(() => this.#takeMetrics());
  }

  async start(): Promise<void> {
    const { mesh, store, logger } = this.#components;
    this.#unwatch.push(
      mesh.onChange((change) => {
        const update = meshUpdateOf(mesh, change);
        for (const slot of this.#slots) if (slot.thread) follow(slot, slot.thread, update);
      }),
      store.onRenewed((certificate) => this.#eachThread(({ calls }) => calls.post("renewCertificate", certificate))),
      logger.levels.onChange((directive) => this.#eachThread(({ calls }) => calls.post("setLogLevels", directive))),
    );
    for (const slot of this.#slots) this.#launch(slot);
  }

  async serve(): Promise<void> {
    const { mesh, store } = this.#components;
    const holder = {
      appeared: store.prefetch.bind(store),
      gone: store.forget.bind(store),
    };
    this.#unwatch.push(new LocalIdentities(mesh, this.#config.nodeName, holder).watch());
    this.#mayServe = true;
    await Promise.all(
      this.#slots.map(async ({ thread, followed }) => {
        if (thread) await this.#beginServing(thread, followed);
      }),
    );
  }

  async whenFollowed(): Promise<void> {
    await Promise.all(this.#slots.map((slot) => slot.followed));
  }

  async connections(): Promise<NodeConnections> {
    const none: NodeConnections = new Map();
    return mergeConnections(await this.#askAll(({ calls }) => calls.call("connections"), none));
  }

  async drain(deadlineMs: number): Promise<DrainReport> {
    this.#end();
    const none: DrainReport = { outcome: "empty", connections: 0 };
    const reports = await this.#askAll(({ calls }) => calls.call("drain", deadlineMs), none);
    const late = reports.some(({ outcome }) => outcome === "deadline");
    const connections = reports.reduce((sum, report) => sum + report.connections, 0);
    return { outcome: late ? "deadline" : "empty", connections };
  }

  async stop(): Promise<void> {
    this.#end();
    for (const unwatch of this.#unwatch.splice(0)) unwatch();
    const threads = this.#threads();
    await Promise.all(
      threads.map(async (thread) => {
        thread.calls.post("stop");
        await this.#inTime(thread.whenGone, stopTimeoutMs);
        thread.terminate();
        await thread.whenGone;
      }),
    );
    this.pods.close();
  }

  #launch(slot: Slot): void {
    const { mesh, store, clock, logger } = this.#components;
    const start = { number: slot.number, config: this.#config, logLevels: logger.levels.toString() };
    const { intake } = slot;
    const methods: WorkerServices["methods"] = {
      async fetchCertificate(identity) {
        const certificate = await store.fetch(identity);
        // It may have been renewed since, before the worker could be told.
        return store.find(identity) ?? certificate;
      },
      writeLog: (batch) => this.#writeLog(batch),
    };
    const onFailure = ({ metrics }: WorkerFailure): void => {
      intake.add(metrics);
      this.#notServing(thread);
    };
    const thread = startWorkerThread(slot.number, start, { methods, onFailure });
    slot.thread = thread;
    slot.startedAt = clock.now();
    slot.followed = Promise.resolve();
    follow(slot, thread, wholeMesh(mesh));
    void thread.whenGone.then((end) => this.#lost(slot, thread, end));
    if (this.#mayServe) void this.#beginServing(thread, slot.followed);
  }

  /** Once it knows the mesh. Resolves when the worker serves and listens for every pod, or has ended. */
  async #beginServing(thread: WorkerThread, followed: Promise<void>): Promise<void> {
    await followed;
    if (this.#ending) return;
    try {
      await thread.calls.call("serve");
    } catch (error) {
      // One that has ended is started again.
      if (!thread.alive) return;
      const fields = { worker: thread.number, error: errorMessage(error) };
      this.#components.logger.error("data-plane worker cannot serve", fields);
      thread.calls.post("stop");
      return;
    }
    // It may have ended since it answered; and what drains takes nothing new.
    if (!thread.alive || this.#ending) return;
    this.#serving.add(thread);
    await this.pods.listenOn(thread);
    this.#firstServing.resolve();
    this.#components.onPodsChange();
  }

  #lost(slot: Slot, thread: WorkerThread, end: WorkerEnd): void {
    const { clock, logger, metrics } = this.#components;
    slot.thread = undefined;
    slot.intake.end();
    slot.intake = new MetricIntake(metrics);
    this.#notServing(thread);
    if (this.#ending) return;
    this.#restarts.add(1);
    slot.failures = clock.now() - slot.startedAt > healthyAfterMs ? 1 : slot.failures + 1;
    const retryMs = backoffMs(slot.failures, restartBounds, Math.random);
    const fields = { worker: slot.number, error: end.reason, stack: end.stack, retry_ms: Math.round(retryMs) };
    logger.error("data-plane worker failed", fields);
    slot.restart = clock.setTimer(retryMs, () => this.#launch(slot));
  }

  #notServing(thread: WorkerThread): void {
    this.#serving.delete(thread);
    this.pods.lost(thread);
    if (this.#ending) return;
    if (this.#serving.size === 0) this.#firstServing = unwatchedPromise();
    this.#components.onPodsChange();
  }

  /** No worker is started any more. */
  #end(): void {
    this.#ending = true;
    for (const { restart } of this.#slots) restart?.cancel();
    const error = new ZtunnelError("The data plane has ended", { code: "WORKER_GONE", origin: "internal" });
    this.#firstServing.reject(error);
  }

  async #whenServing(): Promise<readonly WorkerThread[]> {
    while (this.#serving.size === 0) await this.#firstServing.promise;
    return [...this.#serving];
  }

  async #takeMetrics(): Promise<void> {
    const take = async ({ thread, intake }: Slot): Promise<void> => {
      if (thread && this.#serving.has(thread)) intake.add(await thread.calls.call("takeMetrics"));
    };
    // What comes later is not lost: it is in the next exposition.
    await this.#inTime(Promise.all(this.#slots.map((slot) => take(slot).catch(() => {}))), answerTimeoutMs);
  }

  #writeLog({ lines, dropped }: LogBatch): void {
    const { logger } = this.#components;
    for (const line of lines) logger.writeLine(line);
    if (dropped === 0) return;
    countDroppedLogLines(dropped);
    logger.child("log").warn("log lines dropped", { lines: dropped });
  }

  #threads(): readonly WorkerThread[] {
    return this.#slots.flatMap(({ thread }) => thread ?? []);
  }

  #eachThread(action: (thread: WorkerThread) => void): void {
    for (const thread of this.#threads()) action(thread);
  }

  /** One answer a worker that serves (one that still starts has nothing to tell); `none` from those that end meanwhile. */
  async #askAll<T>(ask: (thread: WorkerThread) => Promise<T>, none: T): Promise<readonly T[]> {
    return await Promise.all([...this.#serving].map((thread) => ask(thread).catch(() => none)));
  }

  /** Resolves when the work has settled, or when it takes too long. */
  async #inTime(work: Promise<unknown>, timeoutMs: number): Promise<void> {
    const enough = new AbortController();
    const late = delay(this.#components.clock, timeoutMs, enough.signal).catch(() => {});
    await Promise.race([work.catch(() => {}), late]);
    enough.abort();
  }
}

/** Whoever waits hears of its rejection; nobody need be waiting. */
function unwatchedPromise(): PromiseWithResolvers<void> {
  const resolvers = Promise.withResolvers<void>();
  resolvers.promise.catch(() => {});
  return resolvers;
}

/** Parts go one by one, each when the one before is applied: the worker serves between them. */
function follow(slot: Slot, { calls }: WorkerThread, update: MeshUpdate): void {
  const apply = async (): Promise<void> => {
    for (const part of sliceMeshUpdate(update, maxUpdateSize)) await calls.call("applyMesh", part);
  };
  // A worker that ends begins anew, with the whole mesh.
  slot.followed = slot.followed.then(apply).catch(() => {});
}
