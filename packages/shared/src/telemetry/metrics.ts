import { setImmediate as nextTurn } from "node:timers/promises";
import {
  chooseExpositionFormat,
  escapeLabelValue,
  type ExpositionFormat,
  formatFamilyHead,
  formatSample,
  labelNamePattern,
  type MetricKind,
  metricNamePattern,
} from "./metric-text.ts";
import { CounterSeries, GaugeSeries, HistogramSeries, type Series, type SeriesChange } from "./metric-series.ts";

export interface MetricDefinition<Label extends string = string> {
  /** Counters end in `_total`. */
  readonly name: string;
  readonly help: string;
  /** In the order in which they are written. Default: none. */
  readonly labels?: readonly Label[];
}

export interface GaugeDefinition<Label extends string = string> extends MetricDefinition<Label> {
  /** Called before each exposition: sets the values that are only read then. */
  readonly collect?: (gauge: MetricFamily<Label, GaugeHandle>) => void;
}

export interface HistogramDefinition<Label extends string = string> extends MetricDefinition<Label> {
  /** Upper bounds, ascending, without +Inf. */
  readonly buckets: readonly number[];
}

export interface CounterHandle {
  /** Default 1. Negative or not finite: ignored, a counter never goes back. */
  add(amount?: number): void;
}

export interface GaugeHandle {
  set(value: number): void;
  add(amount: number): void;
}

export interface HistogramHandle {
  observe(value: number): void;
}

export type LabelValues<Label extends string> = Readonly<Record<Label, string>>;

/** A metric with its series. */
export interface MetricFamily<Label extends string, Handle> {
  /**
   * The series with these values, made at first use. Resolve it once, when a connection or request opens, and keep it: a look-up
   * costs about as much as rendering the labels, an `add` one addition. Beyond the cap it is one shared series whose labels are
   * all `overflow`, and `hairpin_metric_series_overflow_total` counts.
   */
  handle(values: LabelValues<Label>): Handle;
  readonly seriesCount: number;
}

export interface MetricRegistryOptions {
  /** Series one metric may have. Default 10,000. */
  readonly maxSeriesPerMetric?: number;
}

/** Renders further families (runtime metrics of a library) into an exposition. */
export type ExtraExposition = (format: ExpositionFormat) => Promise<string>;

/** What changed in one metric of a registry since the change before. Plain values, for another thread's registry. */
export interface MetricChange {
  readonly name: string;
  readonly help: string;
  readonly kind: MetricKind;
  readonly labels: readonly string[];
  /** Of a histogram. */
  readonly buckets: readonly number[];
  /** By rendered labels. */
  readonly series: readonly (readonly [labels: string, change: SeriesChange])[];
}

/** Peers choose some label values (host names): longer ones are cut. */
const maxLabelValueLength = 512;

/** Series rendered before other work gets its turn: about 1 ms with Istio's 27 labels. */
const seriesPerSlice = 500;

/** All metrics of a process and their exposition. Series live as long as the registry, as ztunnel's do. */
export class MetricRegistry {
  /** Of every kind, in the order of registration. */
  readonly #families = new Map<string, Family<Series>>();
  readonly #counters = new Map<string, Family<CounterSeries>>();
  readonly #gauges = new Map<string, Family<GaugeSeries>>();
  readonly #histograms = new Map<string, Family<HistogramSeries>>();
  readonly #extra: ExtraExposition[] = [];
  readonly #sources: (() => Promise<void>)[] = [];
  /** Metrics that {@link takeChanges} has named. */
  readonly #taken = new Set<string>();
  readonly #maxSeries: number;
  readonly #overflow: MetricFamily<"metric", CounterHandle>;

  constructor(options: MetricRegistryOptions = {}) {
    this.#maxSeries = options.maxSeriesPerMetric ?? 10_000;
    this.#overflow = this.counter({
      name: "hairpin_metric_series_overflow_total",
      help: "Look-ups that found a metric at its series limit; their values went to the series labelled overflow.",
      labels: ["metric"],
    });
  }

  /** Throws `Error` when the name is taken by a different metric or breaks the naming rules; the same definition again is the same metric. */
  counter<Label extends string = never>(definition: MetricDefinition<Label>): MetricFamily<Label, CounterHandle> {
    if (!definition.name.endsWith("_total")) throw new Error(`Counter ${definition.name} must end in _total`);
    return this.#register(definition, "counter", this.#counters, () => new CounterSeries());
  }

  gauge<Label extends string = never>(definition: GaugeDefinition<Label>): MetricFamily<Label, GaugeHandle> {
    const family = this.#register(definition, "gauge", this.#gauges, () => new GaugeSeries());
    const { collect } = definition;
    if (collect !== undefined) this.#families.get(definition.name)?.collectors.push(() => collect(family));
    return family;
  }

  histogram<Label extends string = never>(
    definition: HistogramDefinition<Label>,
  ): MetricFamily<Label, HistogramHandle> {
    const { buckets, name } = definition;
    if (buckets.some((bound, i) => !(bound > (buckets[i - 1] ?? -Infinity)) || bound === Infinity))
      throw new Error(`Buckets of ${name} must ascend and leave out +Inf`);
    return this.#register(definition, "histogram", this.#histograms, () => new HistogramSeries(buckets));
  }

  /** Adds families that something else renders. */
  addExposition(extra: ExtraExposition): void {
    this.#extra.push(extra);
  }

  /** Runs before each exposition and is waited for: brings in the changes of other registries. Must settle soon. */
  addSource(bringIn: () => Promise<void>): void {
    this.#sources.push(bringIn);
  }

  /** What changed since the last call; the first names every metric. O(series). */
  takeChanges(): MetricChange[] {
    const changes: MetricChange[] = [];
    for (const family of this.#families.values()) {
      const { name, help, kind, labels, buckets } = family;
      const series = takeSeriesChanges(family);
      if (series.length > 0 || !this.#taken.has(name)) changes.push({ name, help, kind, labels, buckets, series });
      this.#taken.add(name);
    }
    return changes;
  }

  /** Adds what another registry's {@link takeChanges} gave: everything is summed, gauges too, under this registry's cap. */
  addChanges(changes: readonly MetricChange[]): void {
    for (const { series, kind, ...definition } of changes) {
      if (kind === "counter") this.counter(definition);
      else if (kind === "gauge") this.gauge(definition);
      else this.histogram(definition);
      const family = this.#families.get(definition.name);
      if (family) for (const [rendered, change] of series) this.#seriesOf(family, rendered).addChange(change);
    }
  }

  /** Everything, in the format that the Accept header asks for. Renders in slices: a scrape never stalls the loop. */
  async expose(accept?: string): Promise<{ contentType: string; body: string }> {
    await Promise.all(this.#sources.map((bringIn) => bringIn()));
    const format = chooseExpositionFormat(accept);
    const parts: string[] = [];
    for (const extra of this.#extra) parts.push(await extra(format));
    for (const family of this.#families.values()) await renderFamily(family, format, parts);
    if (format.openMetrics) parts.push("# EOF\n");
    return { contentType: format.contentType, body: parts.join("") };
  }

  #register<Label extends string, S extends Series>(
    definition: MetricDefinition<Label> & { readonly buckets?: readonly number[] },
    kind: MetricKind,
    families: Map<string, Family<S>>,
    createSeries: () => S,
  ): MetricFamily<Label, S> {
    const { name, help, labels = [], buckets = [] } = definition;
    if (!metricNamePattern.test(name)) throw new Error(`${JSON.stringify(name)} is not a metric name`);
    const badLabel = labels.find((label) => !labelNamePattern.test(label) || label === "le");
    if (badLabel !== undefined) throw new Error(`${JSON.stringify(badLabel)} is not a label name (metric ${name})`);
    const taken = this.#families.get(name);
    if (taken !== undefined && (taken.kind !== kind || taken.labels.join() !== labels.join()))
      throw new Error(`Metric ${name} is registered already, as a ${taken.kind} with labels ${taken.labels.join()}`);
    let family = families.get(name);
    if (family === undefined) {
      family = { name, help, kind, labels, buckets, createSeries, series: new Map(), collectors: [] };
      families.set(name, family);
      this.#families.set(name, family);
      if (labels.length === 0) family.series.set("", createSeries());
    }
    const found = family;
    return {
      handle: (values) => this.#seriesOf(found, renderLabels(labels, values)),
      get seriesCount() {
        return found.series.size;
      },
    };
  }

  #seriesOf<S extends Series>({ name, labels, series, createSeries }: Family<S>, rendered: string): S {
    const held = series.get(rendered);
    if (held !== undefined) return held;
    let key = rendered;
    if (series.size >= this.#maxSeries) {
      this.#overflow.handle({ metric: name }).add(1);
      key = renderLabels(labels, Object.fromEntries(labels.map((label) => [label, "overflow"])));
      const shared = series.get(key);
      if (shared !== undefined) return shared;
    }
    const created = createSeries();
    series.set(key, created);
    return created;
  }
}

interface Family<S extends Series> {
  readonly name: string;
  readonly help: string;
  readonly kind: MetricKind;
  readonly labels: readonly string[];
  readonly buckets: readonly number[];
  readonly createSeries: () => S;
  /** By rendered labels: unique by construction, and the exposition needs only to copy them. */
  readonly series: Map<string, S>;
  readonly collectors: (() => void)[];
}

function renderLabels(names: readonly string[], values: Readonly<Record<string, string>>): string {
  let text = "";
  for (const name of names) {
    const value = values[name] ?? "";
    const short = value.length > maxLabelValueLength ? value.slice(0, maxLabelValueLength) : value;
    text += `${text === "" ? "" : ","}${name}="${escapeLabelValue(short)}"`;
  }
  return text;
}

function takeSeriesChanges({ series, collectors }: Family<Series>): [string, SeriesChange][] {
  for (const collect of collectors) collect();
  const changes: [string, SeriesChange][] = [];
  for (const [rendered, one] of series) {
    const change = one.takeChange();
    if (change !== undefined) changes.push([rendered, change]);
  }
  return changes;
}

async function renderFamily(family: Family<Series>, format: ExpositionFormat, parts: string[]): Promise<void> {
  for (const collect of family.collectors) collect();
  if (family.series.size === 0) return;
  parts.push(formatFamilyHead(family.name, family.help, family.kind, format));
  let inSlice = 0;
  for (const [labels, series] of family.series) {
    let text = "";
    for (const sample of series.samples(labels, format)) text += formatSample(family.name, sample);
    parts.push(text);
    if (++inSlice % seriesPerSlice === 0) await nextTurn();
  }
}
