import { type Clock, type Component, errorMessage } from "@hairpin/shared/process";
import type { Logger, MetricRegistry } from "@hairpin/shared/telemetry";
import type { MeshConfig } from "./ambient/mesh-config.ts";
import type { ObjectCollection } from "./collection/object-collection.ts";
import { Recomputation } from "./collection/recomputation.ts";
import { runInSlices } from "./collection/sliced.ts";
import { type MeshModel, MeshModelBuilder } from "./mesh-model.ts";
import type { Publisher } from "./push/publisher.ts";
import type { WaypointReadiness } from "./push/waypoint-readiness.ts";
import type { Leadership } from "./status/leadership.ts";
import type { StatusWriter } from "./status/status-writer.ts";

/** One turn of the event loop spends no longer on building. */
const buildSliceMs = 10;

/**
 * The heart of control: objects changed → model → xDS → statuses. Nothing happens before the source delivered everything, and
 * a model that cannot be built leaves the last one in force.
 */
export class MeshLoop implements Component {
  readonly name = "mesh";
  readonly #components: MeshLoopComponents;
  readonly #builder: MeshModelBuilder;
  readonly #recomputation: Recomputation;
  readonly #duration;
  readonly #firstPublish = Promise.withResolvers<void>();
  #endings: readonly (() => void)[] = [];
  #reported = "";

  constructor(components: MeshLoopComponents, config: MeshConfig) {
    this.#components = components;
    this.#builder = new MeshModelBuilder(config);
    this.#recomputation = new Recomputation({ clock: components.clock, work: () => this.#recompute() });
    this.#duration = components.metrics
      .histogram({
        name: "hairpin_control_recompute_milliseconds",
        help: "Time to derive the mesh model from all objects.",
        buckets: [1, 5, 10, 25, 50, 100, 250, 1000],
      })
      .handle({});
    this.#firstPublish.promise.catch(() => undefined);
  }

  /** Resolves after the first push; rejects when stopped before. */
  whenPublished(): Promise<void> {
    return this.#firstPublish.promise;
  }

  async start(): Promise<void> {
    const request = (): void => this.#recomputation.request();
    const { objects, readiness, leadership } = this.#components;
    this.#endings = [objects.onChange(request), readiness.watch(request), leadership.onChange(request)];
    request();
    await Promise.resolve();
  }

  async stop(): Promise<void> {
    for (const end of this.#endings) end();
    await this.#recomputation.stop();
    this.#components.publisher.stop();
    await this.#components.statuses.stop();
    this.#firstPublish.reject(new Error("Stopped before the objects arrived"));
  }

  /** Never rejects. Resolves with the time that building took. */
  async #recompute(): Promise<number> {
    const { objects, publisher, readiness, statuses, clock, logger } = this.#components;
    if (!objects.synced) return 0;
    let busyMs = 0;
    try {
      const snapshot = objects.snapshot();
      const acknowledgements = readiness.over(snapshot);
      const work = this.#builder.build(snapshot, { acknowledgements, now: clock.wallTime() });
      // The last model stays in force until this one is whole.
      const built = await runInSlices(work, { clock, sliceMs: buildSliceMs });
      const model = built.value;
      busyMs = built.busyMs;
      this.#duration.observe(busyMs);
      this.#reportProblems(model);
      readiness.remember(model);
      await publisher.publish(model);
      this.#firstPublish.resolve();
      statuses.update(model.statuses);
    } catch (error) {
      logger.error("mesh could not be recomputed", { error: errorMessage(error) });
    }
    return busyMs;
  }

  #reportProblems({ problems }: MeshModel): void {
    const lines = problems.map(({ object: { kind, metadata }, reason }) => ({
      object: `${kind} ${metadata.namespace ?? ""}/${metadata.name}`,
      reason,
    }));
    const text = JSON.stringify(lines);
    if (text === this.#reported) return;
    this.#reported = text;
    for (const line of lines) this.#components.logger.warn("object cannot be read", line);
  }
}

export interface MeshLoopComponents {
  readonly objects: ObjectCollection;
  readonly publisher: Publisher;
  readonly readiness: WaypointReadiness;
  readonly statuses: StatusWriter;
  readonly leadership: Leadership;
  readonly clock: Clock;
  readonly metrics: MetricRegistry;
  readonly logger: Logger;
}
