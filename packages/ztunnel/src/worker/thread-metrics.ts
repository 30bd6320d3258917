import { performance } from "node:perf_hooks";
import { getHeapStatistics } from "node:v8";
import type { MetricRegistry } from "@hairpin/shared/telemetry";

/** What tells a busy or swelling worker from the others; the `process_*` and `nodejs_*` metrics are the process's and main's. */
export function registerThreadMetrics(registry: MetricRegistry, worker: number): void {
  const labels = { worker: String(worker) };
  let before = performance.eventLoopUtilization();
  registry.gauge({
    name: "hairpin_ztunnel_worker_utilization",
    help: "Part of the time since the last exposition in which a data-plane worker was busy (0 to 1).",
    labels: ["worker"],
    collect: (gauge) => {
      const now = performance.eventLoopUtilization();
      gauge.handle(labels).set(performance.eventLoopUtilization(now, before).utilization);
      before = now;
    },
  });
  registry.gauge({
    name: "hairpin_ztunnel_worker_heap_bytes",
    help: "Heap in use by a data-plane worker.",
    labels: ["worker"],
    collect: (gauge) => gauge.handle(labels).set(getHeapStatistics().used_heap_size),
  });
}
