// The values of one label set, by kind of metric: how they are written, and how what changed is carried to another registry.
import { type ExpositionFormat, formatBucketBound, type Sample } from "./metric-text.ts";
import type { CounterHandle, GaugeHandle, HistogramHandle } from "./metrics.ts";

/** What was added since the change before: of a histogram the counts by bucket, then the sum. */
export type SeriesChange = number | readonly number[];

export interface Series {
  samples(labels: string, format: ExpositionFormat): Iterable<Sample>;
  /** What was added since the last call; undefined: nothing. */
  takeChange(): SeriesChange | undefined;
  /** Adds what {@link takeChange} of a series of this kind gave. */
  addChange(change: SeriesChange): void;
}

export class CounterSeries implements Series, CounterHandle {
  #value = 0;
  #taken = 0;

  add(amount: number = 1): void {
    if (amount >= 0 && amount < Infinity) this.#value += amount;
  }

  samples(labels: string): Sample[] {
    return [{ suffix: "", labels, value: this.#value }];
  }

  takeChange(): number | undefined {
    const change = this.#value - this.#taken;
    this.#taken = this.#value;
    return change === 0 ? undefined : change;
  }

  addChange(change: SeriesChange): void {
    if (typeof change === "number") this.add(change);
  }
}

export class GaugeSeries implements Series, GaugeHandle {
  #value = 0;
  /** Undefined: never named. A gauge that went up and down again before that is at 0, not absent. */
  #taken: number | undefined;

  set(value: number): void {
    this.#value = value;
  }

  add(amount: number): void {
    this.#value += amount;
  }

  samples(labels: string): Sample[] {
    return [{ suffix: "", labels, value: this.#value }];
  }

  takeChange(): number | undefined {
    const before = this.#taken;
    this.#taken = this.#value;
    return before === this.#value ? undefined : this.#value - (before ?? 0);
  }

  addChange(change: SeriesChange): void {
    if (typeof change === "number") this.add(change);
  }
}

export class HistogramSeries implements Series, HistogramHandle {
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;
  #taken: Float64Array | undefined;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length + 1);
  }

  /** Not a number: ignored. */
  observe(value: number): void {
    if (Number.isNaN(value)) return;
    let low = 0;
    let high = this.#bounds.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (value <= (this.#bounds[middle] ?? Infinity)) high = middle;
      else low = middle + 1;
    }
    this.#counts[low] = (this.#counts[low] ?? 0) + 1;
    this.#sum += value;
  }

  *samples(labels: string, format: ExpositionFormat): Generator<Sample> {
    const separator = labels === "" ? "" : ",";
    let count = 0;
    for (const [i, own] of this.#counts.entries()) {
      count += own;
      const bound = formatBucketBound(this.#bounds[i] ?? Infinity, format);
      yield { suffix: "_bucket", labels: `${labels}${separator}le="${bound}"`, value: count };
    }
    yield { suffix: "_sum", labels, value: this.#sum };
    yield { suffix: "_count", labels, value: count };
  }

  takeChange(): number[] | undefined {
    const now = Float64Array.of(...this.#counts, this.#sum);
    const before = this.#taken ?? new Float64Array(now.length);
    this.#taken = now;
    const change = Array.from(now, (value, i) => value - (before[i] ?? 0));
    return change.some((value) => value !== 0) ? change : undefined;
  }

  addChange(change: SeriesChange): void {
    if (typeof change === "number" || change.length !== this.#counts.length + 1) return;
    for (const i of this.#counts.keys()) this.#counts[i] = (this.#counts[i] ?? 0) + (change[i] ?? 0);
    this.#sum += change.at(-1) ?? 0;
  }
}
