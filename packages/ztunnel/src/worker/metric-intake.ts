import type { MetricChange, MetricRegistry } from "@hairpin/shared/telemetry";

/** Brings one worker's metrics into main's registry: counters stay when the worker is gone, its part of the gauges goes. */
export class MetricIntake {
  readonly #registry: MetricRegistry;
  /** What the worker has added to each gauge, by name and labels. */
  readonly #gauges = new Map<string, { readonly metric: MetricChange; readonly labels: string; value: number }>();
  #ended = false;

  constructor(registry: MetricRegistry) {
    this.#registry = registry;
  }

  /** An answer may be read after the worker's end: its counters still count. */
  add(changes: readonly MetricChange[]): void {
    this.#registry.addChanges(this.#ended ? changes.filter(({ kind }) => kind !== "gauge") : changes);
    for (const metric of changes) {
      if (metric.kind !== "gauge" || this.#ended) continue;
      for (const [labels, change] of metric.series) {
        const key = `${metric.name}{${labels}}`;
        const gauge = this.#gauges.get(key) ?? { metric, labels, value: 0 };
        if (typeof change === "number") gauge.value += change;
        this.#gauges.set(key, gauge);
      }
    }
  }

  /** The worker is gone, and what it had with it. */
  end(): void {
    const back = [...this.#gauges.values()].map(({ metric, labels, value }): MetricChange => {
      return { ...metric, series: [[labels, -value]] };
    });
    this.#gauges.clear();
    this.#ended = true;
    this.#registry.addChanges(back);
  }
}
