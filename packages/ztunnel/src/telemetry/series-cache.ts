import { ObjectNumbers } from "@hairpin/shared/telemetry";
import { formatSpiffeId } from "@hairpin/shared/model";
import { type ConnectionDescription, trafficLabelsOf } from "./connection-description.ts";
import type { TrafficMetrics, TrafficSeries } from "./traffic-metrics.ts";

/** As many as a metric may have series; then it begins anew. */
const maxEntries = 10_000;

/**
 * The series of connections between the same two workloads, found by the objects of the mesh instead of by 27 rendered labels
 * (8 % of the CPU of a connection). A workload or service that changes is another object.
 */
export class SeriesCache {
  readonly #metrics: TrafficMetrics;
  readonly #entries = new Map<string, TrafficSeries>();
  readonly #numbers = new ObjectNumbers();

  constructor(metrics: TrafficMetrics) {
    this.#metrics = metrics;
  }

  of(connection: ConnectionDescription): TrafficSeries {
    const key = this.#keyOf(connection);
    let series = this.#entries.get(key);
    if (series === undefined) {
      if (this.#entries.size >= maxEntries) this.#entries.clear();
      series = this.#metrics.series(trafficLabelsOf(connection));
      this.#entries.set(key, series);
    }
    return series;
  }

  /** Everything that {@link trafficLabelsOf} reads. */
  #keyOf({ direction, mutualTls, source, sourceIdentity, destination, service }: ConnectionDescription): string {
    const ends = `${this.#numbers.of(source)},${this.#numbers.of(destination)},${this.#numbers.of(service)}`;
    return `${direction},${mutualTls},${ends},${sourceIdentity === undefined ? "" : formatSpiffeId(sourceIdentity)}`;
  }
}
