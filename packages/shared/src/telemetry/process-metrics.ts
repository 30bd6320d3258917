import { collectDefaultMetrics, Registry } from "prom-client";
import { droppedLogLines } from "./log-destination.ts";
import { escapeLabelValue, type ExpositionFormat, formatFamilyHead, formatSample } from "./metric-text.ts";
import type { MetricRegistry } from "./metrics.ts";

const droppedLines = {
  name: "hairpin_log_lines_dropped_total",
  help: "Log lines lost because their reader is too slow or gone.",
};

/**
 * Adds what prom-client knows of the process: `process_open_fds`, `process_max_fds` (as ztunnel), `process_cpu_*`,
 * `process_resident_memory_bytes`, `nodejs_eventloop_lag_*`, `nodejs_gc_duration_seconds`, heap sizes; and `hairpin_log_lines_dropped_total`. Once per process.
 */
export function registerProcessMetrics(registry: MetricRegistry): void {
  const library = new Registry();
  collectDefaultMetrics({ register: library });
  // One series per open handle type, from a list of all handles: too dear with 10,000 sockets.
  for (const name of ["nodejs_active_handles", "nodejs_active_resources", "nodejs_active_requests"]) {
    library.removeSingleMetric(name);
    library.removeSingleMetric(`${name}_total`);
  }
  registry.addExposition((format) => renderLibrary(library, format));
  registry.addExposition(async (format) => {
    const head = formatFamilyHead(droppedLines.name, droppedLines.help, "counter", format);
    return head + formatSample(droppedLines.name, { suffix: "", labels: "", value: droppedLogLines() });
  });
}

/** Rendered here, because prom-client renames its counters for good once OpenMetrics was asked for. */
async function renderLibrary(library: Registry, format: ExpositionFormat): Promise<string> {
  let text = "";
  for (const metric of await library.getMetricsAsJSON()) {
    const kind = metricKinds.get(String(metric.type));
    if (kind === undefined || metric.values.length === 0) continue;
    text += formatFamilyHead(metric.name, metric.help, kind, format);
    for (const value of metric.values) {
      const full = "metricName" in value && typeof value.metricName === "string" ? value.metricName : metric.name;
      const labels = Object.entries(value.labels)
        .map(([name, label]) => `${name}="${escapeLabelValue(String(label))}"`)
        .join(",");
      text += formatSample(full, { suffix: "", labels, value: value.value });
    }
  }
  return text;
}

const metricKinds = new Map<string, "counter" | "gauge" | "histogram">([
  ["counter", "counter"],
  ["gauge", "gauge"],
  ["histogram", "histogram"],
]);
