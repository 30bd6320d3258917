// Exposition: Prometheus text 0.0.4 and OpenMetrics 1.0.0 (github.com/prometheus/OpenMetrics, specification §3).

export type MetricKind = "counter" | "gauge" | "histogram";

/** One sample: what follows the family's name (`_total`, `_bucket`, …), its rendered labels, its value. */
export interface Sample {
  readonly suffix: string;
  /** `a="b",c="d"`, escaped; empty without labels. */
  readonly labels: string;
  readonly value: number;
}

export interface ExpositionFormat {
  readonly contentType: string;
  readonly openMetrics: boolean;
}

const prometheusText: ExpositionFormat = {
  contentType: "text/plain; version=0.0.4; charset=utf-8",
  openMetrics: false,
};

const openMetricsText: ExpositionFormat = {
  contentType: "application/openmetrics-text; version=1.0.0; charset=utf-8",
  openMetrics: true,
};

/** OpenMetrics when the Accept header names it with a quality above 0 and no lower than plain text's. */
export function chooseExpositionFormat(accept: string | undefined): ExpositionFormat {
  let openMetricsQuality = 0;
  let textQuality = 0;
  for (const part of (accept ?? "").slice(0, 1024).split(",")) {
    const [type = "", ...parameters] = part.trim().toLowerCase().split(";");
    const q = parameters.map((one) => /^\s*q\s*=\s*([0-9.]{1,5})\s*$/.exec(one)?.[1]).find((one) => one !== undefined);
    const quality = q === undefined ? 1 : Number(q) || 0;
    if (type.trim() === "application/openmetrics-text") openMetricsQuality = Math.max(openMetricsQuality, quality);
    if (type.trim() === "text/plain") textQuality = Math.max(textQuality, quality);
  }
  return openMetricsQuality > 0 && openMetricsQuality >= textQuality ? openMetricsText : prometheusText;
}

/** HELP and TYPE lines. `name` has a counter's `_total`, which OpenMetrics leaves out of the family's name. */
export function formatFamilyHead(name: string, help: string, kind: MetricKind, format: ExpositionFormat): string {
  const family = format.openMetrics && kind === "counter" ? name.replace(/_total$/, "") : name;
  const escaped = format.openMetrics ? escapeLabelValue(help) : help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  return `# HELP ${family} ${escaped}\n# TYPE ${family} ${kind}\n`;
}

export function formatSample(name: string, sample: Sample): string {
  const labels = sample.labels === "" ? "" : `{${sample.labels}}`;
  return `${name}${sample.suffix}${labels} ${formatMetricValue(sample.value)}\n`;
}

function formatMetricValue(value: number): string {
  if (value === Infinity) return "+Inf";
  if (value === -Infinity) return "-Inf";
  return Number.isNaN(value) ? "NaN" : String(value);
}

/** A bucket's `le`; OpenMetrics wants canonical floats (`1.0`). */
export function formatBucketBound(bound: number, format: ExpositionFormat): string {
  const text = formatMetricValue(bound);
  return format.openMetrics && Number.isInteger(bound) && Math.abs(bound) < 1e21 ? `${text}.0` : text;
}

const needsEscape = /[\\"\n]/;

export function escapeLabelValue(value: string): string {
  if (!needsEscape.test(value)) return value;
  return value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
}

export const metricNamePattern: RegExp = /^[a-zA-Z_:][a-zA-Z0-9_:]*$/;
export const labelNamePattern: RegExp = /^(?!__)[a-zA-Z_][a-zA-Z0-9_]*$/;
