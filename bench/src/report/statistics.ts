/** One measurement of a figure. */
export interface Sample {
  readonly value: number;
  /** Share of the machine's CPUs that other programs used meanwhile, 0 to 1. */
  readonly foreignShare: number;
}

/** What repeated measurements of a figure came to. */
export interface Summary {
  readonly median: number;
  readonly values: readonly number[];
  /** (largest − smallest) / median. */
  readonly spread: number;
  /** The figure is not to be trusted: repeats differ, or the machine was busy with other things. */
  readonly disturbed: boolean;
}

/** Repeats that differ by more than this part of their median are disturbed. */
const maxSpread = 0.25;
/** Other programs may use this part of the machine's CPUs. */
export const maxForeignShare = 0.05;

/** The middle value; of an even number the mean of the two in the middle. NaN for none. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((left, right) => left - right);
  const middle = sorted.length >> 1;
  const upper = sorted[middle] ?? Number.NaN;
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2;
}

export function summarize(samples: readonly Sample[]): Summary {
  const values = samples.map(({ value }) => value);
  const middle = median(values);
  const range = Math.max(...values) - Math.min(...values);
  const spread = middle === 0 ? 0 : range / Math.abs(middle);
  const disturbed = spread > maxSpread || samples.some(({ foreignShare }) => foreignShare > maxForeignShare);
  return { median: middle, values, spread, disturbed };
}
