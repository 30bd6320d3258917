import type { MetricRegistry } from "../telemetry/index.ts";

/** What list-watches count. */
export interface WatchMetrics {
  listed(kind: string): void;
  failed(kind: string, code: string): void;
}

export function registerWatchMetrics(metrics: MetricRegistry): WatchMetrics {
  const lists = metrics.counter({
    name: "hairpin_kubernetes_lists_total",
    help: "Full listings of a kind; more than one means that a watch fell too far behind.",
    labels: ["kind"],
  });
  const failures = metrics.counter({
    name: "hairpin_kubernetes_failures_total",
    help: "Listings and watches that failed, by kind and error code.",
    labels: ["kind", "code"],
  });
  return {
    listed: (kind) => lists.handle({ kind }).add(1),
    failed: (kind, code) => failures.handle({ kind, code }).add(1),
  };
}
